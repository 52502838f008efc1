"""conv1d, conv2d, conv3d: y against torch."""

import numpy as np
import pytest
from cases import CONVOLUTIONS, CROWDED, Case
from oracle import LAYOUTS, Problem, integer_operands, problems, rng, same_bits

import convlab


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_forward(case):
    """The result is torch's, every element written, nothing beside it touched."""
    for problem in problems(case):
        problem.check("forward", problem.compute("forward"))


@pytest.mark.parametrize("case", sorted({*CONVOLUTIONS[::7], *CROWDED}, key=str), ids=str)
def test_own_output_is_the_same(case):
    """A result that convlab allocates, aligned to cache lines, has the bits of one in `out`."""
    for problem in problems(case):
        assert same_bits(problem.forward(b=problem.b), problem.compute("forward"))


@pytest.mark.parametrize("case", CONVOLUTIONS[::7], ids=str)
def test_bias_is_added_to_each_channel(case):
    """Without b nothing is added; with b, its own value goes to each output channel."""
    x, w, b, _ = integer_operands(case, "float64")
    problem = Problem(case)
    bias = b.reshape(-1, *(1,) * case.nd)
    assert np.array_equal(problem.forward(x, w) + bias, problem.forward(x, w, b))


@pytest.mark.parametrize("case", CONVOLUTIONS[::7], ids=str)
def test_layouts_hold_the_same_numbers(case):
    """channels_last differs from channels_first in the order of axes and in nothing else."""
    first, last = (Problem(case, "float64", layout) for layout in LAYOUTS)
    y = np.moveaxis(last.forward(b=last.b), -1, -case.nd - 1)
    first.check("forward", np.ascontiguousarray(y))


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_parameter_forms_mean_the_same(nd):
    """An int, one int per axis and one (before, after) pair per axis are the same request."""
    case = Case("forms", 3, 4, (7, 8, 9)[-nd:], (3,) * nd, n=2)
    problem = Problem(case)
    conv = getattr(convlab, problem.name)
    plain = conv(problem.x, problem.w, stride=2, padding=1, dilation=2)
    forms = [
        {"stride": (2,) * nd, "padding": (1,) * nd, "dilation": (2,) * nd},
        {"stride": [2] * nd, "padding": [1] * nd, "dilation": [2] * nd},
        {"stride": np.int64(2), "padding": ((1, 1),) * nd, "dilation": np.int32(2)},
    ]
    for form in forms:
        assert same_bits(conv(problem.x, problem.w, **form), plain), form


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_same_fixes_the_size(nd):
    """Padding "same" has ceil(n/stride) outputs whatever kernel, stride and dilation."""
    generator = rng("same", nd)
    conv = getattr(convlab, f"conv{nd}d")
    for _ in range(20):
        size = tuple(generator.integers(1, 9, nd))
        kernel = tuple(generator.integers(1, 5, nd))
        stride = tuple(int(s) for s in generator.integers(1, 4, nd))
        dilation = tuple(int(d) for d in generator.integers(1, 4, nd))
        x, w = generator.standard_normal((2, 1, *size)), generator.standard_normal((1, 1, *kernel))
        for padding in ("same", "same_lower"):
            y = conv(x, w, padding=padding, stride=stride, dilation=dilation)
            expected = tuple(-(-n // s) for n, s in zip(size, stride, strict=True))
            assert y.shape[2:] == expected


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_empty_axes_follow_the_mathematics(nd, layout, dtype):
    """No images or no filters give nothing; no input channels give the bias alone, or zeros."""
    conv = getattr(convlab, f"conv{nd}d")
    size, kernel = (5,) * nd, (3,) * nd

    def call(n, ic, oc, bias):
        last = layout == "channels_last"
        x = np.ones((n, *size, ic) if last else (n, ic, *size), dtype)
        w = np.ones((*kernel, ic, oc) if last else (oc, ic, *kernel), dtype)
        b = np.arange(1, oc + 1).astype(dtype) if bias else None
        y = conv(x, w, b, layout=layout)
        assert y.dtype == dtype
        return y if last else np.moveaxis(y, 1, -1)

    assert call(0, 2, 3, True).shape == (0, *(3,) * nd, 3)
    assert call(2, 2, 0, True).shape == (2, *(3,) * nd, 0)
    assert np.array_equal(call(2, 0, 3, True), np.broadcast_to([1, 2, 3], (2, *(3,) * nd, 3)))
    assert np.array_equal(call(2, 0, 3, False), np.zeros((2, *(3,) * nd, 3)))
