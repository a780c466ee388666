from dataclasses import replace
from pathlib import Path

import pytest

from gemcut.errors import BadOption, GemcutError
from gemcut.opened import Opened, open_checkpoint
from gemcut.speed.order import Shape
from gemcut.speed.rivals import LlamaCpp, Running, Transformers
from gemcut.speed.variants import Variant, stored_name, variants
from tests.quant.models import BIG, EDGE, write_model
from tests.speed.fake import write_llama_bench
from tests.speed.models import write_bf16

SHAPES = (Shape(prompt_tokens=8, batch=1, new_tokens=2),)
HOW = Running(threads=2, device="cpu")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return write_bf16(tmp_path_factory.mktemp("models") / "plain")


def llama(folder: Path, gguf: Path | None = None, *flags: str) -> LlamaCpp:
    return LlamaCpp(program=write_llama_bench(folder), gguf=gguf, flags=flags)


def variant(source: Opened, choice: str = "stored") -> Variant:
    (found,) = variants(source, [choice])
    return found


@pytest.mark.parametrize("choice", ["stored", "int8", "int4"])
def test_llama_cpp_runs_a_file_of_the_same_weights(plain: Opened, choice: str, tmp_path: Path) -> None:
    rival, wanted = llama(tmp_path, None, "--repack", "0"), variant(plain, choice)
    rival.check([wanted], SHAPES)
    placed = wanted.placed(tmp_path)
    given = rival.given(wanted, placed, tmp_path, HOW)
    file = open_checkpoint(Path(given["file"]))
    assert stored_name(file) == rival.precision(wanted) == wanted.name
    assert rival.num_bytes(wanted) <= Path(given["file"]).stat().st_size
    for name, form in placed.blocks.items():
        theirs = dict(file.weights.stream([name]))[name]
        assert form == file.blocks[name]
        assert theirs.equal(dict(placed.weights.stream([name]))[name])
    assert (given["threads"], given["flags"], given["on_cpu"]) == (2, ["--repack", "0"], True)
    assert given["program"] == str(tmp_path / "llama-bench")


def test_a_gguf_file_is_run_by_both(plain: Opened, tmp_path: Path) -> None:
    given = llama(tmp_path).given(variant(plain, "stored"), plain, tmp_path, HOW)
    file = open_checkpoint(Path(given["file"]))
    rival, wanted = llama(tmp_path), variant(file)
    rival.check([wanted], SHAPES)
    assert rival.given(wanted, file, tmp_path, HOW)["file"] == given["file"]
    assert rival.num_bytes(wanted) == 0


def test_a_file_that_is_given_must_be_of_the_model(plain: Opened, tmp_path: Path) -> None:
    made = llama(tmp_path).given(variant(plain), plain, tmp_path, HOW)
    rival = llama(tmp_path, Path(made["file"]))
    rival.check([variant(plain, "int4")], SHAPES)
    assert rival.precision(variant(plain, "int4")) == "bf16"
    assert rival.given(variant(plain, "int4"), plain, tmp_path, HOW)["file"] == made["file"]
    other = open_checkpoint(write_model(tmp_path / "other", BIG))
    with pytest.raises(BadOption, match=r"bf16\.gguf is another model than .*other"):
        rival.check([variant(other)], SHAPES)
    with pytest.raises(BadOption, match=r"several precisions \(bf16, int4\)"):
        rival.check(variants(plain, ["stored", "int4"]), SHAPES)


def test_llama_bench_reads_one_prompt_at_a_time(plain: Opened, tmp_path: Path) -> None:
    shapes = [*SHAPES, Shape(prompt_tokens=8, batch=4, new_tokens=2)]
    with pytest.raises(BadOption, match="one prompt at a time, and --batch is 4; leave it out"):
        llama(tmp_path).check([variant(plain)], shapes)


@pytest.mark.parametrize("flag", ["-t", "--threads", "-p", "-r"])
def test_flags_that_are_set_here_are_refused(plain: Opened, tmp_path: Path, flag: str) -> None:
    with pytest.raises(BadOption, match=f"{flag} of llama-bench is set here"):
        llama(tmp_path, None, flag, "1").check([variant(plain)], SHAPES)


def test_a_program_that_is_none_is_refused(plain: Opened, tmp_path: Path) -> None:
    rival = llama(tmp_path)
    (tmp_path / "text").write_text("llama-bench --n-depth")
    (tmp_path / "broken").write_text("no program")
    (tmp_path / "broken").chmod(0o755)
    (tmp_path / "old").write_text("#!/bin/sh\necho usage: llama-bench -p -n\n")
    (tmp_path / "old").chmod(0o755)
    for name, said in {
        "nowhere": "there is no program .*/nowhere; build llama.cpp",
        "text": "there is no program .*/text; build llama.cpp",
        "broken": "broken cannot be started",
        "old": "old is no llama-bench, or an old one: its --help does not tell of --n-depth",
    }.items():
        with pytest.raises(BadOption, match=said):
            replace(rival, program=tmp_path / name).check([variant(plain)], SHAPES)


def test_what_llama_cpp_cannot_compute_is_found_before_any_work(plain: Opened, tmp_path: Path) -> None:
    odd = replace(plain.config.text, rms_norm_eps=1e-6, final_logit_softcapping=30.0, vocab_size=99)
    source = replace(plain, config=replace(plain.config, text=odd))
    with pytest.raises(GemcutError):  # fewer rows than the tokenizer has tokens
        llama(tmp_path).check([variant(source)], SHAPES)


def test_transformers_runs_the_original(plain: Opened, tmp_path: Path) -> None:
    rival = Transformers()
    for choice, precision in {"stored": "bf16", "int4": "bf16"}.items():
        wanted = variant(plain, choice)
        rival.check([wanted], SHAPES)
        assert rival.precision(wanted) == precision
        assert rival.num_bytes(wanted) == 0
        given = rival.given(wanted, plain, tmp_path, HOW)
        assert given == {"place": str(plain.place), "device": "cpu", "dtype": "bfloat16", "threads": 2}


def test_transformers_is_rounded_as_we_are(tmp_path: Path) -> None:
    wide = open_checkpoint(write_model(tmp_path / "wide", EDGE))
    rival = Transformers()
    for choice, dtype in {"stored": "float32", "bf16": "bfloat16", "int8": "float32"}.items():
        wanted = variant(wide, choice)
        assert rival.given(wanted, wide, tmp_path, HOW)["dtype"] == dtype
    assert rival.precision(variant(wide, "int8")) == "float32"


def test_transformers_does_not_run_blocks(plain: Opened, tmp_path: Path) -> None:
    small = variant(plain, "int8").placed(tmp_path)
    with pytest.raises(
        BadOption, match=r"transformers does not run .*int8 \(int8\); name the original model"
    ):
        Transformers().check([variant(small)], SHAPES)


def test_without_transformers_it_says_how_to_install_it(
    plain: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemcut.speed.rivals.find_spec", lambda name: None)
    with pytest.raises(BadOption, match=r"is not installed; pip install 'transformers>=5\.23'"):
        Transformers().check([variant(plain)], SHAPES)
