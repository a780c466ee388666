"""What is left of a step's sights when only some of its rows go on."""

import torch

from gemcut.kernels.page_sight import PageSight

SIGHT = PageSight(
    tables=torch.tensor([[5, 6, 0], [7, 8, 9], [4, 0, 0]], dtype=torch.int32),
    first=torch.tensor([0, 8, 0], dtype=torch.int32),
    lows=torch.tensor([0, 0, 0, 9, 0, 0], dtype=torch.int32),
    highs=torch.tensor([5, 6, 7, 18, 1, 2], dtype=torch.int32),
    starts=torch.tensor([0, 3, 4, 6], dtype=torch.int32),
    page_tokens=4,
    window=None,
)


def test_sequences_without_a_row_that_goes_on_fall_away() -> None:
    taken = SIGHT.take(torch.tensor([1, 2, 5]), 6)
    assert taken.tables.tolist() == [[5, 6, 0], [4, 0, 0]]
    assert taken.first.tolist() == [0, 0]
    assert (taken.lows.tolist(), taken.highs.tolist()) == ([0, 0, 0], [6, 7, 2])
    assert (taken.starts.tolist(), taken.starts.dtype) == ([0, 2, 3], torch.int32)
    assert taken.most_rows == 2


def test_all_rows_taken_see_what_they_saw() -> None:
    taken = SIGHT.take(torch.arange(6), 6)
    for name in ("tables", "first", "lows", "highs", "starts"):
        assert torch.equal(getattr(taken, name), getattr(SIGHT, name))


def test_no_row_taken_leaves_no_sequence() -> None:
    taken = SIGHT.take(torch.empty(0, dtype=torch.long), 6)
    assert (len(taken.tables), taken.starts.tolist(), taken.most_rows) == (0, [0], 0)


def test_slots_follow_the_pages_from_the_first_visible_position_on() -> None:
    assert SIGHT.sequences[1].slots.tolist() == [29, 30, 31, 32, 33, 34, 35, 36, 37]
    assert SIGHT.sequences[0].slots.tolist() == [20, 21, 22, 23, 24, 25, 26]
