"""The C core's own tests, in tests/c: built with the system's compiler, run on what is here."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "tests" / "c"
BUILD = ROOT / "build" / "c"
PROGRAMS = ("check_kernels", "check_ops", "check_allocation", "check_threads")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="GNU ld's --wrap, LD_PRELOAD")


def compiler() -> str:
    command = os.environ.get("CC", "cc").split()[0]
    if not shutil.which(command) or not shutil.which("make"):
        pytest.skip(f"no C compiler ({command}) or no make")
    return command


def run(*command: str | Path, **more) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, **more)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def locked() -> Iterator[None]:
    """Let one worker build at a time; the next finds all of it built."""
    import fcntl

    compiler()
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize("variant", ["plain", "wide"])
def test_c_programs(variant, locked, clean_environment):
    """Kernels, operations, failing allocations and concurrent calls; `wide`: AVX-512's source.

    `asked`: that the compiler has left the drivers their prefetch instructions.
    """
    variables = {k: v for k, v in clean_environment.items() if k not in ("MAKEFLAGS", "LD_PRELOAD")}
    run(
        "make",
        "-j2",
        "-C",
        SOURCES,
        f"BUILD={BUILD}",
        f"VARIANT={variant}",
        "programs",
        "asked",
        env=variables,
    )
    for program in PROGRAMS:
        print(run(BUILD / variant / program, env=variables))


PROGRAM = """
import ctypes
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import convlab

def anew(call):
    # A new thread has kept no workspace of an earlier call.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()

fail = ctypes.CDLL(None).fail_aligned_alloc
fail.argtypes = [ctypes.c_long]
rng = np.random.default_rng(1)
x, w = (rng.standard_normal(shape) for shape in ((2, 8, 12, 13), (8, 8, 3, 3)))
y = convlab.conv2d(x, w)
image = rng.standard_normal((1, 1, 60, 70))
calls = {
    "conv2d": lambda: convlab.conv2d(x, w),
    "few channels": lambda: convlab.conv2d(image, w[:1, :1]),
    "grad_input": lambda: convlab.conv2d_grad_input(y, w, x.shape),
    "grad_weight": lambda: convlab.conv2d_grad_weight(y, x, (3, 3)),
    "transposed": lambda: convlab.conv_transpose2d(x, w, stride=2),
    "many phases": lambda: convlab.conv_transpose2d(x[:, :, :2, :2], w, stride=70),
}
for name, call in calls.items():
    expected = anew(call)
    for nth in range(1, 100):
        fail(nth)
        try:
            actual = anew(call)
        except MemoryError:
            continue
        finally:
            fail(0)
        break
    assert 1 < nth < 99, (name, nth)
    assert np.array_equal(actual, expected), name

small, one_filter = image[..., :8, :8], w[:1, :1]
fail(1)
y = convlab.conv2d(small, one_filter)
convlab.conv2d_grad_input(y, one_filter, small.shape)
convlab.conv2d_grad_weight(y, small, (3, 3))
fail(0)
"""


def test_allocation_failure_is_a_memory_error(tmp_path, clean_environment):
    """Whichever allocation of a call fails: MemoryError, and the next call is right.

    A small problem works on the stack: it makes no allocation that could fail.
    """
    library = tmp_path / "failing_aligned_alloc.so"
    source = SOURCES / "failing_aligned_alloc.c"
    run(compiler(), "-shared", "-fPIC", "-O1", "-o", library, source)
    preload = ":".join(filter(None, [os.environ.get("LD_PRELOAD"), str(library)]))
    run(sys.executable, "-c", PROGRAM, env=clean_environment | {"LD_PRELOAD": preload})
