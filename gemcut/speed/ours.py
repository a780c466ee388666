"""gemcut's engine with a clock: each token of each request is timed as it is handed over."""

import time
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from queue import SimpleQueue

import torch

from gemcut.engine.generator import Choosing, Generator
from gemcut.engine.options import EngineOptions
from gemcut.engine.sampling_params import SamplingParams
from gemcut.engine.token_stream import TokenStream
from gemcut.errors import BenchFailed
from gemcut.load import Dtype, load
from gemcut.prompt.assemble import Prompt
from gemcut.speed.order import About, Order, Shape, Taken
from gemcut.speed.peak import peak_bytes

IDLE_S = 0.001  # between looks at whether the engine has ended a step that nobody waits for


class Ours:
    """A model in the engine.

    Nothing is guessed ahead, so each token costs a step.  most_running: requests that come at once.
    """

    def __init__(
        self, place: str, device: str | None, dtype: Dtype | None, threads: int, most_running: int
    ) -> None:
        torch.set_num_threads(threads)
        loaded = load(place, device=device, dtype=dtype, offline=True)
        options = EngineOptions(max_running=most_running, speculate="off")
        self._generator = Generator(loaded, options)

    def about(self) -> About:
        """What it is."""
        return About(title=f"gemcut {version('gemcut')}", peak_bytes=peak_bytes())

    def take(self, order: Order) -> Taken:
        """Asks for all of them at once.  Raises BenchFailed where they do not fit into memory together."""
        shape = order.shape
        choosing = self._choosing(shape)
        rung: SimpleQueue[tuple[int, float]] = SimpleQueue()
        begin = time.perf_counter()
        streams = [
            self._submit(prompt, choosing, rung, number) for number, prompt in enumerate(order.prompts)
        ]
        times: list[list[float]] = [[] for _ in streams]
        while not all(times):
            _hear(rung, streams, times)
        if self._generator.occupancy().running < shape.batch and shape.batch > 1:
            raise BenchFailed(
                f"{shape.batch} requests of {shape.prompt_tokens} tokens do not fit into memory together;"
                " close other programs, or lower --batch or --prompt"
            )
        latest = max(times, key=lambda of_one: of_one[0])  # from its first token on, all make tokens
        while len(latest) <= shape.new_tokens:
            _hear(rung, streams, times)
        self._end(streams)
        first = latest[0]
        return Taken(prefill_s=first - begin, step_s=(latest[shape.new_tokens] - first) / shape.new_tokens)

    def _choosing(self, shape: Shape) -> Choosing:
        """Greedily, without an end: a random model would stop anywhere."""
        most = shape.most_tokens(self._generator.limits.step_tokens) - shape.prompt_tokens
        choosing = self._generator.choosing(SamplingParams(temperature=0, max_tokens=most))
        return replace(choosing, sampling=replace(choosing.sampling, stop_ids=()))

    def _submit(
        self, prompt: list[int], choosing: Choosing, rung: SimpleQueue[tuple[int, float]], number: int
    ) -> TokenStream:
        start = self._generator.prepare(Prompt(tuple(prompt)), choosing, partial(_ring, rung, number))
        (stream,) = start()
        return stream

    def _end(self, streams: list[TokenStream]) -> None:
        """Ends what is under way, and waits for the engine's last step: who comes next has all cores."""
        for stream in streams:
            stream.close()
        while self._generator.occupancy().running:
            time.sleep(IDLE_S)


def _ring(rung: SimpleQueue[tuple[int, float]], number: int) -> None:
    """Called in the engine's thread as soon as request `number` has a token."""
    rung.put((number, time.perf_counter()))


def _hear(rung: SimpleQueue[tuple[int, float]], streams: list[TokenStream], times: list[list[float]]) -> None:
    """Waits for the next token.  Raises what made a request fail."""
    number, when = rung.get()
    streams[number].take()
    times[number].append(when)
