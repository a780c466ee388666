from pathlib import Path

import numpy as np
import pytest

from gemcut.errors import BadTraining
from gemcut.train.examples import Examples, from_lists, read_examples


def test_the_first_token_of_an_example_is_never_learnt() -> None:
    examples = from_lists([([1, 2, 3], [1, 1, 0]), ([4, 5], [0, 1])])
    assert examples.num_learnt.tolist() == [1, 1]
    assert examples.lengths.tolist() == [3, 2]


@pytest.mark.parametrize(
    ("examples", "said"),
    [
        (from_lists([]), "no examples"),
        (from_lists([([1, 2], [0, 0])]), "example 0 has no token to learn"),
        (from_lists([([1, 2], [0, 1]), ([1, 99], [0, 1])]), "token id 99 is not below the vocabulary's 40"),
        (Examples(np.arange(4), np.ones(3, np.uint8), np.array([0, 4])), "4 token ids and 3 mask values"),
        (Examples(np.arange(4), np.ones(4, np.uint8), np.array([0, 3])), "offsets lead from 0 to 3 over 4"),
        (Examples(np.arange(4), np.ones(4, np.uint8), np.array([0, 3, 4])), "two tokens an example at least"),
    ],
)
def test_unusable_examples_are_refused(examples: Examples, said: str) -> None:
    with pytest.raises(BadTraining, match=said):
        examples.check(vocab_size=40)


def test_examples_come_back_from_a_file(tmp_path: Path) -> None:
    examples = from_lists([([1, 2, 3], [0, 1, 1])])
    np.savez(tmp_path / "x.npz", ids=examples.ids, mask=examples.mask, offsets=examples.offsets)
    again = read_examples(tmp_path / "x.npz")
    assert again.ids.tolist() == [1, 2, 3]
    assert again.offsets.tolist() == [0, 3]


def test_files_that_are_no_training_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadTraining, match="there is no training data in"):
        read_examples(tmp_path / "x.npz")
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(BadTraining, match="cannot be read as training data"):
        read_examples(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", ids=np.arange(3))
    with pytest.raises(BadTraining, match="has no array mask"):
        read_examples(tmp_path / "y.npz")
