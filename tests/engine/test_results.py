"""What a step gave, by sequence."""

import pytest
import torch

from gemcut.engine.results import Results

RESULTS = Results(torch.arange(5.0)[:, None], [2, 0, 3])


def test_each_sequence_has_its_rows() -> None:
    assert [part.flatten().tolist() for part in RESULTS] == [[0, 1], [], [2, 3, 4]]
    assert RESULTS[-1].flatten().tolist() == [2, 3, 4]
    assert [len(part) for part in RESULTS[1:]] == [0, 3]
    with pytest.raises(IndexError):
        RESULTS[3]


def test_the_last_rows_of_sequences_are_taken_together() -> None:
    assert RESULTS.ends == [2, 2, 5]
    assert RESULTS.take([1, 3, 4]).flatten().tolist() == [1, 3, 4]
    assert RESULTS.take(range(5)) is RESULTS.rows
