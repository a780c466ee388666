"""Who is measured when, with sides that only remember what they were asked."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gemcut.errors import BadOption, BenchFailed
from gemcut.fit.rates import Rates
from gemcut.fit.weights import PRECISIONS
from gemcut.opened import Opened
from gemcut.speed import rounds
from gemcut.speed.order import About, Order, Shape, Taken
from gemcut.speed.rivals import LlamaCpp, Rival, Transformers
from gemcut.speed.rounds import Plan, Rounds
from gemcut.speed.variants import variants
from tests.speed.fake import write_llama_bench
from tests.speed.models import write_bf16

SHORT, LONG = (Shape(prompt_tokens=length, batch=1, new_tokens=4) for length in (8, 32))
RATES = Rates(
    read=dict.fromkeys(PRECISIONS, 25e9), multiply=dict.fromkeys(PRECISIONS, 140e9), layer_s=1e-4, row_s=1e-9
)


class Scripted:
    """Stands for `Side`: notes what happens, and takes times that say whose they are."""

    log: list[tuple[str, Any]] = []

    def __init__(self, name: str, given: Mapping[str, Any]) -> None:
        self.name, self.about, self.given = name, None, given
        self.log.append((name, "begins"))
        assert not any("model" in key for key in given)
        self.files = [Path(given["file"])] if "file" in given else [Path(given["place"])]
        assert all(file.exists() for file in self.files)

    def take(self, order: Order) -> Taken:
        self.log.append((self.name, order))
        self.about = About(title=f"{self.name} 1", peak_bytes=10**9)  # type: ignore[assignment]
        return Taken(prefill_s=1.0, step_s=0.1 if self.name == "gemcut" else 0.2)

    def __enter__(self) -> "Scripted":
        return self

    def __exit__(self, *_: object) -> None:
        self.log.append((self.name, "ends"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return write_bf16(tmp_path_factory.mktemp("models") / "plain")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, Any]]:
    (tmp_path / "made").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "made"))
    monkeypatch.setattr(rounds, "Side", Scripted)
    monkeypatch.setattr(Scripted, "log", [])

    def measure(device: torch.device) -> Rates:
        Scripted.log.append(("machine", device.type))
        return RATES

    monkeypatch.setattr(rounds, "measure", measure)
    monkeypatch.setattr(rounds, "read_rate", lambda device: 30e9)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: Scripted.log.append(("threads", count)))
    return Scripted.log


def plan(source: Opened, rival: Rival | None = None, *choices: str, **more: Any) -> Plan:
    usual: dict[str, Any] = {
        "shapes": (SHORT, LONG),
        "rounds": 2,
        "threads": 2,
        "device": torch.device("cpu"),
        "rival": rival,
    }
    return Plan(variants=variants(source, choices or ["stored"]), **(usual | more))


def llama(folder: Path) -> LlamaCpp:
    return LlamaCpp(program=write_llama_bench(folder), gguf=None, flags=())


def test_sides_take_turns_with_the_same_prompts(plain: Opened, log: list[tuple[str, Any]]) -> None:
    work = Rounds(plan(plain, Transformers()))
    assert list(work.steps())[-1] == "bf16: round 2 of 2, gemcut, a prompt of 32"
    ours, theirs = "gemcut", "transformers"
    assert [name for name, _ in log] == [
        *("threads", "machine", ours, theirs),
        *(ours, ours, theirs, theirs),  # warm
        *("machine", ours, theirs, ours, theirs),
        *("machine", theirs, ours, theirs, ours),
        *(theirs, ours),  # end
    ]
    orders = [said for _, said in log if isinstance(said, Order)]
    assert [order.shape.new_tokens for order in orders] == [2] * 4 + [4] * 8
    warm, measured = orders[:4], orders[4:]
    assert all(measured[place] == measured[place + 1] for place in range(0, 8, 2))
    prompts = {str(order.prompts) for order in [*warm, *measured[::2]]}
    assert len(prompts) == 8  # each is new: nothing of it was read before
    tokenizer = plain.tokenizer()
    assert not any(tokenizer.is_control(token) for order in orders for token in order.prompts[0])


def test_what_came_of_it_is_told_round_by_round(plain: Opened, log: list[tuple[str, Any]]) -> None:
    work = Rounds(plan(plain, Transformers()))
    assert work.outcomes == []
    list(work.steps())
    (outcome,) = work.outcomes
    assert (outcome.precision, outcome.their_precision) == ("bf16", "bf16")
    assert outcome.ours.title == "gemcut 1"
    assert outcome.theirs is not None
    assert outcome.theirs.title == "transformers 1"
    assert [rates.read["int4"] for rates in outcome.floors] == [30e9, 30e9]
    assert [(rates.layer_s, rates.row_s) for rates in outcome.floors] == [(0, 0)] * 2
    assert [(one.what, one.shape) for one in outcome.speeds] == [
        (what, shape) for shape in (SHORT, LONG) for what in ("prefill", "decode")
    ]
    decode = outcome.speeds[1]
    assert decode.ours == (10, 10)
    assert decode.ratios == (2, 2)
    assert decode.floors[0] > 10_000


def test_each_precision_has_processes_and_files_of_its_own(
    plain: Opened, log: list[tuple[str, Any]], tmp_path: Path
) -> None:
    work = Rounds(plan(plain, llama(tmp_path), "int8", "int4", shapes=(SHORT,)))
    list(work.steps())
    assert [one.precision for one in work.outcomes] == ["int8", "int4"]
    begun = [name for name, said in log if said == "begins"]
    assert begun == ["gemcut", "llama.cpp", "gemcut", "llama.cpp"]
    assert list((tmp_path / "made").iterdir()) == []  # removed
    warmed = [name for name, said in log if isinstance(said, Order) and said.new_tokens == 2]
    assert set(warmed) == {"gemcut"}  # llama-bench warms itself


def test_who_stops_in_the_middle_leaves_nothing_behind(
    plain: Opened, log: list[tuple[str, Any]], tmp_path: Path
) -> None:
    steps = Rounds(plan(plain, None, "int4")).steps()
    while "round 1" not in next(steps):
        assert list((tmp_path / "made").iterdir())
    steps.close()  # type: ignore[attr-defined]
    assert log[-1] == ("gemcut", "ends")
    assert list((tmp_path / "made").iterdir()) == []


def test_a_side_that_fails_ends_it(
    plain: Opened, log: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Scripted, order: Order) -> Taken:
        raise BenchFailed("gemcut: no memory")

    monkeypatch.setattr(Scripted, "take", fails)
    with pytest.raises(BenchFailed, match="gemcut: no memory"):
        list(Rounds(plan(plain)).steps())
    assert log[-1] == ("gemcut", "ends")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"rounds": 0}, "--rounds is 0; it must be at least 1"),
        ({"threads": -1}, "--threads is -1; it must be at least 1"),
        ({"shapes": (replace(SHORT, batch=257),)}, "--batch is 257; at most 256 requests"),
        (
            {"shapes": (replace(SHORT, prompt_tokens=10**6),)},
            r"--prompt 1000000 with --tokens 4 and --batch 1 takes up to 1,000,005 tokens and this model's "
            "context holds",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(plain: Opened, more: dict[str, Any], said: str) -> None:
    with pytest.raises(BadOption, match=said):
        plan(plain, **more)


def test_the_longest_prompt_that_the_context_holds_is_measured(plain: Opened) -> None:
    context = plain.config.text.max_position_embeddings
    longest = replace(SHORT, prompt_tokens=context - 1 - SHORT.new_tokens)
    assert plan(plain, shapes=(longest,)).shapes == (longest,)
    with pytest.raises(BadOption, match="lower them"):
        plan(plain, shapes=(replace(longest, prompt_tokens=longest.prompt_tokens + 1),))


def test_files_that_the_disk_has_no_room_for_are_not_begun(
    plain: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage)
    assert plan(plain)
    with pytest.raises(BadOption, match="GB free; set TMPDIR to a larger disk"):
        plan(plain, None, "int4")
