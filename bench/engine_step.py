"""The engine's own work a step: all that is neither the model nor the sampler.

    python -m bench.engine_step [--requests 64] [--prompt 500] [--tokens 400] [--speculate off]

A model that does nothing stands for the real one, with the shapes of E2B.  What is left is planning, the
step's tensors, and handing tokens over.  Times are those that the engine's thread is at work.
"""

import argparse
import statistics
import time
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from gemcut.engine.drafting import Speculator
from gemcut.engine.engine import _Loop
from gemcut.engine.job import Choice, Job
from gemcut.engine.memory import plan_memory
from gemcut.engine.request import Request
from gemcut.engine.runner import Runner
from gemcut.engine.sampling import BatchSampler
from gemcut.engine.sampling_params import Sampling
from gemcut.engine.scheduler import Limits, Scheduler
from gemcut.engine.speculative import Speculation
from gemcut.engine.stop_conditions import StopConditions
from gemcut.family import family

VOCABULARY = 2048
CACHE_BYTES = 4 * 10**9  # as planned; nothing is kept


class Nothing:
    """Takes what a model takes, and gives next to nothing."""

    def __init__(self) -> None:
        config = family("e2b").size
        text = SimpleNamespace(norm=SimpleNamespace(weight=torch.zeros(1)), kv_owners=dict)
        self.model = SimpleNamespace(language_model=text)
        self.config = config
        self.calls = 0
        self.seconds = 0.0

    def embed(self, ids: Tensor) -> Tensor:
        """(N,) -> (N, 1)."""
        return torch.zeros(len(ids), 1)

    def __call__(self, embedded: Tensor, step: Any) -> Tensor:
        """(N, 1) -> (M, 1)."""
        return embedded if step.outputs is None else embedded[step.outputs]

    def logits(self, hidden: Tensor) -> Tensor:
        """(M, 1) -> (M, V): another token each time, so that nothing repeats."""
        start = time.thread_time()
        self.calls += 1
        logits = torch.zeros(len(hidden), VOCABULARY)
        logits[:, self.calls % VOCABULARY] = 1
        self.seconds += time.thread_time() - start
        return logits


class TimedSampler(BatchSampler):
    """Adds up its own time, which is not the engine's."""

    seconds = 0.0


def timed(name: str) -> Any:
    """A method of the sampler that is timed."""
    plain = getattr(BatchSampler, name)

    def method(self: TimedSampler, *args: Any) -> Any:
        start = time.thread_time()
        try:
            return plain(self, *args)
        finally:
            self.seconds += time.thread_time() - start

    return method


for name in ("choose", "observe", "logprobs", "put"):
    setattr(TimedSampler, name, timed(name))


def jobs(args: argparse.Namespace) -> list[Job]:
    """Requests with prompts of their own."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for number in range(args.requests):
        ids = torch.randint(100, 200_000, (args.prompt,), generator=generator).tolist()
        request = Request(id=number, prompt_ids=tuple(ids), max_tokens=args.tokens)
        choice = Choice(Sampling(temperature=0), StopConditions(max_tokens=args.tokens))
        found.append(Job(request, (choice,), torch.empty(0, 1)))
    return found


def main() -> None:
    """Run all requests to their end and print what steps took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--speculate", choices=("auto", "off"), default="off")
    args = parser.parse_args()
    limits = Limits(step_tokens=512, max_running=args.requests)
    memory = plan_memory(family("e2b").size.text, CACHE_BYTES, 2, 16, limits)
    sampler = TimedSampler(args.requests, VOCABULARY, torch.device("cpu"))
    model: Any = Nothing()
    speculator = Speculator(Speculation(speculate=args.speculate), None)
    runner = Runner(model, memory.layout, int8=False)
    loop = _Loop(Scheduler(memory.layout, limits), runner, sampler, speculator)
    streams = [stream for job in jobs(args) for stream in loop.submit(job, None)]
    decodes, prefills = [], []
    with torch.inference_mode():
        while True:
            start, before = time.thread_time(), sampler.seconds + model.seconds
            if not loop._samples and not loop._inbox:
                break
            loop._read_inbox()
            loop._step()
            took = time.thread_time() - start - (sampler.seconds + model.seconds - before)
            running = loop._scheduler.running
            group = decodes if all(progress.pending == 1 for progress in running) else prefills
            group.append(1000 * took)
    assert all(sum(1 for _ in stream) == args.tokens for stream in streams)
    groups = {f"{args.requests} replies": decodes, "with prompts": prefills}
    for name, times in ((name, times) for name, times in groups.items() if times):
        most = sorted(times)[int(0.99 * len(times))]
        middle = statistics.median(times)
        print(f"{name:12} {len(times)} steps: {middle:.2f} ms a step (median), {most:.2f} ms (99 %)")


if __name__ == "__main__":
    main()
