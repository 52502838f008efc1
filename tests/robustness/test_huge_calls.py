"""Calls that no machine could hold or finish are refused at once; those that only look it, work.

Each runs in a process of its own whose memory is limited, so that one which does fill it fails here
and takes nothing else along.
"""

import subprocess
import sys

import pytest
from robustness.limits import limited, limits

LIMIT = 4  # GiB
PROLOGUE = """
import time
import numpy as np
import convlab

one = np.float32(1)

def huge(*shape, dtype="float32"):
    return np.broadcast_to(np.ones((), dtype), shape)

def ones(*shape):
    return np.ones(shape, "float32")

def refused(call, function):
    start = time.perf_counter()
    try:
        result = call()
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        assert str(error).startswith(function + ": "), f"{type(error).__name__}: {error}"
    else:
        raise AssertionError(f"not refused: {result!r:.200}")
    assert time.perf_counter() - start < 5, "slowly"

def works(call, expected):
    start = time.perf_counter()
    result = call()
    assert result == expected, result
    assert time.perf_counter() - start < 5, "slowly"
"""

REFUSED = [
    ("conv2d", "convlab.conv2d(ones(1, 1, 3, 3), ones(1, 1, 3, 3), padding=2**31 - 1)"),
    ("conv3d", "convlab.conv3d(ones(1, 1, 1, 1, 1), ones(1, 1, 1, 1, 1), padding=2**20)"),
    ("conv2d", "convlab.conv2d(ones(0, 1, 3, 3), ones(1, 1, 1, 1), padding=2**31 - 1)"),
    ("conv2d", "convlab.conv2d(huge(2**20, 1, 9, 9), huge(2**20, 1, 3, 3))"),
    # An input that must be converted first, and is huge.
    ("conv1d", "convlab.conv1d(huge(1, 1, 2**40, dtype='i1'), ones(1, 1, 3), stride=2**31 - 1)"),
    ("conv1d", "convlab.conv1d(huge(1, 1, 2**40), ones(1, 1, 3).astype('f8'), stride=2**31 - 1)"),
    # Indices that would not fit in the address range.
    ("conv1d", "convlab.conv1d(huge(1, 1, 2**58), ones(1, 1, 1), stride=2**31 - 1)"),
    (
        "conv_transpose2d",
        "convlab.conv_transpose2d(ones(1, 1, 9, 9), ones(1, 1, 3, 3), stride=2**31 - 1)",
    ),
    (
        "conv_transpose1d",
        "convlab.conv_transpose1d(ones(4096, 1, 2), ones(1, 1, 3), dilation=2**31 - 1)",
    ),
    (
        "conv2d_grad_input",
        "convlab.conv2d_grad_input(huge(1, 1, 1, 1), ones(1, 1, 1, 1), "
        "(1, 1, 2**31, 2**31), stride=2**31 - 1)",
    ),
    (
        "conv2d_grad_weight",
        "convlab.conv2d_grad_weight(ones(1, 1, 1, 1), ones(1, 1, 1, 1), 2**32 - 1, "
        "padding=2**31 - 1)",
    ),
    ("unfold", "convlab.unfold(ones(1, 1, 3, 3), 3, padding=2**31 - 1)"),
    ("unfold", "convlab.unfold(ones(1, 1, 3, 3), 2**32, padding=2**31 - 1)"),
    ("fold", "convlab.fold(huge(1, 4, (2**20 - 1) ** 2), 2**20, 2)"),
    ("conv_matrix2d", "convlab.conv_matrix2d(ones(1, 1, 3, 3), (1, 2**20, 2**20))"),
    ("conv_matrix2d", "convlab.conv_matrix2d(ones(1, 1, 3, 3), (1, 2**20, 2**20), sparse=True)"),
    ("conv_matrix2d", "convlab.conv_matrix2d(ones(1, 1, 1, 1), (1, 2000, 2000))"),
    ("conv_matrix2d", "convlab.conv_matrix2d(ones(1, 1, 3, 3), (1, 2**62, 2**62))"),
    ("conv_matrix2d", "convlab.conv_matrix2d(ones(1, 1, 3, 3), (2**40, 1, 2**40, 2**40))"),
    ("conv_matrix2d", "convlab.conv_matrix2d(ones(1, 1, 3, 3), (1, 3, 3), padding=2**31 - 1)"),
    # Few entries, in columns whose numbers do not fit in 64 bits.
    (
        "conv_matrix2d",
        "convlab.conv_matrix2d(ones(1, 1, 1, 1), (1, 2**40, 2**40), stride=2**31 - 1, sparse=True)",
    ),
    ("conv_matrix2d", "convlab.conv_matrix2d(huge(0, 2**40, 1, 1), (2**40, 1, 1))"),
    ("Conv2D", "convlab.Conv2D(2**40, 2**40)"),
    ("Conv2D", "convlab.Conv2D(10**6, 10**6)"),
    ("Conv2D", "convlab.Conv2D(2**70, 1)"),
]

WORKS = [
    ("convlab.conv_output_shape((1, 1, 2**60), (1, 1, 2**59))", "(1, 1, 2**59 + 1)"),
    ("convlab.explain((1, 1, 2**60), (1, 1, 2**59)).output_shape", "(1, 1, 2**59 + 1)"),
    # So many channels of nothing: every sum is of padding alone.
    ("convlab.conv1d(huge(1, 2**40, 0), huge(1, 2**40, 1), padding=1).tolist()", "[[[0, 0]]]"),
    # Every step is the largest, and none is taken.
    (
        "convlab.conv1d(ones(1, 1, 3), ones(1, 1, 3), stride=2**31 - 1, dilation=2**31 - 1, "
        "padding=2**31 - 1).tolist()",
        "[[[1]]]",
    ),
    (
        "convlab.conv_transpose1d(ones(1, 1, 1), ones(1, 1, 1), stride=2**31 - 1, "
        "dilation=2**31 - 1).tolist()",
        "[[[1]]]",
    ),
    ("convlab.conv1d(huge(1, 1, 2**40), ones(1, 1, 3), stride=2**31 - 1).sum()", "3 * (2**9 + 1)"),
    ("convlab.unfold(huge(0, 2**40, 5, 5), 3).shape", "(0, 9 * 2**40, 9)"),
    # The words and numbers of an explanation are few, however large the call.
    ("len(str(convlab.explain((1, 1, 2**33), (1, 1, 2**32)))) < 5000", "True"),
    ("len(convlab.explain((1, 1, 2**33), (1, 1, 2**32))._repr_markdown_()) < 5000", "True"),
    ("len(str(convlab.explain((1, 2**61, 5, 5), (3, 3, 3, 3), groups=7))) < 5000", "True"),
]


def run(program: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", limited(PROLOGUE + program, LIMIT)],
        capture_output=True,
        text=True,
        timeout=60,
        env=limits(environment, LIMIT),
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stderr}"


@pytest.mark.parametrize(("function", "call"), REFUSED, ids=[call for _, call in REFUSED])
def test_refused(function, call, clean_environment):
    """The error is of the usual kinds, begins with the function's name, and comes at once."""
    run(f"refused(lambda: {call}, {function!r})", clean_environment)


@pytest.mark.parametrize(("call", "expected"), WORKS, ids=[call for call, _ in WORKS])
def test_works(call, expected, clean_environment):
    """Huge numbers that ask for no huge work are computed with like any other."""
    run(f"works(lambda: {call}, {expected})", clean_environment)


def test_an_out_of_one_element(clean_environment):
    """That an out overlaps itself shows in its strides, not in a list of all its elements."""
    program = """
out = np.lib.stride_tricks.as_strided(ones(1), (1, 1, 2**28), (0, 0, 0), writeable=True)
refused(lambda: convlab.conv1d(huge(1, 1, 2**28), ones(1, 1, 1), out=out), "conv1d")
out = np.lib.stride_tricks.as_strided(ones(2**14), (1, 2**14, 2**14), (0, 0, 4), writeable=True)
refused(lambda: convlab.conv1d(huge(1, 1, 2**14), ones(2**14, 1, 1), out=out), "conv1d")
"""
    run(program, clean_environment)
