"""What all tests share."""

import os
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "1"  # before anything imports triton: its kernels run on the CPU

import pytest
import torch

import gemcut
from gemcut.kernels.native import Native, native

torch.set_num_threads(1)  # tiny tensors: a second thread only waits, and for long where the machine is busy


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real vocabularies, templates and configs beside the repository; skips without it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the reference data in {folder}, which is not in the repository")
    return folder


@pytest.fixture(scope="session")
def nano() -> Path:
    """The folder of the embedded model; skips until it is trained."""
    folder = Path(gemcut.__file__).parent / "nano"
    if not (folder / "model.safetensors").is_file():
        pytest.skip("nano is not trained: python -m recipes.nano train")
    return folder


@pytest.fixture
def built() -> Native:
    kernels = native()
    if kernels is None:
        pytest.skip("the native kernels are not built for this CPU")
    return kernels
