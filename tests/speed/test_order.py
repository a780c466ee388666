from collections import Counter

import pytest

from gemcut.engine.pages import PageLayout
from gemcut.engine.request import Request
from gemcut.engine.scheduler import Limits, Scheduler
from gemcut.errors import BadOption
from gemcut.speed.order import Shape

ROOMY = PageLayout(page_tokens=16, window=128, full_pages=50_000, sliding_pages=50_000)


def shape(prompt_tokens: int = 8, batch: int = 1, new_tokens: int = 3) -> Shape:
    return Shape(prompt_tokens=prompt_tokens, batch=batch, new_tokens=new_tokens)


def test_an_order_has_its_shape_and_prompts_of_its_own() -> None:
    first, again, other = (shape(batch=2).order(range(100, 200), seed) for seed in (1, 1, 2))
    assert first.shape == shape(batch=2)
    assert first == again
    assert first.prompts[0] != first.prompts[1] != other.prompts[0] != first.prompts[0]
    assert all(100 <= token < 200 for prompt in first.prompts for token in prompt)


@pytest.mark.parametrize("name", ["prompt_tokens", "batch", "new_tokens"])
def test_nothing_cannot_be_measured(name: str) -> None:
    with pytest.raises(BadOption, match="is 0; it must be at least 1"):
        shape(**{name: 0})


def test_alone_a_request_makes_what_is_timed_and_its_first_token() -> None:
    assert shape(500, 1, 16).most_tokens(512) == 500 + 1 + 16


@pytest.mark.parametrize(
    ("length", "batch"), [(64, 2), (512, 16), (2000, 4), (100, 64), (16, 256), (600, 256)]
)
def test_no_request_ends_before_the_last_one_has_made_its_tokens(length: int, batch: int) -> None:
    wanted = shape(length, batch, 5)
    most = wanted.most_tokens(512) - length
    scheduler = Scheduler(ROOMY, Limits(step_tokens=512, max_running=batch))
    for number in range(batch):
        ids = tuple(number * length + place for place in range(length))
        scheduler.add(Request(id=number, prompt_ids=ids, max_tokens=most))
    made: Counter[int] = Counter()
    last_at = None
    while last_at is None or made[last_at] < 1 + wanted.new_tokens:
        chosen = [rows.progress for rows in scheduler.next_step({}) if rows.chooses]
        made.update(progress.request.id for progress in chosen)
        if last_at is None and len(made) == batch:
            last_at = min(made, key=lambda number: made[number])
        assert max(made.values(), default=0) <= most
        scheduler.commit({progress.key: [1] for progress in chosen}, ())
