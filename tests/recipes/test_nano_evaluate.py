"""The held-out tasks are whole before any model is asked."""

import pytest

pytest.importorskip("gemcut.api", reason="the Python interface is not there yet")

from recipes.nano.evaluate import held_out_tasks


def test_every_target_has_a_task_with_cases() -> None:
    tasks = {task.name: task for task in held_out_tasks(20)}
    targets = {
        "facts": 0.9,
        "arithmetic": 0.95,
        "tools": 0.75,
        "tool_answers": 0.85,
        "json": 0.85,
        "system": 0.9,
    }
    assert {name: tasks[name].target for name in targets} == targets
    assert tasks["refuse"].target == 0.8
    assert tasks["in_scope"].target == 0.95
    assert all(len(task.cases) == 20 for task in tasks.values())


def test_the_same_cases_come_each_time() -> None:
    assert [t.cases for t in held_out_tasks(5)] == [t.cases for t in held_out_tasks(5)]
