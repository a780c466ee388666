"""The rules of the house that a program can check: who imports whom, sizes, docstrings, names."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "gemcut"

RANKS = (
    ("errors",),
    ("config",),
    ("family",),  # rows of configs
    ("checkpoint", "media", "kernels"),
    ("model", "prompt"),
    ("opened",),  # a checkpoint's parts before its weights are read
    ("quant", "lora", "shard"),
    ("load",),
    ("engine", "train"),
    ("fit",),  # what a machine can run
    ("reply",),  # what the api gives
    ("many", "live"),  # many questions to it at once, and replies under way
    ("toolbox",),  # tools that can be called
    ("mcp_server", "agent"),  # tools from elsewhere, and who calls tools
    ("api",),
    ("server", "evals", "cluster", "speed", "__init__"),  # __init__: the public names
    ("cli",),
    ("__main__",),
)
RANK = {part: rank for rank, parts in enumerate(RANKS) for part in parts}

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 60
MOST_LINES_OF_FORWARD = 40
MOST_PARAMETERS = 6
SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
# tests of no single module
OF_THE_WHOLE = {"test_architecture", "test_bad_input", "test_readme", "test_setup"}
IMPORTED_AS = {  # packages whose module has another name
    "pillow": "PIL",
    "prometheus-client": "prometheus_client",
}
OPTIONAL = {
    "triton",  # torch brings it where there is CUDA; nothing else needs it
    "transformers",  # only to be compared with, see below
}
COMPARED_WITH = PACKAGE / "speed" / "generate.py"
BESIDE_THE_PACKAGE = {
    "parity",
    "recipes",
    "bench",
    "clients",
    "playground",
}  # tests of other things than the package's modules

Function = ast.FunctionDef | ast.AsyncFunctionDef
FILES = sorted(PACKAGE.rglob("*.py"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def part_of(module: str) -> str:
    """The part of the package that a module belongs to: `gemcut.model.block` -> `model`."""
    return module.split(".")[1] if "." in module else "__init__"


MODULES = {module_name(path) for path in FILES}


def imported(tree: ast.Module) -> set[str]:
    """Every module of gemcut that `tree` imports, wherever the import stands."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module is not None
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return {name for name in found if name == "gemcut" or name.startswith("gemcut.")}


def foreign(tree: ast.Module) -> set[str]:
    """The top names of everything that `tree` imports from outside."""
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[0] for name in names}


def functions(tree: ast.AST) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def public_definitions(body: list[ast.stmt]) -> Iterator[Function | ast.ClassDef]:
    """Classes and functions with a name that has no underscore; not those inside functions."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body)


def is_command(path: Path, function: Function) -> bool:
    """Whether it is the command that its file is named after: its parameters are what a user types."""
    return path.parent == PACKAGE / "cli" and function.name == path.stem


def is_public_call(path: Path, function: Function) -> bool:
    """Whether it is what users of `Gemma` call: its keywords are options that they name one by one."""
    return path == PACKAGE / "api.py" and function.name in ("reply", "stream")


def is_gpu_kernel(function: Function) -> bool:
    """Whether it is compiled by Triton, to which addresses and numbers are given one by one."""
    return any(ast.unparse(decorator).startswith("triton.jit") for decorator in function.decorator_list)


def num_parameters(function: Function) -> int:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return len([argument for argument in named if argument.arg not in ("self", "cls")])


def num_lines(node: Function) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


@each_file
def test_imports_point_down(path: Path) -> None:
    part = part_of(module_name(path))
    assert part in RANK, f"{part} has no rank: add it to RANKS, with a reason, in docs/architecture.md too"
    for name in imported(parse(path)):
        other = part_of(name)
        assert name in MODULES, f"{path} imports {name}, which does not exist"
        assert other != "__init__", f"{path}: name the module, `from gemcut.api import …`"
        assert other == part or RANK[other] < RANK[part], f"{path}: {name} is not of a lower rank"


def test_no_module_imports_itself_through_others() -> None:
    graph = {module_name(path): imported(parse(path)) & MODULES for path in FILES}

    def reachable(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += graph[name]
        return seen

    assert [name for name in graph if name in reachable(name)] == []


@each_file
def test_a_file_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < MOST_LINES_OF_A_FILE


@each_file
def test_functions_are_short(path: Path) -> None:
    for function in functions(parse(path)):
        most = MOST_LINES_OF_FORWARD if function.name == "forward" else MOST_LINES_OF_A_FUNCTION
        line_each = is_command(path, function) or is_gpu_kernel(function)
        options = num_parameters(function) if line_each else 0
        assert num_lines(function) - options < most, f"{path}:{function.lineno} {function.name}"


@each_file
def test_functions_take_few_parameters(path: Path) -> None:
    for function in functions(parse(path)):
        if not (is_command(path, function) or is_public_call(path, function) or is_gpu_kernel(function)):
            assert num_parameters(function) <= MOST_PARAMETERS, f"{path}:{function.lineno} {function.name}"


@each_file
def test_everything_public_is_documented(path: Path) -> None:
    tree = parse(path)
    assert ast.get_docstring(tree) is not None, f"{path} has no docstring"
    for node in public_definitions(tree.body):
        assert ast.get_docstring(node) is not None, f"{path}:{node.lineno} {node.name} has no docstring"


@each_file
def test_state_is_passed(path: Path) -> None:
    tree = parse(path)
    nodes = list(ast.walk(tree))
    assert not [n for n in nodes if isinstance(n, ast.Global)], f"{path} uses `global`"
    assert not [n for n in nodes if isinstance(n, ast.ImportFrom) and n.level > 0], f"{path}: relative import"
    if part_of(module_name(path)) != "cli":
        read = [n for n in nodes if isinstance(n, ast.Attribute) and n.attr in ("environ", "getenv")]
        assert not read, f"{path}:{read[0].lineno} reads the environment: only cli/ may"


@each_file
def test_names_say_something(path: Path) -> None:
    assert not SAY_NOTHING & set(path.relative_to(REPOSITORY).with_suffix("").parts)


@each_file
def test_transformers_is_for_tests_and_comparison_only(path: Path) -> None:
    assert path == COMPARED_WITH or "transformers" not in foreign(parse(path))


def test_what_is_imported_is_declared_and_nothing_else() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = [names for extra, names in project["optional-dependencies"].items() if extra != "test"]
    names = [dependency.split(">=")[0] for dependency in sum(extras, project["dependencies"])]
    declared = {IMPORTED_AS.get(name, name) for name in names}
    used = (
        set().union(*(foreign(parse(path)) for path in FILES))
        - sys.stdlib_module_names
        - {"gemcut"}
        - OPTIONAL
    )
    assert declared == used


def test_tests_mirror_the_package() -> None:
    """tests/X/test_Y.py is about gemcut/X/Y.py, and tests/X/test_X.py about all of gemcut/X."""
    tests = REPOSITORY / "tests"
    astray = []
    for path in tests.rglob("test_*.py"):
        place = path.relative_to(tests)
        about = place.with_name(place.name.removeprefix("test_"))
        of_a_package = about.stem == about.parent.name and (PACKAGE / about.parent).is_dir()
        free = place.parts[0] in BESIDE_THE_PACKAGE or path.stem in OF_THE_WHOLE
        if not (free or of_a_package or (PACKAGE / about).exists()):
            astray.append(str(place))
    assert astray == []
