"""What the playground is made of: short modules that import one way, and libraries as npm has them."""

import hashlib
import re
import tomllib
from pathlib import Path

from tests.playground.fake_server import PLAYGROUND

VENDOR = PLAYGROUND / "vendor"
MODULES = sorted(PLAYGROUND.glob("*.js"))
ROWS = re.findall(
    r"^\| (\S+) \| (\S+ [\d.]+) \| .* \| \[(.+)\]\((\S+)\) \| `([0-9a-f]{64})` \|$",
    (VENDOR / "README.md").read_text(),
    re.MULTILINE,
)


def test_libraries_are_what_their_table_says() -> None:
    for name, _, _, license_file, digest in ROWS:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name
        assert (VENDOR / license_file).is_file()


def test_the_table_names_every_file() -> None:
    there = {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()}
    named = {row[0] for row in ROWS} | {row[3] for row in ROWS} | {"README.md"}
    assert there == named


def test_modules_are_short() -> None:
    files = [*MODULES, *(PLAYGROUND / "style").iterdir(), PLAYGROUND / "index.html"]
    assert [path.name for path in files if len(path.read_text().splitlines()) >= 250] == []
    assert [
        (path.name, line) for path in MODULES for line in path.read_text().splitlines() if len(line) > 130
    ] == []


def test_no_module_imports_itself_through_others() -> None:
    graph = {path.name: set(re.findall(r'from "\./(\w+\.js)"', path.read_text())) for path in MODULES}

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
    assert reachable("main.js") | {"main.js", "early.js"} == set(graph)


def test_every_module_says_what_it_is_for() -> None:
    assert [path.name for path in MODULES if not path.read_text().startswith("// ")] == []


def test_the_page_is_in_the_package() -> None:
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())
    assert "server/playground/**" in project["tool"]["setuptools"]["package-data"]["gemcut"]
