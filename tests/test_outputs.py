"""Arrays that calls return: where they stand in memory, and whose they are."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from cases import Case
from oracle import rng, swap_data_layout, swap_weight_layout, torch_conv
from robustness.limits import SANITIZED

import convlab

LINE = 64  # bytes
LARGE = (2, 56, 56, 96)  # a result of 4.6 MiB in float64, 2.3 in float32


def integers(random, shape, dtype):
    """Draw values so small that sums of their products are exact in any order."""
    return random.integers(-4, 5, shape).astype(dtype)


@pytest.mark.parametrize("stride", [1, (1, 1)], ids=["common call", "any other call"])
def test_large_results_begin_at_a_cache_line(dtype, stride):
    """A vector stored across two lines costs as much as two."""
    random = rng("lines", dtype)
    x = integers(random, (*LARGE[:3], 3), dtype)
    w = integers(random, (1, 1, 3, LARGE[3]), dtype)
    results = [convlab.conv2d(x, w, stride=stride, layout="channels_last") for _ in range(8)]
    assert all(y.shape == LARGE and y.ctypes.data % LINE == 0 for y in results)


@pytest.mark.parametrize("stride", [1, (1, 1)], ids=["common call", "any other call"])
@pytest.mark.parametrize("begin", [0, 16, 64, 1280, 3000])
def test_large_results_begin_apart_from_their_input(dtype, stride, begin):
    """A load waits for a store whose address ends alike, and loads run ahead of stores."""
    page = 4096
    random = rng("apart", dtype)
    room = np.empty(2 * 60 * 60 * 32 * np.dtype(dtype).itemsize + 2 * page, np.uint8)
    begin += -room.ctypes.data % page
    x = room[begin : begin + room.size - 2 * page].view(dtype).reshape(2, 60, 60, 32)
    x[...] = integers(random, x.shape, dtype)
    w = integers(random, (3, 3, 1, 32), dtype)
    settings = {"groups": 32, "padding": 1, "layout": "channels_last"}
    y = convlab.conv2d(x, w, stride=stride, **settings)
    dx = convlab.conv2d_grad_input(x, w, x.shape, stride=stride, **settings)
    for result in (y, dx):
        ahead = (result.ctypes.data - x.ctypes.data) % page
        assert 1024 <= ahead < 1536


@pytest.mark.parametrize("stride", [1, (1, 1)], ids=["common call", "any other call"])
def test_large_results_are_plain_arrays(stride):
    """A result owns its memory, may be resized, and is known to tracemalloc."""
    random = rng("plain")
    x, w = integers(random, (1, 1, 300, 300), np.float64), np.ones((1, 1, 1, 1))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        y = convlab.conv2d(x, w, stride=stride)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown >= y.nbytes
    assert y.flags.owndata
    assert y.base is None
    y.resize((600, 300), refcheck=False)
    assert (y[:300] == x[0, 0]).all()
    assert (y[300:] == 0).all()
    y.resize((10, 300), refcheck=False)
    assert (y == x[0, 0, :10]).all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.skipif(SANITIZED, reason="ASan keeps freed memory")
def test_large_results_stand_where_earlier_ones_stood():
    """Memory that a result leaves fits the next: else each call would wait for new pages.

    In a process of its own: others may have left memory that is free.
    """
    program = """
import numpy as np, convlab
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
x, w = np.ones((1, 1024, 1, 1)), np.ones((2048, 1024, 1, 1))
dy = np.ones((1, 2048, 1, 1))
kept = [convlab.conv2d_grad_weight(dy, x, 1)]
before = resident()
for _ in range(30):
    kept = [convlab.conv2d_grad_weight(dy, x, 1), np.ones(100)]
print((resident() - before) / kept[0].nbytes)
"""
    command = [sys.executable, "-c", program]
    grown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert float(grown) < 3


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shift", [0, 1], ids=["whole lines", "parts of lines"])
@pytest.mark.parametrize("channels", [16, 64, 96])
def test_results_written_past_the_caches(restore_threads, layout, dtype, channels, shift, threads):
    """Results of more than 4 MiB, exact, whether or not their rows are whole cache lines."""
    random = rng("past", layout, dtype, channels)
    n, size = 3, 128
    x = integers(random, (n, size, size, 5), dtype)
    w = integers(random, (5, channels), dtype)
    b = integers(random, channels, dtype)
    expected = np.einsum("nhwi,io->nhwo", x, w) + b
    if layout == "channels_first":
        x, expected = (np.ascontiguousarray(np.moveaxis(a, -1, 1)) for a in (x, expected))
    w = w[None, None] if layout == "channels_last" else w.T[:, :, None, None]
    room = np.full(expected.size + LINE, np.nan, dtype)
    begin = -room.ctypes.data % LINE // room.itemsize + shift
    out = room[begin : begin + expected.size].reshape(expected.shape)
    convlab.set_num_threads(threads)
    y = convlab.conv2d(x, w, b, layout=layout, out=out)
    assert y is out
    assert np.array_equal(y, expected)
    assert np.isnan(room[:begin]).all()
    assert np.isnan(room[begin + expected.size :]).all()


# Results of more than 4 MiB in float32, 8 where they are brought together first, from every loop
# that writes them: channels of several groups along the lanes, in place or by way of a tile;
# positions along them; several phases.
PAST = {
    "depthwise": Case("past", 96, 96, (150, 152), (3, 3), groups=96, padding=1),
    "depthwise 1-D": Case("past", 70, 70, (32000,), (3,), groups=70, padding=1),
    "odd channels": Case("past", 55, 55, (200, 201), (3, 3), groups=55, padding=1),
    "depths": Case("past", 54, 54, (11, 60, 61), (3, 3, 3), groups=54, padding=1),
    "groups of 4": Case("past", 96, 96, (150, 152), (3, 3), groups=24, padding=1),
    "groups of 3": Case("past", 96, 96, (110, 112), (3, 3), groups=32, padding=1),
    "image": Case("past", 1, 1, (1500, 1510), (3, 3), padding=1),
    "summed images": Case("past", 2, 1, (1500, 1510), (3, 3), padding=1),
    "many channels": Case("past", 33, 160, (90, 89), (3, 3), padding=1),
    "phases": Case("past", 16, 40, (90, 91), (3, 3), stride=2, transposed=True),
    "depthwise phases": Case(
        "past", 80, 80, (64, 65), (3, 3), groups=80, stride=2, transposed=True
    ),
}


@pytest.mark.parametrize("shift", [0, 1], ids=["whole lines", "parts of lines"])
@pytest.mark.parametrize("case", PAST.values(), ids=PAST.keys())
def test_results_of_every_loop_written_past_the_caches(layout, dtype, case, shift):
    """Exact, and nothing beside them is written."""
    random = rng(str(case), dtype)
    shapes = (case.x_shape(), case.w_shape(), (case.oc,))
    x, w, b = (integers(random, shape, dtype) for shape in shapes)
    expected = torch_conv(case, *(torch.tensor(a, dtype=torch.float64) for a in (x, w, b))).numpy()
    if layout == "channels_last":
        x, expected = (swap_data_layout(a, case.nd) for a in (x, expected))
        w = swap_weight_layout(w, case.transposed)
    room = np.full(expected.size + LINE, np.nan, dtype)
    begin = -room.ctypes.data % LINE // room.itemsize + shift
    out = room[begin : begin + expected.size].reshape(expected.shape)
    function = getattr(convlab, f"conv{'_transpose' if case.transposed else ''}{case.nd}d")
    assert function(x, w, b, **case.parameters, layout=layout, out=out) is out
    assert np.array_equal(out, expected)
    assert np.isnan(room[:begin]).all()
    assert np.isnan(room[begin + expected.size :]).all()
