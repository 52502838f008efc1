"""Memory in use does not grow with the number of calls, good or bad."""

import subprocess
import sys

import pytest
from robustness.limits import keeping_nothing

PROGRAM = """
import gc, itertools, os
import numpy as np
import convlab

def pages():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

x, w, b, dy = np.ones((1, 2, 4, 4)), np.ones((3, 2, 2, 2)), np.ones(3), np.ones((1, 3, 3, 3))
z, line = x.astype("c8"), np.ones((1, 2, 3), "f4")
columns = convlab.unfold(x, 2)
out = np.empty_like(dy)
last = {"layout": "channels_last"}

class Raising:
    def __index__(self):
        raise RuntimeError("no")

raising = Raising()
good = [
    lambda: convlab.conv2d(x, w, b),
    lambda: convlab.conv2d(x, w, b, out=out),
    lambda: convlab.conv2d(x[..., ::-1], w.astype("i4"), padding=((0, 1), (2, 0))),
    lambda: convlab.conv2d(z, w),
    lambda: convlab.conv2d_backward(dy, x, w),
    lambda: convlab.conv2d_grad_weight(dy, x, 2),
    lambda: convlab.conv_transpose2d(dy, w, stride=2, output_padding=1),
    lambda: convlab.conv_transpose2d_backward(x, dy, w),
    lambda: convlab.conv1d(line, line, padding="same"),
    lambda: convlab.conv2d(x, np.ones((2, 2, 4, 5)), **last),
    lambda: convlab.fold(columns, (4, 4), 2),
    lambda: convlab.conv_output_shape(x.shape, w.shape),
]
bad = [
    lambda: convlab.conv2d(x, w, b[1:]),
    lambda: convlab.conv2d(x, w, stride=0),
    lambda: convlab.conv2d(x, w, stride=raising),
    lambda: convlab.conv2d(x, w, stride=(1, "1")),
    lambda: convlab.conv2d(x, w, padding=2**31 - 1),
    lambda: convlab.conv2d(x, w, padding=2**70),
    lambda: convlab.conv2d(x, w, out=x),
    lambda: convlab.conv2d(x, w, groups=3),
    lambda: convlab.conv2d_backward(dy, x, w, needs=("everything",)),
    lambda: convlab.conv_transpose2d(dy, w, output_size=99),
    lambda: convlab.unfold(x, 9),
    lambda: convlab._core.forward(dy, x, w, b, (1, 1), (0, 0), (1, 1), 2, False, False),
    lambda: convlab._core.forward(dy, x, w, b, (1, 1), (0, 0), (1, raising), 1, False, False),
    lambda: convlab._core.grad_weight(w, dy, x, b, (1, 1), (0, 0), (2**63, 1), 1, False, False),
    lambda: convlab._core.unfold(columns, x, (2, 2), (3, 9), (1, 1), (0, 0), (1, 1)),
]

def call(times):
    failed = 0
    for _, work, fail in zip(range(times // 2), itertools.cycle(good), itertools.cycle(bad)):
        work()
        try:
            fail()
        except (ValueError, TypeError, OverflowError, MemoryError):
            failed += 1
    assert failed == times // 2

call(10_000)
gc.collect()
before = pages()
call(100_000)
gc.collect()
print((pages() - before) * os.sysconf("SC_PAGE_SIZE"))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_hundred_thousand_calls(clean_environment):
    """Half of them failing, in every way, they grow the process by less than 1 MiB."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=300,
        env=keeping_nothing(clean_environment),
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2**20
