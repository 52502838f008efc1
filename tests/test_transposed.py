"""conv_transpose1d, conv_transpose2d, conv_transpose3d: y, dx and dw against torch."""

import numpy as np
import pytest
import torch
from cases import TRANSPOSED, Case
from oracle import Problem, problems, rng, same_bits

import convlab


@pytest.mark.parametrize("case", TRANSPOSED, ids=str)
def test_transposed(case, operation):
    """Each result is torch's, every element written, nothing beside it touched."""
    for problem in problems(case):
        problem.check(operation, problem.compute(operation))


@pytest.mark.parametrize("case", TRANSPOSED[::7], ids=str)
def test_own_output_is_the_same(case, operation):
    """A result that convlab allocates has the bits of one written into `out`."""
    for problem in problems(case):
        bias = {"b": problem.b} if operation == "forward" else {}
        assert same_bits(getattr(problem, operation)(**bias), problem.compute(operation))


@pytest.mark.parametrize(
    "case", [case for case in TRANSPOSED if any(case.per_axis(case.output_padding))], ids=str
)
def test_output_size_stands_for_output_padding(case, layout):
    """Asking for the size that output_padding gives is the same call."""
    problem = Problem(case, "float64", layout)
    parameters = {**problem.parameters, "output_padding": 0}
    function = getattr(convlab, problem.name)
    y = function(problem.x, problem.w, problem.b, output_size=case.out_size, **parameters)
    assert same_bits(y, problem.forward(b=problem.b))


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_output_size_reaches_every_size_that_strides_to_the_input(nd):
    """Each of the sizes that share one strided output size can be asked for, and no other."""
    generator = rng("output_size", nd)
    x = generator.standard_normal((1, 2, *(3,) * nd))
    w = generator.standard_normal((2, 1, *(3,) * nd))
    conv_transpose = getattr(convlab, f"conv_transpose{nd}d")
    for size in (7, 8, 9):
        y = conv_transpose(x, w, stride=3, padding=1, output_size=(size,) * nd)
        assert y.shape == (1, 1, *(size,) * nd)
    for size in (6, 10):
        with pytest.raises(ValueError, match="output_size"):
            conv_transpose(x, w, stride=3, padding=1, output_size=(size,) * nd)


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_rows_that_no_input_reaches_get_the_bias(nd, layout, dtype):
    """Where stride exceeds the kernel the gaps hold the bias, not what was in memory."""
    case = Case("gaps", 2, 1, (3,) * nd, (2,) * nd, stride=4, output_padding=3, transposed=True)
    problem = Problem(case, dtype, layout)
    y = problem.compute("forward")
    image = y[..., 0] if layout == "channels_last" else y[:, 0]
    for axis in range(1, 1 + nd):
        assert (np.take(image, [2, 3, 6, 7, 10, 11, 12], axis) == problem.b[0]).all()


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_empty_axes_follow_the_mathematics(nd, dtype):
    """No images or no output channels give nothing; no input channels give the bias alone."""
    conv_transpose = getattr(convlab, f"conv_transpose{nd}d")
    size, kernel, out = (3,) * nd, (3,) * nd, (5,) * nd

    def call(n, ic, oc):
        x, w = np.ones((n, ic, *size), dtype), np.ones((ic, oc, *kernel), dtype)
        return conv_transpose(x, w, np.arange(1, oc + 1).astype(dtype))

    assert call(0, 2, 3).shape == (0, 3, *out)
    assert call(2, 2, 0).shape == (2, 0, *out)
    bias = np.arange(1, 4).reshape(3, *(1,) * nd)
    assert same_bits(call(2, 0, 3), np.broadcast_to(bias, (2, 3, *out)).astype(dtype))


# (kernel, stride, padding): each stride divides the kernel, but for the last, so phases read alike.
COMBS = [(4, 2, 1), (10, 5, 0), (6, 3, 2), (4, 4, 0), (9, 3, 4), (6, 2, 3), (5, 2, 1)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("case", COMBS, ids=str)
def test_phases_that_read_alike(case, channels, dtype, layout):
    """Few output channels: phases are rows of one product, each in its place."""
    kernel, stride, padding = case
    random = rng("combs", case, channels, dtype)
    x = random.integers(-4, 5, (2, 7, 33, 71)).astype(dtype)
    w = random.integers(-4, 5, (7, channels, kernel, kernel)).astype(dtype)
    expected = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(x), torch.from_numpy(w), stride=stride, padding=padding
    ).numpy()
    if layout == "channels_last":
        x, expected = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, expected))
        w = np.ascontiguousarray(np.moveaxis(w, (0, 1), (-2, -1)))
    y = convlab.conv_transpose2d(x, w, stride=stride, padding=padding, layout=layout)
    assert np.array_equal(y, expected)
