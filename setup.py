"""Builds the native CPU kernels with the package, a library for each kind of CPU of this architecture.

Everything else is in pyproject.toml.  Where there is no C++ compiler, or it fails, the package does without.
In place, and nothing is installed: python setup.py build_kernels --inplace
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build

KERNELS = Path("gemcut/kernels")
spec = spec_from_file_location("processors", KERNELS / "processors.py")  # importing gemcut would need torch
processors = module_from_spec(spec)
spec.loader.exec_module(processors)


def find_compiler() -> list[str] | None:
    """The C++ compiler's command: $CXX, or the first one that is there."""
    if asked := os.environ.get("CXX"):
        return shlex.split(asked)
    return next(([name] for name in ("g++", "c++", "clang++") if shutil.which(name)), None)


def make_library(compiler: list[str] | None, options: Sequence[str], library: Path) -> str | None:
    """Compiles all sources into one library; what went wrong, or None.

    It is linked without OpenMP's runtime and so uses the one that torch has loaded: two would compete for
    the cores.
    """
    if compiler is None:
        return "there is no C++ compiler"
    part = f"{library}.part"  # whole or not at all, also when this is interrupted
    with tempfile.TemporaryDirectory() as folder:
        sources = {path: f"{folder}/{path.stem}.o" for path in sorted(KERNELS.glob("*.cpp"))}
        commands = [[*options, "-c", str(path), "-o", made] for path, made in sources.items()]
        commands.append(["-shared", *sources.values(), "-o", part])
        try:
            for command in commands:
                subprocess.run([*compiler, *command], check=True, capture_output=True, errors="replace")
            Path(part).replace(library)
        except subprocess.CalledProcessError as error:
            return next((line for line in error.stderr.splitlines() if "error" in line), str(error))
        except OSError as error:
            return str(error)
    return None


class BuildKernels(Command):
    """Builds the libraries, and takes away those of other sources."""

    description = "build the native CPU kernels"
    user_options = [("inplace", "i", "put the libraries beside their sources")]
    boolean_options = ["inplace"]

    def initialize_options(self) -> None:
        """Before the command line is read."""
        self.inplace = False  # editable installs set it
        self.build_lib = None
        self.built: list[Path] = []

    def finalize_options(self) -> None:
        """After it is read."""
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self) -> None:
        """Compile on all cores; one line says what could not be built."""
        folder = KERNELS if self.inplace else Path(self.build_lib) / KERNELS
        folder.mkdir(parents=True, exist_ok=True)
        kinds = [kind for kind in processors.KINDS if platform.machine() in kind.machines]
        libraries = [folder / processors.library_name(KERNELS, kind) for kind in kinds]
        for old in set(folder.glob("*.so*")).difference(libraries):
            old.unlink()
        options = [(*processors.OPTIONS, *kind.needs.values()) for kind in kinds]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            problems = list(pool.map(partial(make_library, find_compiler()), options, libraries))
        self.built = [library for library in libraries if library.exists()]
        missing = {
            kind.name: problem
            for kind, library, problem in zip(kinds, libraries, problems, strict=True)
            if library not in self.built
        }
        if missing:
            why = next(iter(missing.values()))
            print(f"gemcut: no native kernels for {', '.join(missing)}: {why}", file=sys.stderr)


class Build(build):
    """Everything that a build does."""

    sub_commands = [*build.sub_commands, ("build_kernels", None)]


class Wheel(bdist_wheel):
    """A wheel that is for one platform where there are libraries in it."""

    def get_tag(self) -> tuple[str, str, str]:
        """Any Python 3, since the libraries do not know Python."""
        if not self.get_finalized_command("build_kernels").built:
            return super().get_tag()
        self.root_is_pure = False
        return "py3", "none", super().get_tag()[2]


setup(cmdclass={"build": Build, "build_kernels": BuildKernels, "bdist_wheel": Wheel})
