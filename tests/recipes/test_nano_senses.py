"""Training of nano's senses: what batches hold, what towers start from, that training is what is run."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from gemcut.errors import BadTraining
from gemcut.kernels.norm import rotate
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import whole_sequences
from gemcut.model.vision import patch_positions
from gemcut.train.batches import Shape, Texts
from gemcut.train.examples import from_lists
from gemcut.train.initial import initialise
from gemcut.train.objective import mean_loss
from gemcut.train.optimiser import Optimiser
from recipes.nano import senses_mix
from recipes.nano.config import nano_config
from recipes.nano.neighbours import OFFSETS, plant_neighbours
from recipes.nano.senses import EXACTLY, RATES, Senses, senses_loss
from recipes.nano.senses_mix import LARGE_MIX, SMALL_MIX, Asking, Drawer, Looking, media_batch
from recipes.nano.voices import DIGITS, SEEN, VOCABULARY, Bank

PACKAGED = Path(__file__).resolve().parents[2] / "gemcut/nano"
SHAPE = Shape(groups=2, tokens=640, learnt=64)


@pytest.fixture(scope="module")
def drawer() -> Drawer:
    """With a bank of noise in the place of speech, which needs espeak-ng."""
    pcm = np.random.default_rng(0).integers(-9000, 9000, 9000).astype(np.int16)
    keys = [f"train/{voice}/{word}" for voice in SEEN for word in (*VOCABULARY, *DIGITS)]
    tokenizer = Tokenizer.from_file(str(PACKAGED / "tokenizer.json"))
    return Drawer(tokenizer, Bank(pcm, {key: [(0, 9000)] for key in keys}))


@pytest.fixture(scope="module")
def model() -> Gemma4:
    model = Gemma4(nano_config(PACKAGED))
    initialise(model, 0)
    plant_neighbours(model.model.vision_tower)
    return model


@pytest.fixture
def texts() -> Texts:
    return Texts(from_lists([([2, 5, 6, 7], [0, 0, 1, 1])] * 4), 2048)


def test_soft_tokens_stand_in_the_order_of_their_placeholders(drawer: Drawer) -> None:
    rng = random.Random(0)
    clip, picture = drawer.clip(rng, "beeps"), drawer.picture(rng, "color", 12)
    batch = media_batch(None, [*clip.clips, *picture.images])
    seen, heard = len(picture.images[0].marks), len(clip.clips[0].marks)
    assert batch.order.tolist() == [*range(seen, seen + heard), *range(seen)]
    assert batch.num_tokens == seen + heard


@pytest.mark.parametrize("mix", [SMALL_MIX, LARGE_MIX])
def test_batches_of_questions_are_whole_and_the_same_each_time(
    drawer: Drawer, texts: Texts, mix: senses_mix.Mix
) -> None:
    source = Asking(drawer, mix, texts, text_rows=1, frozen=False)
    source.check(SHAPE)
    batches = source.batches(SHAPE, 7, 0)
    _, second = next(batches), next(batches)
    again = next(source.batches(SHAPE, 7, 1))
    assert second.text is not None
    assert again.text is not None
    assert torch.equal(second.text.ids, again.text.ids)
    assert torch.equal(second.pixels, again.pixels)
    placeholders = torch.isin(second.text.ids, torch.tensor(soft_ids(drawer)))
    assert placeholders.sum() == len(second.order)
    assert not placeholders[0].any()  # the row of text
    assert sorted(second.order.tolist()) == list(range(len(second.order)))


def soft_ids(drawer: Drawer) -> list[int]:
    return [drawer.tokenizer.token_to_id(f"<|{kind}|>") for kind in ("image", "audio", "video")]


def test_rows_that_are_all_text_are_refused(drawer: Drawer, texts: Texts) -> None:
    with pytest.raises(BadTraining, match="2 of 2 rows are text"):
        Asking(drawer, SMALL_MIX, texts, text_rows=2, frozen=True).check(SHAPE)


def test_planted_heads_look_at_their_neighbours(model: Gemma4) -> None:
    """In the first two layers, from a patch in the middle of an image of noise."""
    tower, grid = model.model.vision_tower, (12, 15)
    middle = (6, 7)
    positions = patch_positions([grid], torch.device("cpu"))
    x = tower.patch_embedder(torch.rand(180, 768, generator=torch.Generator().manual_seed(0)), positions)
    cos, sin = tower.encoder._rotations(positions, x.dtype)
    for layer, offsets in zip(tower.encoder.layers, OFFSETS[:2], strict=False):
        attention, normed = layer.self_attn, layer.input_layernorm(x)
        q, k = (
            rotate(norm(p(normed).view(180, 4, -1)).view(180, 4, 2, -1), cos, sin).flatten(-2)
            for p, norm in ((attention.q_proj, attention.q_norm), (attention.k_proj, attention.k_norm))
        )
        nearest = torch.einsum("hw,nhw->hn", q[middle[0] * 15 + middle[1]], k).argmax(-1)
        places = [(int(n) % 15 - middle[1], int(n) // 15 - middle[0]) for n in nearest]
        assert places == list(offsets)
        x = layer(x, cos, sin, [180])


def test_the_answers_loss_is_that_of_the_model_that_is_run(
    model: Gemma4, drawer: Drawer, texts: Texts
) -> None:
    """A batch that mixes a clip and a picture costs what the two cost one by one."""
    rng = random.Random(1)
    samples = [drawer.clip(rng, "word"), drawer.picture(rng, "kind", 12)]
    rows = from_lists([(s.ids, s.mask) for s in samples])
    asked = senses_mix.make_batch(rows, [[0, 1]], Shape(groups=1, tokens=200, learnt=30))
    batch = media_batch(asked, [*samples[0].clips, *samples[1].images])
    with torch.no_grad():
        senses = Senses(model, drawer.vocabulary, mean_loss)
        senses_loss(senses, batch)
        losses = []
        for sample in samples:
            ids = torch.from_numpy(sample.ids)
            if sample.images:
                soft = model.encode_images(torch.from_numpy(sample.images[0].pixels), [sample.images[0].grid])
            else:
                soft = model.encode_sounds([torch.from_numpy(sample.clips[0].mel)])[0]
            step = whole_sequences([len(ids)], model.config.text, ids.device)
            logits = model.logits(model(model.embed_with_soft_tokens(ids, soft), step))
            learnt = torch.from_numpy(sample.mask[1:]) == 1
            losses.append(F.cross_entropy(logits[:-1][learnt], ids[1:][learnt], reduction="none"))
    torch.testing.assert_close(senses.right["answers"][0], float(torch.cat(losses).mean()), rtol=1e-4, atol=0)


def test_towers_learn_alone_and_the_decoder_stays(model: Gemma4, drawer: Drawer) -> None:
    torch.set_num_threads(1)
    senses = Senses(model, drawer.vocabulary, mean_loss)
    optimiser = Optimiser(senses.named_parameters(), RATES)
    batch = next(
        Looking(drawer, EXACTLY, strips=2, pages=0, shapes=2, charts=1, clips=1).batches(SHAPE, 0, 0)
    )
    before = model.model.language_model.layers[0].self_attn.q_proj.weight.clone()
    losses = []
    for _ in range(8):
        loss = senses_loss(senses, batch)
        loss.backward()
        optimiser.step(1.0)
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert torch.equal(before, model.model.language_model.layers[0].self_attn.q_proj.weight)
    assert "letters" in senses.tell()
    assert senses.tell() == ""


def test_a_sample_of_each_kind_is_drawn(drawer: Drawer) -> None:
    rng = random.Random(0)
    for draw, _ in (*SMALL_MIX, *LARGE_MIX):
        sample = draw(drawer, rng)
        assert sample.mask[-1] == 1
        assert bool(sample.images) != bool(sample.clips)
        assert len(sample.ids) <= 640
