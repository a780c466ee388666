"""With guesses the engine makes the naive loop's tokens, whoever guesses, and learns their worth."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemcut import Gemma
from gemcut.engine.constraint import Constraint, ConstraintOptions, GrammarVocabulary, schema_grammar
from gemcut.engine.drafting import PagedDrafter, Speculator
from gemcut.engine.engine import Engine
from gemcut.engine.job import Choice, Job
from gemcut.engine.memory import MemoryPlan, plan_memory
from gemcut.engine.naive import generate
from gemcut.engine.pages import PageLayout
from gemcut.engine.progress import Key, Progress
from gemcut.engine.request import Request
from gemcut.engine.runner import Runner
from gemcut.engine.sampling_params import Sampling
from gemcut.engine.scheduler import Limits, Scheduler
from gemcut.engine.speculative import Offer, Speculate, Speculation
from gemcut.engine.stop_conditions import StopConditions
from gemcut.errors import BadOption
from gemcut.model.drafter import Drafter
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import whole_sequences
from tests.parity.tiny import ODD, TINY, fill, model_config
from tests.parity.tiny_drafter import drafted, drafter_config

NO_MEDIA = torch.empty(0, 48)
CONFIGS = {**TINY, **{name: text for name, text in ODD.items() if "window" in name}}
GREEDY = Sampling(temperature=0)
SAMPLED = Sampling(temperature=0.8, top_k=20, seed=4)
ADJUSTED = Sampling(
    temperature=0.9,
    seed=5,
    repetition_penalty=1.3,
    presence_penalty=0.5,
    frequency_penalty=0.4,
    logit_bias=((7, 4.0), (9, 3.0)),
    stop_ids=(7,),
    min_tokens=9,
    logprobs=2,
)
Guesses = Callable[[Progress], Sequence[int]]


@functools.cache
def model(name: str) -> Gemma4:
    built = Gemma4(model_config(CONFIGS[name])).double().requires_grad_(False)
    fill(built, seed=0)
    return built


@functools.cache
def drafter(name: str) -> Drafter:
    built = Drafter(drafter_config(name)).double().requires_grad_(False)
    fill(built, seed=1)
    if built.config.clusters is not None:
        built.masked_embedding.token_ordering.copy_(torch.arange(320).flip(0))
    return built


def prompt(length: int, start: int = 20) -> tuple[int, ...]:
    return tuple(start + 7 * place % 50 for place in range(length))


@functools.cache
def naive(name: str, ids: tuple[int, ...], sampling: Sampling, most: int) -> list[int]:
    stops = StopConditions(sampling.stop_ids, (), sampling.min_tokens, most)
    return [token.id for token in generate(model(name), ids, NO_MEDIA, sampling, stops)]


def job(number: int, ids: tuple[int, ...], sampling: Sampling, most: int) -> Job:
    stops = StopConditions(sampling.stop_ids, (), sampling.min_tokens, most)
    return Job(
        Request(id=number, prompt_ids=ids, max_tokens=most), (Choice(sampling, stops),), NO_MEDIA.double()
    )


def engine(
    name: str,
    full_pages: int = 60,
    page_tokens: int = 4,
    max_running: int = 4,
    speculate: Speculate = "auto",
) -> Engine:
    """An engine for a tiny model, without a drafter."""
    speculation = Speculation(speculate=speculate)
    return Engine(*parts(name, full_pages, page_tokens, max_running), speculation)


def parts(
    name: str, full_pages: int, page_tokens: int, max_running: int
) -> tuple[Runner, MemoryPlan, Limits]:
    text, limits = CONFIGS[name], Limits(step_tokens=40, max_running=max_running)
    plan = plan_memory(text, 10**7, 8, page_tokens, limits)
    window = text.sliding_window
    layout = PageLayout(
        page_tokens=page_tokens,
        window=window,
        full_pages=full_pages,
        sliding_pages=full_pages + (window + 40) // page_tokens,
    )
    return Runner(model(name), layout, int8=False), replace(plan, layout=layout), limits


def guess(monkeypatch: pytest.MonkeyPatch, guesses: Guesses) -> list[int]:
    """Lets these be the guesses of every engine; returns what will hold how many rows each step checked."""
    checked: list[int] = []

    def propose(
        self: Speculator, running: Sequence[Progress], forced: Mapping[Key, tuple[int, ...]]
    ) -> dict[Key, Sequence[int]]:
        drafts = {progress.key: guesses(progress) for progress in running if progress.pending == 1}
        checked.append(sum(map(len, drafts.values())))
        return drafts

    monkeypatch.setattr(Speculator, "propose", propose)
    return checked


def take_all(offers: Sequence[Offer], *_: object) -> list[int]:
    """In the place of `share_rows`: whatever is offered is checked, what it may cost."""
    return [offer.most for offer in offers]


def wrong_at(truth: Sequence[int], progress: Progress, right: int, count: int = 5) -> list[int]:
    """`count` guesses of which the first `right` are the true tokens."""
    true = truth[progress.num_made : progress.num_made + count]
    return [token if place < right else (token + 1) % 320 for place, token in enumerate(true)]


PATTERN = (5, 0, 3, 1, 2, 4, 0)


@pytest.mark.parametrize(
    ("name", "sampling"),
    [*((name, GREEDY) for name in CONFIGS), ("e2b", SAMPLED), ("e2b", ADJUSTED)],
)
def test_guesses_that_are_right_and_wrong_by_turns_change_no_token(
    name: str, sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompt of 15 tokens ends within the window of 24; the guesses go across its edge."""
    want = naive(name, prompt(15), sampling, 40)
    guess(monkeypatch, lambda p: wrong_at(want, p, PATTERN[p.num_made % 7]))
    running = engine(name)
    (stream,) = running.submit(job(0, prompt(15), sampling, 40))
    assert [token.id for token in stream] == want
    running.close()


@st.composite
def arrivals(draw: st.DrawFn) -> list[tuple[tuple[int, ...], int, int | None]]:
    """Prompts that share beginnings, how many tokens follow, and after how many they are cancelled."""
    found = []
    for number in range(draw(st.integers(1, 5))):
        shared = prompt(draw(st.sampled_from([0, 9, 23, 24, 40])))
        own = prompt(draw(st.integers(1, 20)), start=100 + number)
        most = draw(st.integers(1, 30))
        found.append((shared + own, most, draw(st.none() | st.integers(0, most))))
    return found


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requests=arrivals(),
    page_tokens=st.sampled_from([1, 4, 16]),
    spare=st.integers(0, 20),
    pattern=st.lists(st.integers(0, 6), min_size=1, max_size=7),
    sampling=st.sampled_from([GREEDY, SAMPLED, ADJUSTED]),
)
def test_guesses_change_no_token_among_cancels_and_when_pages_run_out(
    name: str,
    requests: list[tuple[tuple[int, ...], int, int | None]],
    page_tokens: int,
    spare: int,
    pattern: list[int],
    sampling: Sampling,
) -> None:
    longest = max(len(ids) + most for ids, most, _ in requests)
    want = [naive(name, ids, sampling, most) for ids, most, _ in requests]

    def guesses(progress: Progress) -> Sequence[int]:
        return wrong_at(want[progress.request.id], progress, pattern[progress.num_made % len(pattern)], 6)

    with pytest.MonkeyPatch.context() as patch:
        guess(patch, guesses)
        running = engine(name, 2 + longest // page_tokens + spare, page_tokens)
        streams = [
            running.submit(job(number, ids, sampling, most))[0]
            for number, (ids, most, _) in enumerate(requests)
        ]
        for stream, true, (_, _, cancel_after) in zip(streams, want, requests, strict=True):
            if cancel_after is None:
                assert [token.id for token in stream] == true
            else:
                read = [next(stream).id for _ in range(min(cancel_after, len(true)))]
                stream.close()
                assert read == true[: len(read)]
        running.close()


@pytest.mark.parametrize(("name", "max_running"), [*((name, 4) for name in TINY), ("e2b", 1)])
def test_a_drafter_changes_no_token(name: str, max_running: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In so few pages that four replies do not fit, some are preempted and go on being drafted for."""
    monkeypatch.setattr("gemcut.engine.drafting.share_rows", take_all)
    running = Engine(
        *parts(name, 30, 4, max_running), Speculation(speculate="drafter", max_drafts=3), drafter(name)
    )
    prompts = [prompt(20 + 3 * number, start=20 + number) for number in range(4)]
    streams = [running.submit(job(number, ids, GREEDY, 30))[0] for number, ids in enumerate(prompts)]
    for ids, stream in zip(prompts, streams, strict=True):
        assert [token.id for token in stream] == naive(name, ids, GREEDY, 30)
    running.close()


@pytest.mark.parametrize(
    ("name", "page_tokens"), [*((name, 4) for name in TINY), ("e2b", 1), ("31b", 1), ("31b", 16)]
)
def test_drafts_from_pages_are_those_from_the_keys_themselves(name: str, page_tokens: int) -> None:
    """For sequences of several lengths at once, before and behind the window's edge, chunk after chunk."""
    limits = Limits(step_tokens=40, max_running=4)
    layout = PageLayout(page_tokens=page_tokens, window=24, full_pages=240, sliding_pages=240)
    scheduler, runner = Scheduler(layout, limits), Runner(model(name), layout, int8=False)
    prompts = [prompt(length, start=30 + length) for length in (1, 23, 24, 70)]
    for number, ids in enumerate(prompts):
        scheduler.add(Request(id=number, prompt_ids=ids, max_tokens=9))
    hidden: dict[int, torch.Tensor] = {}
    while len(hidden) < len(prompts):
        planned = scheduler.next_step({})
        made = {}
        for rows, result in zip(planned, runner.run(planned, {}), strict=True):
            if rows.chooses:
                hidden[rows.progress.request.id] = result[-1:]
                made[rows.progress.key] = (rows.progress.request.id + 5,)
        scheduler.commit(made, ())
    rows = torch.cat([hidden[progress.request.id] for progress in scheduler.running])
    got = PagedDrafter(drafter(name), runner).draft(scheduler.running, rows, 4)
    for progress, tokens in zip(scheduler.running, got, strict=True):
        read = torch.tensor(progress.ids[:-1])
        assert tokens == drafted(model(name), drafter(name), read, progress.ids[-1], 4)


@pytest.mark.parametrize("sampling", [GREEDY, ADJUSTED], ids=["greedy", "adjusted"])
def test_look_up_changes_no_token(sampling: Sampling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemcut.engine.drafting.share_rows", take_all)
    running = engine("e2b", speculate="lookup")
    (stream,) = running.submit(job(0, prompt(60), sampling, 40))
    assert [token.id for token in stream] == naive("e2b", prompt(60), sampling, 40)
    running.close()


def test_guesses_that_are_all_right_take_a_sixth_of_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    want = naive("31b", prompt(15), GREEDY, 37)
    checked = guess(monkeypatch, lambda progress: wrong_at(want, progress, 5))
    running = engine("31b")
    (stream,) = running.submit(job(0, prompt(15), GREEDY, 37))
    assert [token.id for token in stream] == want
    running.close()
    assert checked[:7] == [0] + [5] * 6


@pytest.mark.parametrize("place", [1, 3, 6])
def test_nothing_follows_a_stop_token_among_the_guesses(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    want = naive("31b", prompt(15), SAMPLED, 12)
    guess(monkeypatch, lambda progress: wrong_at(want, progress, 5))
    stop = want[place]
    running = engine("31b")
    (stream,) = running.submit(job(0, prompt(15), replace(SAMPLED, stop_ids=(stop,)), 12))
    assert [token.id for token in stream] == want[: want.index(stop) + 1]
    running.close()


@pytest.mark.parametrize("most", [1, 2, 6, 7])
def test_there_are_no_more_tokens_than_there_may_be(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    want = naive("31b", prompt(15), GREEDY, 20)
    guess(monkeypatch, lambda progress: wrong_at(want, progress, 5))
    running = engine("31b")
    (stream,) = running.submit(job(0, prompt(15), GREEDY, most))
    assert [token.id for token in stream] == want[:most]
    running.close()


def test_log_probabilities_behind_guesses_are_those_without(monkeypatch: pytest.MonkeyPatch) -> None:
    stops = StopConditions((7,), (), 9, 25)
    want = [t.logprobs for t in generate(model("e2b"), prompt(15), NO_MEDIA, ADJUSTED, stops)]
    true = naive("e2b", prompt(15), ADJUSTED, 25)
    guess(monkeypatch, lambda p: wrong_at(true, p, PATTERN[p.num_made % 7]))
    running = engine("e2b")
    (stream,) = running.submit(job(0, prompt(15), ADJUSTED, 25))
    for got, expected in zip([token.logprobs for token in stream], want, strict=True):
        assert got is not None
        assert expected is not None
        assert got.logprob == pytest.approx(expected.logprob, abs=1e-9)
        assert [token_id for token_id, _ in got.top] == [token_id for token_id, _ in expected.top]
    running.close()


def test_sampled_tokens_behind_guesses_follow_the_model_s_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Chi-squared over the second and third tokens of 500 replies, the likeliest pair guessed each time."""
    ids, total = prompt(6), 500
    sampling = Sampling(temperature=1.0, top_k=3)

    @functools.cache
    def after(*made: int) -> dict[int, float]:
        logits = last_logits((*ids, *made))
        best = logits.topk(3)
        weights = best.values.softmax(-1).tolist()
        return dict(zip(best.indices.tolist(), weights, strict=True))

    def likeliest(*made: int) -> int:
        found = after(*made)
        return max(found, key=lambda token: found[token])

    def guesses(progress: Progress) -> Sequence[int]:
        made = tuple(progress.ids[len(ids) :])
        second = likeliest(*made)
        return [second, likeliest(*made, second)] if len(made) == 1 else []

    guess(monkeypatch, guesses)
    running = engine("e2b", full_pages=400, max_running=10)
    streams = [
        running.submit(job(number, ids, replace(sampling, seed=1000 + number), 4))[0]
        for number in range(total)
    ]
    pairs = [tuple(token.id for token in stream)[1:3] for stream in streams]
    running.close()
    firsts = after()
    chi_squared = degrees = 0.0
    seconds = {second for first in firsts for second in after(first)}
    for second in seconds:
        thirds = {third for first in firsts if second in after(first) for third in after(first, second)}
        for third in thirds:
            want = total * sum(
                p * after(first).get(second, 0.0) * after(first, second).get(third, 0.0)
                for first, p in firsts.items()
                if second in after(first)
            )
            if want > 4:
                chi_squared += (pairs.count((second, third)) - want) ** 2 / want
                degrees += 1
    assert degrees > 8
    assert chi_squared < degrees + 4 * (2 * degrees) ** 0.5  # by chance once in some 10,000 runs


def last_logits(ids: tuple[int, ...]) -> torch.Tensor:
    target = model("e2b")
    with torch.inference_mode():
        step = whole_sequences([len(ids)], target.config.text, torch.device("cpu"))
        return target.logits(target(target.embed(torch.tensor(ids)), step)[-1:])[0]


SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green"]}, "number": {"type": "integer"}},
    "required": ["colour", "number"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_a_schema_leaves_no_choice_about_is_taken_without_a_step_of_its_own(
    nano: Path, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys and braces of an object; what nano says to it is what the naive loop says."""
    gemma = Gemma.load(str(nano), device="cpu", dtype="float64")
    vocabulary = GrammarVocabulary(gemma.tokenizer, gemma.config.text.vocab_size)
    ids = gemma.prompt("Name a colour and a number.").token_ids
    stop_ids = (gemma.tokenizer.special.turn_close,)
    sampling = Sampling(temperature=temperature, seed=3, stop_ids=stop_ids)

    def choice() -> Choice:
        constraint = Constraint(vocabulary, ConstraintOptions(schema_grammar(SCHEMA), False, None), ids)
        return Choice(sampling, StopConditions(stop_ids, (), 0, 60), constraint)

    alone = choice()
    want = [t.id for t in generate(gemma.model, ids, NO_MEDIA, sampling, alone.stops, alone.constraint)]
    checked: list[int] = []

    def shares(offers: Sequence[Offer], *_: object) -> list[int]:
        checked.append(sum(offer.most for offer in offers))
        return take_all(offers)

    monkeypatch.setattr("gemcut.engine.drafting.share_rows", shares)
    limits = Limits(step_tokens=64, max_running=1)
    plan = plan_memory(gemma.config.text, 10**8, 8, 16, limits)
    running = Engine(
        Runner(gemma.model, plan.layout, int8=False), plan, limits, Speculation(speculate="lookup")
    )
    request = Request(id=0, prompt_ids=ids, max_tokens=60)
    (stream,) = running.submit(Job(request, (choice(),), NO_MEDIA.double()))
    assert [token.id for token in stream] == want
    running.close()
    assert len(checked) < len(want)
    assert max(checked) > 1


class Bench:
    """A speculator, and sequences that decode, without a model.

    price: of a guess, where a step without takes 1.
    """

    def __init__(self, speculation: Speculation, num_sequences: int = 1, price: float = 0.05) -> None:
        layout = PageLayout(page_tokens=4, window=24, full_pages=3000, sliding_pages=3000)
        limits = Limits(step_tokens=64, max_running=num_sequences)
        self.scheduler = Scheduler(layout, limits)
        self.speculator = Speculator(speculation, None)
        self.price = price
        for number in range(num_sequences):
            self.scheduler.add(Request(id=number, prompt_ids=(1, 2, 3), max_tokens=9000))

    def step(self, tokens: Callable[[Progress], Sequence[int]], forced: Sequence[int] = ()) -> int:
        """A step in which those are the true next tokens; returns how many guesses were checked."""
        must = {progress.key: tuple(forced) for progress in self.scheduler.running} if forced else {}
        planned = self.scheduler.next_step(self.speculator.propose(self.scheduler.running, must))
        made, checked = {}, 0
        for rows in planned:
            true, kept = list(tokens(rows.progress)), 0
            guesses = rows.ids[len(rows.ids) - rows.num_drafts :]
            while kept < len(guesses) and guesses[kept] == true[kept]:
                kept += 1
            made[rows.progress.key] = true[: kept + 1]
            checked += rows.num_drafts
        seconds = 1 + self.price * checked
        hidden = [torch.zeros(rows.num_outputs, 4) for rows in planned]
        self.speculator.learn(planned, hidden, made, seconds)
        self.scheduler.commit(made, ())
        return checked


def counting(period: int) -> Callable[[Progress], Sequence[int]]:
    """The text goes round in a circle of so many tokens."""
    return lambda progress: [100 + (len(progress.ids) + place) % period for place in range(9)]


def never_twice(progress: Progress) -> Sequence[int]:
    """Pairs of tokens that come again, with something else behind them each time."""
    place = len(progress.ids)
    return [5 if (place + ahead) % 3 else 1000 + place + ahead for ahead in range(9)]


def test_a_text_that_repeats_itself_is_looked_up_after_its_first_round() -> None:
    bench = Bench(Speculation())
    assert [bench.step(counting(7)) for _ in range(8)] == [0] * 8
    checked = [bench.step(counting(7)) for _ in range(40)]
    assert checked.count(5) > 35


def test_it_goes_on_guessing_where_that_pays_but_for_a_step_now_and_then_to_compare() -> None:
    bench = Bench(Speculation())
    for _ in range(30):
        bench.step(counting(7))
    checked = [bench.step(counting(7)) for _ in range(400)]
    assert 0 < checked.count(0) < 8


def test_it_rests_where_guesses_are_wrong_and_tries_again_later() -> None:
    bench = Bench(Speculation())
    for _ in range(200):
        bench.step(never_twice)
    checked = [bench.step(never_twice) for _ in range(300)]
    assert 0 < sum(checked) * bench.price < 0.015 * 300
    for _ in range(600):
        bench.step(counting(7))
    assert sum(bench.step(counting(7)) for _ in range(20)) > 80


def test_it_rests_where_rows_cost_too_much_even_if_guesses_are_right() -> None:
    bench = Bench(Speculation(), price=1.5)
    for _ in range(40):
        bench.step(counting(7))
    assert sum(bench.step(counting(7)) > 0 for _ in range(100)) < 5


def test_one_sequence_s_wrong_guesses_do_not_silence_another_s() -> None:
    bench = Bench(Speculation(), num_sequences=2)

    def both(progress: Progress) -> Sequence[int]:
        return counting(7)(progress) if progress.request.id else never_twice(progress)

    for _ in range(60):
        bench.step(both)
    assert sum(bench.step(both) for _ in range(20)) > 80


def test_forced_tokens_are_guessed_first_and_teach_nothing() -> None:
    bench = Bench(Speculation(max_drafts=3))
    for _ in range(4):
        bench.step(never_twice)
    assert bench.step(lambda _: [7, 8, 9, 9], forced=(7, 8)) == 2
    assert bench.scheduler.running[0].ids[-3:] == [7, 8, 9]


def test_nothing_is_guessed_where_that_is_switched_off() -> None:
    bench = Bench(Speculation(speculate="off"))
    assert sum(bench.step(counting(5), forced=(1,)) for _ in range(40)) == 0


def test_a_drafter_that_is_asked_for_and_not_there_is_an_error() -> None:
    with pytest.raises(BadOption, match="no drafter was loaded"):
        Speculator(Speculation(speculate="drafter"), None)


def test_a_long_prompt_is_looked_through_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemcut.engine.drafting.LOOKED_THROUGH", 10)
    bench = Bench(Speculation())
    bench.step(counting(7))
    bench.scheduler.running[0].ids.extend([9] * 3 + [4, 5, 6, 7] * 10)
    found = []
    for _ in range(6):
        bench.speculator.propose(bench.scheduler.running, {})
        found.append(len(bench.speculator._follow(bench.scheduler.running[0]).lookup))
    assert found == [10, 20, 30, 40, 47, 47]
