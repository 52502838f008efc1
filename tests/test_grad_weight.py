"""conv1d_grad_weight, conv2d_grad_weight, conv3d_grad_weight: dw against torch.autograd."""

import numpy as np
import pytest
from cases import CONVOLUTIONS, Case
from oracle import Problem, problems, same_bits

import convlab


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_grad_weight(case):
    """The gradient is torch's, every element written, nothing beside it touched."""
    for problem in problems(case):
        problem.check("grad_weight", problem.compute("grad_weight"))


@pytest.mark.parametrize("case", CONVOLUTIONS[::7], ids=str)
def test_own_output_is_the_same(case):
    """A result that convlab allocates has the bits of one written into `out`."""
    for problem in problems(case):
        assert same_bits(problem.grad_weight(), problem.compute("grad_weight"))


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_taps_that_meet_only_padding_get_zero(nd, dtype):
    """A tap that never leaves the padding has gradient zero and is not left out."""
    case = Case("outside", 2, 3, (1,) * nd, (5,) * nd, padding=2)
    dw = Problem(case, dtype).compute("grad_weight")
    centre = (slice(None), slice(None), *(2,) * nd)
    assert dw[centre].all()
    dw[centre] = 0
    assert not dw.any()


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_gradients_of_nothing_are_zeros(nd, layout, dtype):
    """A sum over no images is zero in every element of dw and db."""
    last = layout == "channels_last"
    size, kernel, out = (5,) * nd, (3,) * nd, (3,) * nd
    dy = np.ones((0, *out, 3) if last else (0, 3, *out), dtype)
    x = np.ones((0, *size, 2) if last else (0, 2, *size), dtype)
    w = np.ones((*kernel, 2, 3) if last else (3, 2, *kernel), dtype)
    dw = getattr(convlab, f"conv{nd}d_grad_weight")(dy, x, kernel, layout=layout)
    assert dw.shape == w.shape
    assert dw.dtype == dtype
    assert not dw.any()
    _, same, db = getattr(convlab, f"conv{nd}d_backward")(dy, x, w, layout=layout)
    assert same_bits(same, dw)
    assert same_bits(db, np.zeros(3, dtype))
