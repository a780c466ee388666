"""Models and data small enough to train in a test."""

from dataclasses import replace

import numpy as np
import torch

from gemcut.model.gemma4 import Gemma4
from gemcut.train.batches import Shape, Texts
from gemcut.train.examples import Examples, from_lists
from gemcut.train.initial import initialise
from gemcut.train.loop import Options, Phase, Training
from gemcut.train.objective import mean_loss
from gemcut.train.optimiser import Rates
from gemcut.train.schedule import Budget, Schedule
from tests.parity.tiny import EDGE, FULL, SLIDING, model_config

SMALL = replace(
    EDGE,
    vocab_size=40,
    vocab_size_per_layer_input=40,
    hidden_size=32,
    layer_types=(SLIDING, FULL, SLIDING, FULL),
    num_kv_shared_layers=2,
    sliding_window=5,
)
SHAPE = Shape(groups=2, tokens=32, learnt=16)
RATES = Rates(matrices=1e-2, embeddings=1e-2, others=1e-2, decay=0.01)


def small_model(seed: int = 0) -> Gemma4:
    model = Gemma4(model_config(SMALL))
    initialise(model, seed)
    return model


def small_examples(count: int, seed: int = 0) -> Examples:
    """Sentences of 4 to 16 tokens; the second half of each is learnt."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        size = int(random.integers(4, 17))
        rows.append((random.integers(0, 40, size).tolist(), [int(i >= size // 2) for i in range(size)]))
    return from_lists(rows)


def texts(examples: Examples) -> Texts:
    """Batches of them for the small model."""
    return Texts(examples, SMALL.vocab_size)


def small_options(steps: int, seed: int = 0) -> Options:
    schedule = Schedule(warm_up=2, decay_from=0.5)
    return Options(shape=SHAPE, rates=RATES, budget=Budget(steps=steps), schedule=schedule, seed=seed)


def small_training(steps: int, seed: int = 0) -> Training[Gemma4]:
    torch.set_num_threads(1)
    phases = (
        Phase("first", texts(small_examples(30)), 0.4),
        Phase("second", texts(small_examples(30, seed=1)), 1.0),
    )
    return Training(small_model(), phases, small_options(steps, seed), mean_loss)
