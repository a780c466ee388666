from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gemcut.errors import BadTraining
from gemcut.train.loop import Phase, Training
from gemcut.train.objective import mean_loss
from gemcut.train.schedule import Budget, Schedule
from tests.train.runs import SHAPE, small_examples, small_model, small_options, small_training, texts


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = small_training(steps=10)
    reports = list(whole.steps())
    first = small_training(steps=10)
    for report in first.steps():
        if report.step == 6:  # in the second phase already
            first.save(tmp_path / "state.pt")
            break
    second = small_training(steps=10)
    second.resume(tmp_path / "state.pt")
    rest = list(second.steps())
    assert [(r.step, r.phase, r.tokens, r.loss) for r in rest] == [
        (r.step, r.phase, r.tokens, r.loss) for r in reports[6:]
    ]
    for (name, ours), theirs in zip(second.model.named_parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_phases_follow_each_other() -> None:
    assert [report.phase for report in small_training(steps=10).steps()] == ["first"] * 4 + ["second"] * 6


def test_a_rate_falls_over_its_phase() -> None:
    phase = Phase("only", texts(small_examples(4)), 0.6, rate=1.0, last_rate=0.2)
    assert [phase.rate_at(progress, 0.2) for progress in (0.2, 0.4, 0.6)] == pytest.approx([1.0, 0.6, 0.2])
    assert replace(phase, last_rate=None).rate_at(0.4, 0.2) == 1.0


def test_a_small_model_learns_a_few_examples_by_heart() -> None:
    torch.set_num_threads(1)
    training = Training(
        small_model(), (Phase("only", texts(small_examples(4)), 1.0),), small_options(steps=80), mean_loss
    )
    losses = [report.loss for report in training.steps()]
    assert losses[0] > 3
    assert losses[-1] < 0.05


def test_frozen_weights_stay() -> None:
    training = small_training(steps=3)
    frozen = training.model.model.language_model.embed_tokens.weight.requires_grad_(False)
    before = frozen.clone()
    again = Training(training.model, training.phases, training.options, mean_loss)
    list(again.steps())
    assert torch.equal(frozen, before)


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    small_training(steps=10).save(tmp_path / "state.pt")
    with pytest.raises(BadTraining, match="other data or options"):
        small_training(steps=10, seed=1).resume(tmp_path / "state.pt")
    with pytest.raises(BadTraining, match="no run to resume"):
        small_training(steps=10).resume(tmp_path / "nothing.pt")
    (tmp_path / "state.pt").write_bytes(b"half a file")
    with pytest.raises(BadTraining, match="cannot be resumed from"):
        small_training(steps=10).resume(tmp_path / "state.pt")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"budget": Budget()}, "give exactly one of the two"),
        ({"budget": Budget(steps=3, minutes=1.0)}, "give exactly one of the two"),
        ({"budget": Budget(steps=0)}, "give a number above 0"),
        ({"budget": Budget(minutes=0.0)}, "give a number above 0"),
        ({"schedule": Schedule(warm_up=-1, decay_from=0.2)}, "warms up for -1 updates"),
        ({"schedule": Schedule(warm_up=0, decay_from=1.0)}, "a share from 0 to below 1"),
        ({"clip": 0.0}, "clip=0.0 is no norm"),
        ({"shape": replace(SHAPE, groups=0)}, "holds nothing"),
    ],
)
def test_unusable_options_are_refused(changed: dict[str, object], said: str) -> None:
    options = replace(small_options(steps=10), **changed)  # type: ignore[arg-type]
    with pytest.raises(BadTraining, match=said):
        Training(small_model(), (Phase("only", texts(small_examples(4)), 1.0),), options, mean_loss)


def test_unusable_phases_are_refused() -> None:
    model, options, examples = small_model(), small_options(steps=10), texts(small_examples(4))
    with pytest.raises(BadTraining, match="at least one phase"):
        Training(model, (), options, mean_loss)
    with pytest.raises(BadTraining, match="the last must be 1.0"):
        Training(model, (Phase("a", examples, 0.5),), options, mean_loss)
    with pytest.raises(BadTraining, match="the ends must rise"):
        Training(model, (Phase("a", examples, 1.0), Phase("b", examples, 1.0)), options, mean_loss)
    with pytest.raises(BadTraining, match="asks for a gradient"):
        Training(small_model().requires_grad_(False), (Phase("a", examples, 1.0),), options, mean_loss)


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    training = small_training(steps=10)
    with torch.no_grad():
        training.model.model.language_model.norm.weight.fill_(float("nan"))
    with pytest.raises(BadTraining, match="the loss is nan at step 1"):
        next(training.steps())
