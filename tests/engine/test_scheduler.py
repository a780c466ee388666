"""The scheduler over simulated memory: every step of every test is checked for what its rows read."""

import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gemcut.engine.pages import PageLayout
from gemcut.engine.progress import Progress
from gemcut.engine.request import MediaSpan, Request
from gemcut.engine.scheduler import Limits, Scheduler
from gemcut.errors import BadOption, RequestTooLarge
from tests.engine.simulated import VOCABULARY, Simulation, check_pages, continuation, naive_reply

ROOMY = PageLayout(page_tokens=4, window=8, full_pages=400, sliding_pages=200)
SMALL_STEPS = Limits(step_tokens=16, max_running=8)


def talk(length: int, seed: int) -> tuple[int, ...]:
    """Some text, another one for each seed; no token ends a reply."""
    return tuple(
        1 + (seed * 31 + place * place + place // 3 * seed) % (VOCABULARY - 1) for place in range(length)
    )


def asked(number: int, prompt: Sequence[int], max_tokens: int = 5, **more: object) -> Request:
    return Request(id=number, prompt_ids=tuple(prompt), max_tokens=max_tokens, **more)  # type: ignore[arg-type]


def talkative(number: int, length: int, max_tokens: int) -> Request:
    """A request with a prompt to which the model says as much as it may."""
    requests = (asked(number, talk(length, seed), max_tokens) for seed in range(50 * number, 9999))
    return next(request for request in requests if len(naive_reply(request)) == max_tokens)


def simulation(layout: PageLayout = ROOMY, limits: Limits = SMALL_STEPS) -> Simulation:
    return Simulation(layout, limits)


def image(start: int, length: int, content: bytes = b"cat") -> MediaSpan:
    return MediaSpan(start, start + length, content, whole=True)


def oracle(progress: Progress) -> list[int]:
    """Guesses that are all right."""
    return continuation(progress.ids, progress.request, 3)


def half_oracle(progress: Progress) -> list[int]:
    """Guesses of which the first is right."""
    first, *rest = oracle(progress)
    return [first, *((token + 1) % VOCABULARY for token in rest)]


# -- replies


def test_replies_are_those_of_each_prompt_alone() -> None:
    world = simulation()
    requests = [asked(number, talk(3 + 7 * number, number), 9) for number in range(6)]
    for request in requests:
        world.scheduler.add(request)
    world.run()
    assert world.replies == {(request.id, 0): naive_reply(request) for request in requests}


@pytest.mark.parametrize("drafter", [oracle, half_oracle])
def test_guesses_change_nothing_but_the_number_of_steps(drafter: object) -> None:
    request = talkative(0, 10, 60)
    plain, guessing = simulation(), simulation()
    for world in (plain, guessing):
        world.scheduler.add(request)
    plain.run()
    guessing.run(drafter)  # type: ignore[arg-type]
    assert guessing.replies == plain.replies == {(0, 0): naive_reply(request)}
    assert guessing.num_steps < plain.num_steps


def test_wrong_guesses_at_the_windows_edge_take_nothing_from_the_window() -> None:
    """A rotating cache cannot go back once it has turned: rejected rows had overwritten what is seen."""
    tight = PageLayout(page_tokens=1, window=4, full_pages=80, sliding_pages=9)
    for length in range(1, 12):
        world = simulation(tight)
        request = talkative(0, length, 20)
        world.scheduler.add(request)
        world.run(half_oracle)
        assert world.replies == {(0, 0): naive_reply(request)}


# -- the beginning of a prompt is computed once


def rows_of(world: Simulation, request: Request) -> int:
    """Rows that a request takes until it ends."""
    before = world.rows_run[request.id]
    world.scheduler.add(request)
    world.run()
    return world.rows_run[request.id] - before


def test_a_beginning_is_found_after_another_request_went_on_far_past_it() -> None:
    """Others keep only the last window of sliding layers, so A's 3,000 tokens made B read it all again."""
    layout = PageLayout(page_tokens=16, window=512, full_pages=600, sliding_pages=120)
    world = simulation(layout, Limits(step_tokens=256, max_running=4))
    beginning = talk(1000, 1)
    a = asked(0, beginning + talk(3000, 2), 2, boundaries=(1000,))
    b = asked(1, beginning + talk(20, 3), 1)
    assert rows_of(world, a) >= 4000
    assert rows_of(world, b) == 1020 - 992  # 992: the last page's edge of the beginning


def test_a_prompts_end_needs_no_name_to_be_found_after_a_long_reply() -> None:
    world = simulation()
    first = talkative(0, 41, 60)
    rows_of(world, first)
    assert rows_of(world, asked(1, first.prompt_ids + talk(3, 2), 1)) == 44 - 40


def test_the_next_turn_goes_on_where_the_reply_ended() -> None:
    world = simulation()
    first = talkative(0, 41, 50)
    rows_of(world, first)
    turn = (*first.prompt_ids, *naive_reply(first), *talk(6, 2))
    computed = (len(turn) - 6 - 1) // 4 * 4  # the reply's last token was never read
    assert rows_of(world, asked(1, turn, 1)) == len(turn) - computed


def test_the_same_prompt_again_computes_its_last_token() -> None:
    for length in (40, 41):
        world = simulation()
        rows_of(world, asked(0, talk(length, 1), 1))
        assert rows_of(world, asked(1, talk(length, 1), 1)) == length - (length - 1) // 4 * 4


def test_where_two_prompts_part_without_a_name_the_third_goes_on() -> None:
    world = simulation()
    beginning = talk(40, 1)
    rows_of(world, asked(0, beginning + talk(30, 2), 1))
    assert rows_of(world, asked(1, beginning + talk(30, 3), 1)) == 70
    assert rows_of(world, asked(2, beginning + talk(30, 4), 1)) == 30


def test_prompts_that_arrive_together_read_their_common_beginning_once() -> None:
    world = simulation()
    requests = [asked(number, talk(80, 0) + talk(4, 1 + number), 2) for number in range(5)]
    for request in requests:
        world.scheduler.add(request)
    world.run()
    replies = {(request.id, 0): naive_reply(request) for request in requests}
    assert world.replies == replies
    first, *others = [world.rows_run[request.id] for request in requests]
    assert first == 84 + len(replies[0, 0]) - 1
    assert max(others) <= 4 + 1


def test_samples_of_a_prompt_share_its_pages() -> None:
    world = simulation()
    world.scheduler.add(dataclasses.replace(talkative(0, 81, 40), num_samples=4))
    while len(world.scheduler.running) < 4:
        world.step()
    tables = [progress.table.full[:20] for progress in world.scheduler.running]
    assert tables == tables[:1] * 4
    world.run()
    assert len(world.replies) == 4
    assert world.rows_run[0] < 81 + 4 * (1 + 40)


def test_a_beginning_with_other_media_or_another_adapter_is_another_beginning() -> None:
    world = simulation()
    prompt = talk(60, 1)
    first = asked(0, prompt, 1, media=(image(10, 12),), boundaries=(10,))
    rows_of(world, first)
    assert rows_of(world, dataclasses.replace(first, id=1)) == 4
    assert rows_of(world, dataclasses.replace(first, id=2, media=(image(10, 12, b"dog"),))) == 60 - 8
    assert rows_of(world, dataclasses.replace(first, id=3, adapter=b"mine")) == 60


def test_a_prompt_to_be_scored_takes_no_row_from_the_cache() -> None:
    world = simulation()
    rows_of(world, asked(0, talk(60, 1), 1))
    world.scheduler.add(asked(1, talk(60, 1), 1, score_prompt=True))
    outputs = 0
    while world.scheduler.running or world.scheduler.waiting:
        outputs += sum(rows.num_outputs for rows in world.step())
    assert outputs == 60


# -- images


def test_an_image_runs_in_one_step_even_where_it_is_larger_than_the_steps() -> None:
    world = simulation()
    media = (image(5, 40), image(50, 3), image(60, 7))
    request = asked(0, talk(90, 1), 3, media=media)
    world.scheduler.add(request)
    while world.scheduler.running or world.scheduler.waiting:
        for rows in world.step():
            end = rows.start + len(rows.ids)
            assert not [span for span in media if span.start < rows.start < span.end]
            assert not [span for span in media if span.start < end < span.end]
    assert world.replies == {(0, 0): naive_reply(request)}


def test_a_hit_is_cut_back_to_the_images_beginning() -> None:
    world = simulation()
    media = (image(30, 20),)
    rows_of(world, asked(0, talk(50, 1), 1, media=media))
    assert rows_of(world, asked(1, talk(50, 1) + talk(9, 2), 1, media=media)) == 59 - 28


def test_an_image_that_sees_only_backwards_may_be_cut_anywhere() -> None:
    world = simulation()
    media = (MediaSpan(5, 45, b"cat", whole=False),)
    world.scheduler.add(asked(0, talk(90, 1), 3, media=media))
    assert len(world.step()[0].ids) == SMALL_STEPS.step_tokens


# -- fairness


def test_a_long_prompt_holds_up_nobody() -> None:
    """Replies get a row in every step, and a short prompt that comes later is read beside the long one."""
    world = simulation()
    world.scheduler.add(talkative(0, 5, 100))
    world.step()
    world.scheduler.add(asked(1, talk(700, 2), 1))
    world.step()
    world.scheduler.add(asked(2, talk(12, 3), 4))
    for _ in range(3):
        step = world.step()
        assert all(len(rows.ids) <= 16 for rows in step)
        assert step[0].progress.request.id == 0 or (0, 0) in world.replies
    assert world.replies[2, 0]
    assert (1, 0) not in world.replies or not world.replies[1, 0]


def test_short_prompts_without_end_do_not_starve_a_long_one() -> None:
    world = simulation()
    world.scheduler.add(asked(0, talk(300, 1), 1))
    for number in range(1, 200):
        world.scheduler.add(asked(number, talk(15, number), 1))
        world.step()
        if world.replies.get((0, 0)):
            break
    assert world.num_steps <= 2 * 300 // 16 + 4


def test_no_request_waits_longer_than_those_before_it_need() -> None:
    """Under pressure from ever younger requests each one ends, the older ones never after many younger."""
    tight = PageLayout(page_tokens=4, window=8, full_pages=20, sliding_pages=14)
    world = simulation(tight, Limits(step_tokens=12, max_running=4))
    order: list[int] = []
    for number in range(40):
        world.scheduler.add(asked(number, talk(10 + number % 23, number), 20))
    while world.scheduler.running or world.scheduler.waiting:
        world.step()
        left = {progress.request.id for progress in world.scheduler.running + world.scheduler.waiting}
        order += [number for number in range(40) if number not in left and number not in order]
    assert all(abs(place - number) <= 6 for place, number in enumerate(order))


# -- memory


def test_the_youngest_gives_way_and_loses_nothing() -> None:
    tight = PageLayout(page_tokens=4, window=8, full_pages=18, sliding_pages=20)
    world = simulation(tight)
    requests = [talkative(number, 6, 40) for number in range(3)]
    for request in requests:
        world.scheduler.add(request)
    gave_way: list[Progress] = []
    while world.scheduler.running or world.scheduler.waiting:
        world.step()
        gave_way += [progress for progress in world.scheduler.waiting if progress.num_made]
    assert gave_way
    assert all(progress.request.id > 0 for progress in gave_way)
    assert world.replies == {(request.id, 0): naive_reply(request) for request in requests}


def test_a_cancelled_request_leaves_its_pages_at_once() -> None:
    world = simulation()
    world.scheduler.add(dataclasses.replace(talkative(0, 60, 50), num_samples=3))
    for _ in range(6):
        world.step()
    assert world.scheduler.pages.full.available < ROOMY.full_pages - 1
    world.scheduler.cancel(0)
    assert world.scheduler.pages.full.available == ROOMY.full_pages - 1
    assert world.scheduler.pages.sliding.available == ROOMY.sliding_pages - 1
    assert world.scheduler.next_step({}) == ()


def test_a_request_may_be_cancelled_while_its_step_runs() -> None:
    world = simulation()
    requests = [talkative(number, 9, 8) for number in range(2)]
    for request in requests:
        world.scheduler.add(request)
    world.step(between=lambda: world.scheduler.cancel(0))
    world.run()
    assert world.replies[1, 0] == naive_reply(requests[1])


def test_a_sequence_whose_guesses_could_not_be_checked_ends_without_a_trace() -> None:
    """What chooses its tokens had failed, so not even one came of three guesses: that failed the engine."""
    world = simulation()
    world.scheduler.add(talkative(0, 6, 9))
    world.step()
    (rows,) = world.scheduler.next_step({(0, 0): [1, 2, 3]})
    assert rows.num_drafts == 3
    world.scheduler.commit({(0, 0): ()}, ())
    world.scheduler.end((0, 0))
    check_pages(world.scheduler)
    assert world.scheduler.pages.full.available == ROOMY.full_pages - 1


def test_to_cancel_what_has_ended_is_no_error() -> None:
    world = simulation()
    world.scheduler.cancel(7)
    rows_of(world, asked(0, talk(4, 1), 1))
    world.scheduler.cancel(0)


def test_a_request_that_could_never_run_is_refused_with_what_fits() -> None:
    scheduler = Scheduler(PageLayout(page_tokens=4, window=8, full_pages=11, sliding_pages=6), SMALL_STEPS)
    with pytest.raises(RequestTooLarge, match="has 30 tokens, up to 11 may follow.*holds 40;.*cache_bytes"):
        scheduler.add(asked(0, talk(30, 1), 11))
    with pytest.raises(RequestTooLarge, match="has 25 soft tokens.*take 9 pages.*there are 5;.*cache_bytes"):
        scheduler.add(asked(0, talk(35, 1), 1, media=(image(9, 25),)))
    scheduler.add(asked(0, talk(30, 1), 10))


def test_limits_leave_every_running_request_a_row() -> None:
    with pytest.raises(BadOption, match="max_running is 9 and step_tokens 8"):
        Limits(step_tokens=8, max_running=9)


# -- anything at all

PIECES = st.sampled_from(
    [(talk(length, seed), None) for length, seed in ((1, 3), (4, 1), (5, 2), (9, 4), (13, 5))]
    + [
        ((1,) * length, (content, whole))
        for length, content, whole in ((3, b"a", True), (6, b"b", True), (7, b"c", False))
    ]
)


def put_together(pieces: Sequence[tuple[tuple[int, ...], tuple[bytes, bool] | None]]) -> dict[str, object]:
    """A prompt of pieces, each with its medium; every piece's end is a boundary of some of the prompts."""
    ids: tuple[int, ...] = ()
    media: list[MediaSpan] = []
    ends = []
    for text, medium in pieces:
        if medium is not None:
            ids += (2,)  # begins an image, so that no two touch
            media.append(MediaSpan(len(ids), len(ids) + len(text), *medium))
        ids += text
        ends.append(len(ids))
    return {"prompt_ids": ids, "media": tuple(media), "boundaries": tuple(ends[::2])}


class Anything(RuleBasedStateMachine):
    """Random arrivals, lengths, cancels, beginnings in common, images and guesses, in a few pages."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: dict[int, Request] = {}
        self.cancelled: set[int] = set()  # and those that were refused
        self.world = simulation()

    @initialize(
        page_tokens=st.sampled_from([1, 2, 4]),
        window=st.integers(1, 9),
        pages=st.tuples(st.integers(2, 30), st.integers(0, 20)),
        step_tokens=st.integers(1, 20),
        running=st.integers(1, 5),
    )
    def begin(
        self, page_tokens: int, window: int, pages: tuple[int, int], step_tokens: int, running: int
    ) -> None:
        least = -(-(window - 1) // page_tokens) + 2
        layout = PageLayout(
            page_tokens=page_tokens, window=window, full_pages=pages[0], sliding_pages=least + pages[1]
        )
        self.world = Simulation(
            layout, Limits(step_tokens=step_tokens, max_running=min(running, step_tokens))
        )

    @rule(
        pieces=st.lists(PIECES, min_size=1, max_size=4),
        max_tokens=st.integers(1, 12),
        samples=st.integers(1, 3),
        adapter=st.sampled_from([b"", b"", b"mine"]),
    )
    def arrive(self, pieces: list, max_tokens: int, samples: int, adapter: bytes) -> None:  # type: ignore[type-arg]
        parts = put_together(pieces)
        request = asked(len(self.requests), (), max_tokens, num_samples=samples, adapter=adapter)
        request = dataclasses.replace(request, **parts)  # type: ignore[arg-type]
        self.requests[request.id] = request
        try:
            self.world.scheduler.add(request)
        except RequestTooLarge:
            self.cancelled.add(request.id)

    @rule(guesses=st.lists(st.integers(0, 3), max_size=4), times=st.integers(1, 6))
    def step(self, guesses: list[int], times: int) -> None:
        for _ in range(times):
            self.world.step(lambda progress: self.guess(progress, guesses))

    @precondition(lambda self: self.requests)
    @rule(place=st.integers(0, 20), during=st.booleans())
    def cancel(self, place: int, during: bool) -> None:
        number = place % len(self.requests)
        self.cancelled.add(number)
        if during:
            self.world.step(between=lambda: self.world.scheduler.cancel(number))
        else:
            self.world.scheduler.cancel(number)

    def teardown(self) -> None:
        self.world.run(most_steps=3000)
        for number, request in self.requests.items():
            if number not in self.cancelled:
                for sample in range(request.num_samples):
                    assert self.world.replies[number, sample] == naive_reply(request)
        pages = self.world.scheduler.pages
        assert pages.full.available == pages.full.num_pages - 1
        assert pages.sliding.available == pages.sliding.num_pages - 1

    @staticmethod
    def guess(progress: Progress, guesses: Sequence[int]) -> list[int]:
        """The right tokens, those at 0 of `guesses` wrong."""
        right = continuation(progress.ids, progress.request, len(guesses))
        return [(token + (guess == 0)) % VOCABULARY for token, guess in zip(right, guesses, strict=True)]


TestAnything = Anything.TestCase
TestAnything.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
