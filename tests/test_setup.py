"""The package's build: native kernels for each kind of CPU, and a package without them where they fail."""

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gemcut.kernels.processors import KINDS, library_name

pytest.importorskip("setuptools", minversion="80")

ROOT = Path(__file__).resolve().parents[1]
HERE = [kind for kind in KINDS if platform.machine() in kind.machines]
on_known_machines = pytest.mark.skipif(not HERE, reason="there are no kernels for this architecture")
# A compiler that is quick: it writes what it was asked for, but nothing of it works.
COMPILER = """#!{python}
import sys
if "{unknown}" in sys.argv:
    sys.exit("error: unrecognized option {unknown}")
open(sys.argv[sys.argv.index("-o") + 1], "w").write(" ".join(sys.argv))
"""

Done = subprocess.CompletedProcess[str]
Build = Callable[..., Done]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the build reads."""
    copy = tmp_path / "checkout"
    unneeded = shutil.ignore_patterns("*.so*", "__pycache__", "nano")
    shutil.copytree(ROOT / "gemcut", copy / "gemcut", ignore=unneeded)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture
def build(checkout: Path, tmp_path: Path) -> Build:
    """What pip does, without a network.

    command: the compiler, None for the quick one, "" for none.
    unknown: an option that the quick one does not know.
    """

    def run(hook: str = "build_wheel", *, command: str | None = None, unknown: str = "-") -> Done:
        script = tmp_path / "quick-g++"
        script.write_text(COMPILER.format(python=sys.executable, unknown=unknown))
        script.chmod(0o755)
        environment = {name: value for name, value in os.environ.items() if name not in ("PATH", "CXX")}
        environment |= {
            "PATH": str(tmp_path / "empty"),
            "CXX": f"{script} -x" if command is None else command,
        }
        program = f"from setuptools.build_meta import {hook}; {hook}({str(tmp_path)!r})"
        python = [sys.executable, "-c", program]
        return subprocess.run(
            python, cwd=checkout, env=environment, capture_output=True, text=True, check=True
        )

    return run


def made(folder: Path) -> tuple[str, list[str]]:
    """The wheel's name, and the names of the libraries in it."""
    (wheel,) = folder.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "gemcut/kernels/native.cpp" in names  # what a library's name is compared with
    return wheel.name, sorted(Path(name).name for name in names if name.endswith(".so"))


def names(checkout: Path) -> dict[str, str]:
    return {kind.name: library_name(checkout / "gemcut/kernels", kind) for kind in HERE}


def said(done: Done) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("gemcut:")]


@on_known_machines
def test_a_wheel_holds_a_library_for_each_kind_of_cpu(build: Build, checkout: Path, tmp_path: Path) -> None:
    done = build()
    name, libraries = made(tmp_path)
    assert libraries == sorted(names(checkout).values())
    assert "-py3-none-" in name
    assert not name.endswith("-any.whl")
    assert said(done) == []


@on_known_machines
def test_without_a_compiler_the_wheel_is_for_any_platform(build: Build, tmp_path: Path) -> None:
    done = build(command="")
    name, libraries = made(tmp_path)
    assert libraries == []
    assert name.endswith("-py3-none-any.whl")
    listed = ", ".join(kind.name for kind in HERE)
    assert said(done) == [f"gemcut: no native kernels for {listed}: there is no C++ compiler"]


@on_known_machines
@pytest.mark.parametrize("compiler", ["no-such-compiler", sys.executable, "/bin/true"])
def test_a_compiler_that_fails_is_told_and_does_no_harm(compiler: str, build: Build, tmp_path: Path) -> None:
    done = build(command=compiler)
    assert made(tmp_path)[1] == []
    assert len(said(done)) == 1


@on_known_machines
def test_a_kind_that_the_compiler_does_not_know_is_left_out(
    build: Build, checkout: Path, tmp_path: Path
) -> None:
    newest = HERE[0]
    option = list(newest.needs.values())[-1]
    done = build(unknown=option)
    _, libraries = made(tmp_path)
    others = names(checkout)
    others.pop(newest.name)
    assert libraries == sorted(others.values())
    assert said(done) == [f"gemcut: no native kernels for {newest.name}: error: unrecognized option {option}"]


@on_known_machines
def test_an_editable_install_has_its_libraries_in_place_and_only_new_ones(
    build: Build, checkout: Path
) -> None:
    kernels = checkout / "gemcut/kernels"
    build("build_editable")
    first = {path.name for path in kernels.glob("*.so*")}
    assert first == set(names(checkout).values())
    (kernels / "native.cpp").write_text("// edited\n")
    build("build_editable")
    second = {path.name for path in kernels.glob("*.so*")}
    assert second == set(names(checkout).values())
    assert not first & second


@on_known_machines
def test_libraries_are_linked_without_openmp(build: Build, checkout: Path) -> None:
    """The one that torch has loaded is used: two would compete for the cores."""
    build("build_editable")
    for kind in HERE:
        linked = (checkout / "gemcut/kernels" / names(checkout)[kind.name]).read_text()
        assert "-shared" in linked
        assert "-fopenmp" not in linked
