"""transformers' `generate()` with a clock; the only module that imports transformers, to be compared with."""

import time
from typing import Any

import torch
import transformers
from torch import Tensor

from gemcut.errors import BenchFailed
from gemcut.speed.order import About, Order, Taken
from gemcut.speed.peak import peak_bytes


class Generate:
    """A model in transformers, with the attention that it takes by itself: torch's (SDPA) in the decoder."""

    def __init__(self, place: str, device: str, dtype: str, threads: int) -> None:
        torch.set_num_threads(threads)
        try:
            transformers.AutoConfig.from_pretrained(place)
        except ValueError as error:
            raise BenchFailed(
                f"transformers {transformers.__version__} does not know this model "
                f"({str(error).splitlines()[0]}); pip install -U transformers"
            ) from None
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            place, dtype=getattr(torch, dtype), ignore_mismatched_sizes=True
        )  # it knows one shape of ears only, which nano has not; they are not used here
        self._model = model.eval().to(device)
        self._model.generation_config.eos_token_id = None  # a random model would stop anywhere

    def about(self) -> About:
        """What it is."""
        return About(title=f"transformers {transformers.__version__}", peak_bytes=peak_bytes())

    def take(self, order: Order) -> Taken:
        """One call of generate(), greedy, with the prompts as its batch."""
        prompts = torch.tensor(order.prompts, device=self._model.device)
        clock = _Clock()
        begin = time.perf_counter()
        with torch.inference_mode():
            self._model.generate(
                prompts,
                attention_mask=torch.ones_like(prompts),
                max_new_tokens=1 + order.new_tokens,
                do_sample=False,
                top_k=None,
                top_p=None,
                temperature=None,
                stopping_criteria=transformers.StoppingCriteriaList([clock]),
            )
        first, last = clock.times[0], clock.times[order.new_tokens]
        return Taken(prefill_s=first - begin, step_s=(last - first) / order.new_tokens)


class _Clock:
    """A stopping criterion that stops nothing, and notes when each token was there."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, ids: Tensor, scores: Any, **_: Any) -> Tensor:
        int(ids[-1, -1])  # on a GPU, waits for it
        self.times.append(time.perf_counter())
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
