"""When the native kernels are asked, what they refuse and touch, and what they are on other CPUs."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gemcut.kernels import native as native_module
from gemcut.kernels.blocks import to_blocks
from gemcut.kernels.native import SIGNATURES, Native, native, native_for
from gemcut.kernels.norm import rms_norm
from gemcut.kernels.processors import AVX2, KINDS, CpuKind, cpu_flags, kinds_of, library_name

HERE = Path(__file__).parent
SOURCES = Path(native_module.__file__).parent
IMITATED_VNNI = ("-mavx2", "-mfma", "-mf16c", "-include", str(HERE / "dpbusd.h"))
on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86-64")


def zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.bfloat16)


def compiled(*arguments: str) -> str:
    """What the compiler prints, all on one thread; skips without a compiler."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    command = [compiler, "-std=c++17", "-Wno-psabi", "-fPIC", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_bfloat16_on_the_cpu_without_gradients_is_for_native_code(built: Native) -> None:
    row = zeros(1, 64)
    with torch.inference_mode():
        assert native_for(row, zeros(64)) is built
        for other in (row.float(), row.to("meta")):
            assert native_for(row, other) is None
            assert native_for(other, row) is None
    assert native_for(row) is None


@pytest.mark.usefixtures("built")
def test_a_compiled_function_does_without_native_code() -> None:
    """Its graph would break at every call that takes pointers."""
    x, weight = torch.randn(1, 64).bfloat16(), torch.randn(64).bfloat16()
    with torch.no_grad():
        whole = torch.compile(rms_norm, backend="eager", fullgraph=True)
        torch.testing.assert_close(whole(x, weight, 1e-6), rms_norm(x, weight, 1e-6), atol=0.02, rtol=0.01)


def test_weights_need_not_be_contiguous(built: Native) -> None:
    x, weight = torch.randn(1, 64).bfloat16(), torch.randn(128).bfloat16()[::2]
    assert torch.equal(
        built.norm(x, weight, 1e-6, None, None), built.norm(x, weight.clone(), 1e-6, None, None)
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda native: native.product(zeros(1, 63), zeros(8, 64)),
        lambda native: native.product(zeros(64), zeros(8, 64)),
        lambda native: native.product(zeros(1, 64), zeros(64, 8).T),
        lambda native: native.block_product(zeros(1, 64), zeros(8, 36).byte(), 8),
        lambda native: native.block_product(zeros(1, 32), zeros(8, 36).byte(), 4),
        lambda native: native.block_product(zeros(1, 64), zeros(8, 36), 4),
        lambda native: native.block_product(zeros(64), zeros(8, 36).byte(), 4),
        lambda native: native.block_product(zeros(1, 64).half(), zeros(8, 36).byte(), 4),
        lambda native: native.block_product(zeros(1, 64), zeros(36, 8).byte().T, 4),
        lambda native: native.norm(zeros(1, 64), zeros(63), 1e-6, None, None),
        lambda native: native.norm(zeros(2, 64), zeros(64), 1e-6, zeros(1, 64), None),
        lambda native: native.norm(zeros(2, 64), zeros(64), 1e-6, None, zeros(2)),
        lambda native: native.gelu_times(zeros(2, 64), zeros(1, 64)),
        lambda native: native.norm_rotate(zeros(2, 4, 64), zeros(64), 1e-6, zeros(1, 1, 64), zeros(1, 1, 64)),
        lambda native: native.norm_rotate(zeros(1, 4, 64), zeros(32), 1e-6, zeros(1, 1, 64), zeros(1, 1, 64)),
        lambda native: native.attend_row(zeros(1, 4, 64), zeros(9, 2, 64), zeros(8, 2, 64)),
        lambda native: native.attend_row(zeros(1, 4, 64), zeros(9, 2, 32), zeros(9, 2, 32)),
        lambda native: native.attend_row(zeros(1, 4, 64), zeros(9, 3, 64), zeros(9, 3, 64)),
        lambda native: native.attend_row(zeros(2, 4, 64), zeros(9, 2, 64), zeros(9, 2, 64)),
    ],
)
def test_operands_that_do_not_fit_are_refused(built: Native, call: Callable[[Native], Tensor]) -> None:
    with pytest.raises(AssertionError):
        call(built)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs under_sanitizer.py with kernels that the address sanitizer watches."""
    library = tmp_path_factory.mktemp("watched") / "watched.so"
    sources = [str(SOURCES / name) for name in ("block_linear.cpp", "native.cpp")]
    sanitizer = compiled("-print-file-name=libasan.so").strip()
    if not Path(sanitizer).is_file():
        pytest.skip("the compiler has no address sanitizer")
    compiled("-O1", "-g", "-march=native", "-fsanitize=address", "-shared", *sources, "-o", str(library))
    own = {"LD_PRELOAD": sanitizer, "PYTHONMALLOC": "malloc", "ASAN_OPTIONS": "detect_leaks=0"}
    environment = {**os.environ, **own}

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(HERE / "under_sanitizer.py"), str(library), *options]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def test_products_touch_their_operands_only(watched: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = watched()
    assert (done.returncode, done.stderr) == (0, "")


def test_the_sanitizer_sees_what_is_touched_beyond(
    watched: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = watched("--beyond")
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_libraries_of_all_kinds_give_the_same(built: Native, kind: CpuKind) -> None:
    if kind not in kinds_of(platform.machine(), cpu_flags()):
        pytest.skip("this CPU is not of that kind")
    library = SOURCES / library_name(SOURCES, kind)
    if not library.exists():
        pytest.skip("the compiler did not know that kind")
    other, generator = Native(ctypes.CDLL(str(library))), torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).bfloat16()

    x, weight, turns = noise(5, 4, 64), noise(64), (noise(5, 1, 64), noise(5, 1, 64))
    keys, blocks = noise(300, 2, 64), to_blocks(noise(9, 64).float(), "int4")
    calls: list[Callable[[Native], Tensor]] = [
        lambda native: native.product(x[:, 0], keys[:, 0].contiguous()),
        lambda native: native.block_product(x[:, 0].float(), blocks, 4),
        lambda native: native.norm(x, weight, 1e-6, x, None),
        lambda native: native.gelu_times(x, x.flip(0)),
        lambda native: native.norm_rotate(x, weight, 1e-6, *turns),
        lambda native: native.attend_row(x[:1], keys, keys.flip(0)),
    ]
    for call in calls:
        torch.testing.assert_close(call(other), call(built))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which the kernels of a CPU with AVX2 are looked for anew; there is only a source in it."""
    (tmp_path / "native.cpp").write_text("// nothing")
    monkeypatch.setattr(native_module, "__file__", str(tmp_path / "native.py"))
    monkeypatch.setattr(native_module, "cpu_flags", lambda: frozenset(AVX2))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    native.cache_clear()
    yield tmp_path
    native.cache_clear()


def test_missing_kernels_are_told_once(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = zeros(1, 64)
    with torch.inference_mode():
        assert [native_for(row), native_for(row), native()] == [None, None, None]
    said = "they are not built; install a C++ compiler (g++), and then gemcut again"
    assert capsys.readouterr().err == f"gemcut: slower, without the native CPU kernels: {said}\n"


def test_where_they_would_not_be_used_nothing_is_told(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert native_for(zeros(1, 64).to("meta")) is None
    assert capsys.readouterr().err == ""


def test_kernels_of_changed_sources_are_not_taken(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their functions may take other arguments."""
    avx2 = next(kind for kind in KINDS if kind.name == "avx2")
    (elsewhere / library_name(elsewhere, avx2)).write_bytes(b"")
    (elsewhere / "native.cpp").write_text("// something")
    assert native() is None
    assert "their sources have changed; install gemcut again (pip install -e .)" in capsys.readouterr().err


def test_kernels_that_do_not_load_are_told(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    avx2 = next(kind for kind in KINDS if kind.name == "avx2")
    (elsewhere / library_name(elsewhere, avx2)).write_bytes(b"")
    assert native() is None
    told = capsys.readouterr().err
    assert told.endswith("install gemcut again with CXX=g++\n")
    assert told.count("\n") == 1


@on_x86
@pytest.mark.parametrize("flags", [(), IMITATED_VNNI], ids=["SSE2", "VNNI"])
def test_blocks_are_multiplied_alike_on_other_instruction_sets(
    built: Native, flags: tuple[str, ...], tmp_path: Path
) -> None:
    if flags and "avx2" not in cpu_flags():
        pytest.skip("what VNNI is imitated upon needs AVX2")
    library = tmp_path / "other.so"
    compiled("-O1", *flags, "-shared", str(SOURCES / "block_linear.cpp"), "-o", str(library))
    product = ctypes.CDLL(str(library)).block_product
    product.argtypes, product.restype = SIGNATURES["block_product"], None
    generator = torch.Generator().manual_seed(0)
    for rows, inner, outer in ((1, 96, 17), (35, 480, 9)):
        x, weight = (torch.randn(n, inner, generator=generator) for n in (rows, outer))
        for form, bits in (("int4", 4), ("int8", 8)):
            blocks, out = to_blocks(weight, form), torch.empty(rows, outer)
            pointers = x.data_ptr(), blocks.data_ptr(), out.data_ptr()
            product(*pointers, rows, inner // 32, outer, bits, 1, 1)
            torch.testing.assert_close(out, built.block_product(x, blocks, bits), rtol=1e-5, atol=1e-4)


@on_x86
@pytest.mark.parametrize("cpu", ["icelake-server", "alderlake"])
def test_instructions_of_other_cpus_are_used_where_they_are(cpu: str) -> None:
    """Compiled only: this CPU may have none of them."""
    made = compiled("-O3", f"-march={cpu}", "-S", "-o", "-", str(SOURCES / "block_linear.cpp"))
    assert made.count("dpbusd") >= 16
