from itertools import islice

import pytest
import torch

from gemcut.errors import BadTraining
from gemcut.train.batches import Shape, batches, make_batch, pack
from gemcut.train.examples import from_lists
from gemcut.train.objective import token_losses
from tests.train.runs import SHAPE, small_examples, small_model


def test_every_example_comes_once_in_every_epoch() -> None:
    examples = small_examples(50)
    rows = pack(examples, SHAPE, seed=3)
    for _ in range(2):
        epoch: list[int] = []
        while len(epoch) < len(examples):
            epoch += next(rows)
        assert sorted(epoch) == list(range(len(examples)))


def test_epochs_and_seeds_have_their_own_order() -> None:
    examples = small_examples(50)
    first = list(islice(pack(examples, SHAPE, seed=3), 20))
    assert first == list(islice(pack(examples, SHAPE, seed=3), 20))
    assert first != list(islice(pack(examples, SHAPE, seed=4), 20))


def test_a_batch_holds_every_token_and_every_learnt_token_of_its_examples() -> None:
    examples = small_examples(50)
    rows = list(islice(pack(examples, SHAPE, seed=0), SHAPE.groups))
    batch = make_batch(examples, rows, SHAPE)
    members = [index for row in rows for index in row]
    assert int((batch.sequences >= 0).sum()) == int(examples.lengths[members].sum())
    assert int(batch.weights.sum()) == int(examples.num_learnt[members].sum())
    ids = batch.ids.reshape(-1)
    real = batch.weights > 0
    assert torch.equal(ids[batch.outputs[real] + 1], batch.targets[real])


def test_skipped_batches_are_those_that_were_taken() -> None:
    examples = small_examples(50)
    whole = list(islice(batches(examples, SHAPE, seed=0), 12))
    rest = list(islice(batches(examples, SHAPE, seed=0, skip=7), 5))
    for ours, theirs in zip(rest, whole[7:], strict=True):
        assert torch.equal(ours.ids, theirs.ids)
        assert torch.equal(ours.outputs, theirs.outputs)


def test_packed_examples_do_not_see_each_other() -> None:
    examples = small_examples(12, seed=5)
    model = small_model().double()
    rows = list(islice(pack(examples, SHAPE, seed=0), SHAPE.groups))
    assert max(map(len, rows)) > 1
    packed = token_losses(model, make_batch(examples, rows, SHAPE)).sum()
    alone = Shape(groups=1, tokens=SHAPE.tokens, learnt=SHAPE.learnt)
    single = sum(token_losses(model, make_batch(examples, [[i]], alone)).sum() for row in rows for i in row)
    torch.testing.assert_close(packed, single, rtol=1e-9, atol=1e-9)


def test_losses_are_those_of_all_logits() -> None:
    """The shared layers run for the learnt tokens only; nothing else may change by that."""
    from gemcut.model.step import whole_sequences

    examples = small_examples(1, seed=7)
    model = small_model().double()
    shape = Shape(groups=1, tokens=len(examples.ids), learnt=len(examples.ids))
    losses = token_losses(model, make_batch(examples, [[0]], shape)).sum()
    ids = torch.from_numpy(examples.ids)
    step = whole_sequences([len(ids)], model.config.text, ids.device)
    logits = model.logits(model(model.embed(ids), step))
    learnt = torch.from_numpy(examples.mask[1:] == 1)
    wanted = torch.nn.functional.cross_entropy(logits[:-1][learnt], ids[1:][learnt], reduction="sum")
    torch.testing.assert_close(losses, wanted, rtol=1e-9, atol=1e-9)


def test_an_example_larger_than_a_row_is_named() -> None:
    examples = from_lists([([1, 2, 3], [0, 1, 1]), ([1] * 9, [0] + [1] * 8)])
    with pytest.raises(BadTraining, match="example 1 has 9 tokens and a row of a batch holds 8"):
        Shape(groups=1, tokens=8, learnt=8).check_examples(examples)
    with pytest.raises(BadTraining, match="example 1 has 8 tokens to learn and a row of a batch holds 4"):
        Shape(groups=1, tokens=16, learnt=4).check_examples(examples)
