from pathlib import Path

import pytest

from gemcut.errors import BenchFailed
from gemcut.speed.llama_bench import LlamaBench
from gemcut.speed.order import Order, Shape
from tests.speed.fake import HELD_BYTES, calls, write_llama_bench


def order(prompt_tokens: int = 100, new_tokens: int = 8) -> Order:
    return Shape(prompt_tokens=prompt_tokens, batch=1, new_tokens=new_tokens).order(range(9), 0)


def side(program: Path, on_cpu: bool = True) -> LlamaBench:
    return LlamaBench(str(program), "x.gguf", 2, ["--repack", "0"], on_cpu)


def test_prompts_and_tokens_after_them_are_timed_apart(tmp_path: Path) -> None:
    taken = side(write_llama_bench(tmp_path)).take(order())
    assert (taken.prefill_s, taken.step_s) == (0.1, 0.01)
    usual = ["-m", "x.gguf", "-t", "2", "-r", "1", "-o", "json", "-ngl", "0", "--repack", "0"]
    assert calls(tmp_path) == [
        [*usual, "-p", "100", "-n", "0", "-d", "0"],
        [*usual, "-p", "0", "-n", "8", "-d", "100"],
    ]


def test_layers_go_to_a_gpu_where_ours_do(tmp_path: Path) -> None:
    side(write_llama_bench(tmp_path), on_cpu=False).take(order())
    assert not any("-ngl" in call for call in calls(tmp_path))


def test_its_memory_is_its_own_and_it_tells_its_build(tmp_path: Path) -> None:
    measured = side(write_llama_bench(tmp_path))
    measured.take(order())
    about = measured.about()
    assert about.title == "llama.cpp, build 9000 (abc1234), CPU"
    assert about.peak_bytes > HELD_BYTES


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ("sys.exit('error: failed to load model')", "ended with code 1: error: failed to load model"),
        ("print('| model | t/s |'); sys.exit()", r"in JSON but '\| model \| t/s \|'"),
        ("print('[]'); sys.exit()", "did not print one result"),
        ("before = 0", "was asked for .* and did something else"),
    ],
)
def test_what_it_does_otherwise_is_told(tmp_path: Path, instead: str, said: str) -> None:
    with pytest.raises(BenchFailed, match=said):
        side(write_llama_bench(tmp_path, instead)).take(order())
