"""Fixtures that the whole suite shares, and what is printed above its results."""

import os
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from oracle import DTYPES, LAYOUTS, OPERATIONS, SEED

import convlab
from convlab import _core


def pytest_configure() -> None:
    torch.set_num_threads(1)


def pytest_report_header() -> list[str]:
    config = _core.config()
    return [
        f"convlab: seed {SEED} (set CONVLAB_TEST_SEED for another), {config['isa']} of "
        f"{', '.join(config['available'])}, {convlab.get_num_threads()} threads",
        f"numpy {np.__version__}, torch {torch.__version__}",
    ]


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=OPERATIONS)
def operation(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def restore_threads() -> Iterator[None]:
    """Let a test set the number of threads; the next one finds it as it was."""
    before = convlab.get_num_threads()
    yield
    convlab.set_num_threads(before)


@pytest.fixture
def restore_isa() -> Iterator[None]:
    """Let a test select an instruction set; the next one finds it as it was."""
    before = _core.config()["isa"]
    yield
    _core.select_isa(before)


@pytest.fixture
def clean_environment() -> dict[str, str]:
    """Make an environment for another process, free of what sets its number of threads.

    The instruction set under test, by CONVLAB_ISA, is that of other processes too.
    """
    ours = ("CONVLAB_NUM_THREADS", "OMP_NUM_THREADS")
    paths = os.pathsep.join(path for path in sys.path if path)
    return {k: v for k, v in os.environ.items() if k not in ours} | {"PYTHONPATH": paths}
