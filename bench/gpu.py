"""Prefill and decode of every size on a CUDA GPU, against the memory's floor and the installed transformers.

    python -m bench.gpu [SIZE ...] [--contexts 128 32768] [--tokens 64] [--batches 1 16 64 256] [--paged 1024]

Weights are random, in bfloat16, made on the device from the configs in the package, so nothing is downloaded.
First the naive loop, batch 1, beside transformers where that is installed; what it cannot do (memory, another
version's ways) is said and left out.  Then steps over pages (bench/paged.py) of the batches that fit, each
sequence with so many tokens of context, launched one kernel at a time and recorded, and attention alone
beside its plain form.  The floor is the time to read every weight that a step needs, and the keys and values
of its contexts, at the bandwidth of a copy, measured in the same run.  Needs torch, triton, safetensors and
tokenizers.  Without a GPU it says so and does nothing.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench import paged
from gemcut.config import MediaTokens, ModelConfig, TextConfig
from gemcut.engine.graphs import cuda_recorder, recorder_for
from gemcut.engine.memory import sequence_bytes
from gemcut.family import BYTES_OF_BFLOAT16, family
from gemcut.model.gemma4 import Gemma4
from gemcut.model.step import PlainCache, next_step

SIZES = ("e2b", "e4b", "12b", "26b", "31b")
PREFILL = 2048
CHUNK = 2048  # rows of a long context at a time


@dataclass(frozen=True)
class Result:
    """Seconds of one side for one size: for the prompt, and for a token at each context that fitted."""

    prefill_s: float
    decode_s: dict[int, float]


def model_config(text: TextConfig) -> ModelConfig:
    """A text-only model."""
    tokens = MediaTokens(
        image=10, begin_image=11, end_image=12, audio=13, begin_audio=14, end_audio=15, video=16
    )
    return ModelConfig(
        text=text, vision=None, audio=None, media_tokens=tokens, soft_tokens_per_image=280, dtype="bfloat16"
    )


def fill(model: torch.nn.Module) -> None:
    """Random weights that keep activations finite: norms 1, the rest with the spread of its inputs."""
    for name, tensor in model.state_dict().items():
        if name.endswith("q_norm.weight"):
            tensor.fill_(tensor.shape[0] ** -0.5)
        elif "norm" in name or "scal" in name:
            tensor.fill_(1.0)
        else:
            tensor.normal_(std=tensor.shape[-1] ** -0.5)


def build_ours(text: TextConfig, device: torch.device) -> Gemma4:
    """Our model with random weights on the device."""
    with torch.device("meta"):
        model = Gemma4(model_config(text)).bfloat16()
    model = model.to_empty(device=device).eval().requires_grad_(False)
    fill(model)
    return model


def read_bytes(model: Gemma4, context: int) -> int:
    """What a token must read: the weights it touches, and the keys and values of its context."""
    return weight_bytes(model, 1) + sum(sequence_bytes(model.config.text, context, BYTES_OF_BFLOAT16))


def weight_bytes(model: Gemma4, rows: int) -> int:
    """The weights that a step of so many rows touches; each row picks its experts for itself."""
    text = model.config.text
    total = 0
    for name, parameter in model.named_parameters():
        share = 1.0
        if "embed_tokens_per_layer" in name:
            share = 0.0
        elif ".experts." in name and text.experts is not None:
            share = 1 - (1 - text.experts.top_k_experts / text.experts.num_experts) ** rows
        total += int(share * parameter.numel() * parameter.element_size())
    return total


def seconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median time of a run, the device's work included."""
    times = []
    for _ in range(repeats):
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_ours(model: Gemma4, contexts: list[int], tokens: int, device: torch.device) -> Result:
    """Our naive loop, greedy, without the sampler's other work."""
    text = model.config.text
    prompt = torch.randint(5, text.vocab_size, (max(PREFILL, *contexts),), device=device)

    def read(ids: Tensor) -> PlainCache:
        cache = PlainCache(text, len(ids) + 4 * tokens, device)
        for part in torch.split(ids, CHUNK):
            wanted = torch.tensor([len(part) - 1], device=device)
            model.logits(model(model.embed(part), next_step(cache, len(part), wanted)))
        return cache

    def decode(cache: PlainCache) -> None:
        last = prompt[:1]
        for _ in range(tokens):
            hidden = model(model.embed(last), next_step(cache, 1, None))
            last = model.logits(hidden).argmax(-1)

    with torch.inference_mode():
        read(prompt[:PREFILL])  # warm
        prefill_s = seconds(lambda: read(prompt[:PREFILL]), device, 3)
        decode_s = {}
        for context in contexts:
            cache = read(prompt[:context])
            decode_s[context] = seconds(lambda cache=cache: decode(cache), device, 3) / tokens
    return Result(prefill_s, decode_s)


def measure_theirs(text: TextConfig, contexts: list[int], tokens: int, device: torch.device) -> Result | None:
    """The generate() of transformers; None where it is not installed or does not know Gemma 4."""
    try:
        from transformers import Gemma4Config, Gemma4ForConditionalGeneration
    except ImportError:
        return None
    from gemcut.checkpoint.config_file import config_json

    with torch.device("meta"):
        model = Gemma4ForConditionalGeneration(Gemma4Config.from_dict(config_json(model_config(text))))
    model = model.bfloat16().to_empty(device=device).eval()
    model.tie_weights()  # moved one by one from the meta device, head and embedding are two
    model.generation_config.eos_token_id = None  # go on to the end
    fill(model)
    _restore_buffers(model, device)
    prompt = torch.randint(5, text.vocab_size, (1, max(PREFILL, *contexts)), device=device)

    def generate(length: int, count: int) -> None:
        ids = prompt[:, :length]
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False)

    with torch.inference_mode():
        generate(PREFILL, 2)  # warm
        prefill_s = seconds(lambda: generate(PREFILL, 1), device, 3)
        decode_s = {}
        for context in contexts:
            try:
                one = seconds(lambda context=context: generate(context, 1), device, 2)
                more = seconds(lambda context=context: generate(context, 1 + tokens), device, 2)
            except torch.OutOfMemoryError:
                print(f"transformers ran out of memory at a context of {context}")
                continue
            decode_s[context] = (more - one) / tokens
    return Result(prefill_s, decode_s)


def _restore_buffers(model: torch.nn.Module, device: torch.device) -> None:
    """Buffers that are computed at construction (rotary frequencies, scales) got lost on the meta device."""
    for module in model.modules():
        if "RotaryEmbedding" in type(module).__name__:
            fresh = type(module)(module.config)
            for name, buffer in fresh.named_buffers():
                setattr(module, name, buffer.to(device))
        if hasattr(module, "scalar_embed_scale"):
            module.embed_scale = torch.tensor(module.scalar_embed_scale, device=device)


def measure_paged(
    model: Gemma4, batches: list[int], context: int, rate: float, device: torch.device
) -> Iterator[tuple[paged.Decode, list[paged.Attended]]]:
    """Steps over pages and attention alone, for each batch up to the first that does not fit into memory."""
    for batch in batches:
        try:
            bench = paged.Bench(model, batch, context)
            record = recorder_for(model, bench.cache)
            num_bytes = weight_bytes(model, batch) + batch * paged.step_bytes(model.config.text, context)

            def time_of(run: Callable[[], object]) -> float:
                return seconds(run, device, 5)

            decode = bench.measure(record, time_of, num_bytes / rate)
            if record is None and device.type == "cuda":
                record = cuda_recorder()  # attention can be recorded where the whole step cannot
            yield decode, bench.attention(record or (lambda run: run), time_of)
        except torch.OutOfMemoryError:
            print(f"a batch of {batch} with {context} tokens each does not fit")
            return
        finally:
            bench = record = None
            free_memory()


def free_memory() -> None:
    """Gives back what nothing refers to any more."""
    gc.collect()
    torch.cuda.empty_cache()


def bandwidth(device: torch.device, num_bytes: int = 2**32) -> float:
    """Bytes a second that a copy on the device reads and writes."""
    source = torch.empty(num_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * num_bytes / seconds(lambda: target.copy_(source), device, 5)


def lines(
    size: str, model_bytes: dict[int, int], ours: Result, theirs: Result | None, rate: float
) -> list[str]:
    """The result of one size."""

    def against(a: float, b: float | None) -> str:
        return "" if b is None else f"  ({b / a:.2f}x transformers)"

    prefill = against(ours.prefill_s, None if theirs is None else theirs.prefill_s)
    out = [f"{size:4} prefill {PREFILL:6}: {PREFILL / ours.prefill_s:9.0f} tok/s{prefill}"]
    for context, taken in ours.decode_s.items():
        floor = model_bytes[context] / rate
        ratio = against(taken, None if theirs is None else theirs.decode_s.get(context))
        share = f"{100 * floor / taken:.0f} % of the floor's {1 / floor:.0f}"
        out.append(f"{size:4} decode at {context:5}: {1 / taken:9.1f} tok/s, {share}{ratio}")
    return out


def main() -> None:
    """Parse, measure each size, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sizes", nargs="*", metavar="SIZE", help=f"of {', '.join(SIZES)}; all without one")
    parser.add_argument("--contexts", type=int, nargs="+", default=[128, 32768])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--paged", type=int, default=1024, metavar="TOKENS", help="of each in a batch")
    args = parser.parse_args()
    sizes = [family(name) for name in args.sizes or SIZES]
    if not torch.cuda.is_available():
        print("no CUDA GPU here: nothing was measured")
        return
    device = torch.device("cuda")
    rate = bandwidth(device)
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, copy {rate / 1e12:.2f} TB/s", flush=True
    )
    for row in sizes:
        text = row.size.text
        model = build_ours(text, device)
        model_bytes = {context: read_bytes(model, context) for context in args.contexts}
        ours = measure_ours(model, args.contexts, args.tokens, device)
        free_memory()
        for decode, attended in measure_paged(model, args.batches, args.paged, rate, device):
            print(
                decode.line(row.name), *(each.line(row.name, rate) for each in attended), sep="\n", flush=True
            )
        del model
        free_memory()
        theirs = None
        try:
            theirs = measure_theirs(text, args.contexts, args.tokens, device)
        except Exception as problem:  # whatever its version: our own figures are still to be printed
            print(f"{row.name}: transformers was not measured: {type(problem).__name__}: {problem}")
        free_memory()
        print(*lines(row.name, model_bytes, ours, theirs, rate), sep="\n", flush=True)


if __name__ == "__main__":
    main()
