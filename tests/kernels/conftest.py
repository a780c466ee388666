import pytest

from gemcut.kernels.native import Native, native


@pytest.fixture
def built() -> Native:
    kernels = native()
    if kernels is None:
        pytest.skip("no C++ compiler here to build the native kernels")
    return kernels
