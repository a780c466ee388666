"""Models and servers that the tests of the server share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from gemcut import Gemma
from tests.server.programs import Program, started
from tests.server.servers import client_of
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Gemma:
    return Gemma.load(str(tiny_folder), device="cpu")


@pytest.fixture(scope="session")
def hearing_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("models") / "hearing"
    write_tiny_model(folder, senses=True)
    return folder


@pytest.fixture(scope="session")
def hearing(hearing_folder: Path) -> Gemma:
    """A tiny model that takes sound: what it answers is letters."""
    return Gemma.load(str(hearing_folder), device="cpu")


@pytest.fixture(scope="session")
def nano_model(nano: Path) -> Gemma:
    return Gemma.load(str(nano), device="cpu")


@pytest.fixture(scope="session")
def client(tiny: Gemma) -> TestClient:
    """A client of a server with the tiny model: it answers with letters until it may not go on."""
    return client_of(tiny, "tiny")


@pytest.fixture(scope="session")
def nano_client(nano_model: Gemma) -> TestClient:
    """A client of a server with nano: it calls tools and thinks."""
    return client_of(nano_model, "nano")


@pytest.fixture(scope="session")
def program(nano: Path) -> Iterator[Program]:
    """A real `gemcut serve nano`."""
    with started("nano") as running:
        yield running
