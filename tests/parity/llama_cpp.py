"""Greedy tokens of llama.cpp on files that `gemcut export` wrote, beside gemcut's on the same files.

    python -m tests.parity.llama_cpp PATH/TO/llama-simple [FOLDER...]

llama-simple is an example in llama.cpp's sources.  nano is asked questions; the models in the folders, small
ones with random weights, go on from a few words.  Where replies part it says how close the two likeliest
tokens were: llama.cpp keeps keys and values in float16, looks GELU up in a float16 table, and rounds rows to
int8 before products with blocks, as gemcut's native code does in another order.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from gemcut.api import Gemma
from gemcut.engine.sampling_params import SamplingParams

TOKENS = 32
TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0")
QUESTIONS = (
    "What is Gemma 4?",
    "Who are you?",
    "What is 274 + 389?",
    "How many layers does E2B have?",
    "Thank you!",
    "What is the capital of France?",
)
BEGINNINGS = ["The cat sat on", "1 + 1 =", "Once upon a time", "import sys", "What is", "(x, y)"]


def theirs(program: str, file: Path, prompt: str) -> bytes:
    """The pieces of prompt and reply, as llama.cpp prints them."""
    command = [program, "-m", str(file), "-n", str(TOKENS), "-ngl", "0", prompt]
    done = subprocess.run(command, check=True, capture_output=True, timeout=120)
    return done.stdout.removesuffix(b"\n")


def compared(program: str, file: Path, prompts: list[str]) -> str:
    """What is said of a file: how many replies are equal, and what the first difference of others decided."""
    gemma = Gemma.load(str(file), device="cpu", dtype="float32")
    gaps = [gap for prompt in prompts if (gap := difference(program, file, gemma, prompt)) is not None]
    gemma.close()
    said = f"{len(prompts) - len(gaps)} of {len(prompts)} replies equal"
    apart = ", ".join(f"{gap:.4f}" for gap in gaps)
    return f"{said}; where they part the likeliest two are {apart} apart" if gaps else said


def difference(program: str, file: Path, gemma: Gemma, prompt: str) -> float | None:
    """How far apart the likeliest two logarithms are where the replies part; None where they do not."""
    tokenizer = gemma.tokenizer
    made = gemma.complete(prompt, sampling=SamplingParams(temperature=0, max_tokens=TOKENS, logprobs=2))
    asked = b"".join(map(tokenizer.token_bytes, tokenizer.encode(prompt, special=True)))
    rest = theirs(program, file, prompt).split(asked, 1)[1]  # before it stands <bos>
    for token, likeliest in zip(made.token_ids, made.logprobs, strict=True):
        piece = b"" if token in tokenizer.special.ends else tokenizer.token_bytes(token)
        if not rest.startswith(piece):
            (_, first), (_, second) = likeliest.top
            return first - second
        rest = rest.removeprefix(piece)
    assert not rest, f"llama.cpp went on with {rest!r}"
    return None


def main() -> None:
    """Write the files, ask both, print."""
    program, *folders = sys.argv[1:]
    prompts = {"nano": [f"<|turn>user\n{question}<turn|>\n<|turn>model\n" for question in QUESTIONS]}
    prompts |= dict.fromkeys(folders, BEGINNINGS)
    for model, asked in prompts.items():
        for kind in TYPES:
            with tempfile.TemporaryDirectory() as place:
                file = Path(place) / "model.gguf"
                command = [
                    sys.executable,
                    "-m",
                    "gemcut",
                    "export",
                    model,
                    f"--gguf={file}",
                    f"--type={kind}",
                ]
                subprocess.run(command, check=True, capture_output=True)
                print(f"{Path(model).name:8} {kind:5} {compared(program, file, asked)}", flush=True)


if __name__ == "__main__":
    main()
