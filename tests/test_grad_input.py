"""conv1d_grad_input, conv2d_grad_input, conv3d_grad_input: dx against torch.autograd."""

import numpy as np
import pytest
from cases import CONVOLUTIONS, Case
from oracle import Problem, problems, same_bits

import convlab


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_grad_input(case):
    """The gradient is torch's, every element written, nothing beside it touched."""
    for problem in problems(case):
        problem.check("grad_input", problem.compute("grad_input"))


@pytest.mark.parametrize("case", CONVOLUTIONS[::7], ids=str)
def test_own_output_is_the_same(case):
    """A result that convlab allocates has the bits of one written into `out`."""
    for problem in problems(case):
        assert same_bits(problem.grad_input(), problem.compute("grad_input"))


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_rows_that_no_window_reaches_get_zero(nd, dtype):
    """Where stride leaves rows at the end unread, their gradient is zero and not left out."""
    case = Case("unread", 2, 3, (9,) * nd, (2,) * nd, stride=4)
    dx = Problem(case, dtype).compute("grad_input")
    for axis in range(2, 2 + nd):
        gaps = np.take(dx, [2, 3, 6, 7, 8], axis)
        assert not gaps.any()
    assert dx.any()


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_gradients_of_nothing_are_zeros(nd, layout, dtype):
    """No output channels: nothing depends on x. No images: nothing at all, in the right shape."""
    grad_input = getattr(convlab, f"conv{nd}d_grad_input")
    size, kernel, out = (5,) * nd, (3,) * nd, (3,) * nd
    last = layout == "channels_last"
    for n, oc in ((2, 0), (0, 3)):
        dy = np.ones((n, *out, oc) if last else (n, oc, *out), dtype)
        w = np.ones((*kernel, 2, oc) if last else (oc, 2, *kernel), dtype)
        shape = (n, *size, 2) if last else (n, 2, *size)
        dx = grad_input(dy, w, shape, layout=layout)
        assert dx.shape == shape
        assert dx.dtype == dtype
        assert not dx.any()
