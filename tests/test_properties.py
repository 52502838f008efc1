"""What must hold of a convolution without anybody else's answer to compare with.

Data are small integers wherever the property is an equation between results: every sum is then
exact in float32, so both sides are equal and no tolerance is needed.
"""

from math import fsum, prod

import numpy as np
import pytest
from cases import CASES, CONVOLUTIONS, TRANSPOSED, Case
from oracle import (
    SAFETY,
    Problem,
    integer_operands,
    problems,
    rng,
    same_bits,
    torch_results,
)

import convlab


@pytest.mark.parametrize("case", CASES, ids=str)
def test_integers_are_exact(case):
    """Integer data whose sums fit the significand give the exact integers, in float32 too."""
    x, w, b, dy = integer_operands(case)
    expected = torch_results(case, x, w, b, dy)
    problem = Problem(case, "float32")
    assert np.array_equal(problem.forward(x, w, b), expected.y)
    assert np.array_equal(problem.grad_input(dy, w), expected.dx)
    assert np.array_equal(problem.grad_weight(dy, x), expected.dw)


def _inner(a: np.ndarray, b: np.ndarray) -> float:
    """Return the inner product, its sum rounded once."""
    return fsum((a.astype(np.float64) * b).ravel())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_adjoint_identity(case):
    """<conv(x, w), dy> = <x, grad_input(dy, w)> = <w, grad_weight(dy, x)>.

    The tolerance is that of the three results, carried through the inner products.
    """
    problem = Problem(case)
    pairs = [
        (problem.forward(), problem.dy, problem.spreads.y),
        (problem.grad_input(), problem.x, problem.spreads.dx),
        (problem.grad_weight(), problem.w, problem.spreads.dw),
    ]
    products = [_inner(result, operand) for result, operand, _ in pairs]
    errors = [np.linalg.norm(spread * operand) for _, operand, spread in pairs]
    eps = np.finfo(np.float64).eps
    for i in (1, 2):
        assert abs(products[0] - products[i]) <= SAFETY * eps * (errors[0] + errors[i])


@pytest.mark.parametrize("case", CASES[::5], ids=str)
def test_linear_in_each_operand(case, layout):
    """f(2a - 3b) = 2 f(a) - 3 f(b) in x, in w and in dy, for every operation."""
    problem = Problem(case, "float64", layout)
    generator = rng("linear", str(case))
    shapes = (problem.x.shape, problem.w.shape, problem.dy.shape)
    x, w, dy = (generator.integers(-5, 6, shape).astype(np.float64) for shape in shapes)
    maps = [
        (lambda a: problem.forward(a, w), x.shape),
        (lambda a: problem.forward(x, a), w.shape),
        (lambda a: problem.grad_input(a, w), dy.shape),
        (lambda a: problem.grad_input(dy, a), w.shape),
        (lambda a: problem.grad_weight(a, x), dy.shape),
        (lambda a: problem.grad_weight(dy, a), x.shape),
    ]
    for f, shape in maps:
        a, b = generator.integers(-5, 6, (2, *shape)).astype(np.float64)
        assert np.array_equal(f(2 * a - 3 * b), 2 * f(a) - 3 * f(b))


@pytest.mark.parametrize("case", [case for case in CASES if case.groups > 1][::2], ids=str)
def test_groups_are_separate_convolutions(case):
    """A grouped operation is one operation per group, side by side."""
    x, w, b, dy = integer_operands(case)
    problem = Problem(case, "float32")
    channels = -case.nd - 1
    xs, dys = (np.split(a, case.groups, axis=channels) for a in (x, dy))
    ws, bs = np.split(w, case.groups), np.split(b, case.groups)
    one = {**problem.parameters, "groups": 1}
    conv, grad_input, grad_weight = (
        getattr(convlab, problem.name + suffix) for suffix in ("", "_grad_input", "_grad_weight")
    )

    ys = [conv(*part, **one) for part in zip(xs, ws, bs, strict=True)]
    assert np.array_equal(problem.forward(x, w, b), np.concatenate(ys, channels))
    shape = () if case.transposed else (xs[0].shape,)
    dxs = [grad_input(*part, *shape, **one) for part in zip(dys, ws, strict=True)]
    assert np.array_equal(problem.grad_input(dy, w), np.concatenate(dxs, channels))
    dws = [grad_weight(*part, case.kernel, **one) for part in zip(dys, xs, strict=True)]
    assert np.array_equal(problem.grad_weight(dy, x), np.concatenate(dws))


@pytest.mark.parametrize("case", CASES[::5], ids=str)
def test_finite_differences(case):
    """The gradients are the slopes of <y, dy>.

    y is linear in each operand alone, so a central difference has no truncation error for any step,
    and with integer data no rounding error either: it must equal the inner product of gradient and
    direction.
    """
    x, w, b, dy = integer_operands(case, "float64")
    problem = Problem(case)
    problem.x, problem.w, problem.dy = x, w, dy
    gradients = problem.backward()
    generator = rng("direction", str(case))
    for i, gradient in enumerate(gradients):
        operands = [x, w, b]
        direction = generator.integers(-2, 3, operands[i].shape)
        sides = []
        for step in (1, -1):
            operands[i] = (x, w, b)[i] + step * direction
            sides.append((problem.forward(*operands) * dy).sum())
        assert (sides[0] - sides[1]) / 2 == (gradient * direction).sum()


@pytest.mark.parametrize(
    "case",
    [case for case in TRANSPOSED if case.n == 1 and prod(case.y_shape()) < 400][::3],
    ids=str,
)
def test_transposed_is_the_transposed_matrix(case):
    """Written as matrices, a transposed convolution is the transpose of the convolution.

    The matrix of the convolution is found by convolving every unit image.
    """
    x, w, _, _ = integer_operands(case)
    parameters = {**case.parameters, "padding": case.pads}
    del parameters["output_padding"]
    images = np.eye(prod(case.y_shape()), dtype="float32").reshape(-1, *case.y_shape()[1:])
    rows = getattr(convlab, f"conv{case.nd}d")(images, w, **_same_positions(case, parameters))
    matrix = rows.reshape(len(images), -1).T
    y = Problem(case, "float32").forward(x, w)
    assert np.array_equal(y.ravel(), matrix.T @ x.ravel())


def _same_positions(case: Case, parameters: dict) -> dict:
    """Pad the convolution from y back to x such that it ends at x's last position."""
    stride = case.per_axis(case.stride)
    axes = zip(case.out_size, case.size, case.reach, stride, case.pads, strict=True)
    pads = tuple((before, s * (n - 1) + r - before - y) for y, n, r, s, (before, _) in axes)
    return {**parameters, "padding": pads}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_conv_matrix_is_the_convolution(sparse, transposed):
    """conv_matrix2d(w) @ x is conv2d(x, w), and its transpose is the transposed convolution."""
    pytest.importorskip("scipy")
    cases = CONVOLUTIONS if not transposed else TRANSPOSED
    chosen = [c for c in cases if c.nd == 2 and c.n == 1 and prod(c.x_shape()) < 200]
    assert len(chosen) > 20
    for case in chosen:
        x, w, _, _ = integer_operands(case, "float64")
        parameters = {k: v for k, v in case.parameters.items() if k != "output_padding"}
        if transposed:
            parameters = _same_positions(case, parameters)
        shape = case.y_shape() if transposed else case.x_shape()
        matrix = convlab.conv_matrix2d(w, shape, sparse=sparse, **parameters)
        y = Problem(case).forward(x, w)
        assert np.array_equal((matrix.T if transposed else matrix) @ x.ravel(), y.ravel()), case


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_translation_equivariance(nd, stride):
    """Shifting x by whole strides shifts y by as many positions."""
    case = Case("shift", 3, 5, (17, 14, 19)[-nd:], (3, 2, 4)[-nd:], n=2, stride=stride)
    x, w, _, _ = integer_operands(case)
    problem = Problem(case, "float32")
    y = problem.forward(x, w)
    for axis in range(2, 2 + nd):
        for shift in (1, 2):
            rest = np.take(x, range(shift * stride, x.shape[axis]), axis)
            expected = np.take(y, range(shift, y.shape[axis]), axis)
            assert np.array_equal(problem.forward(rest, w), expected)


@pytest.mark.parametrize("case", CASES[::9], ids=str)
def test_same_call_same_bits(case, operation):
    """Nothing of an earlier call, of memory or of time shows in a result."""
    for problem in problems(case):
        first = problem.compute(operation)
        Problem(CASES[0], problem.dtype, problem.layout).compute(operation)
        assert same_bits(first, problem.compute(operation))


@pytest.mark.parametrize("case", CASES[::9], ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_values_stay_in_their_receptive_field(case, value):
    """One NaN or infinity in x reaches exactly the outputs whose windows cover it."""
    x = integer_operands(case)[0]
    w = np.ones(case.w_shape(), "float32")
    problem = Problem(case, "float32")
    place = tuple(rng("place", str(case)).integers(0, x.shape))
    touched = np.zeros_like(x)
    touched[place] = 1
    reached = problem.forward(touched, w) != 0
    x[place] = value
    y = problem.forward(x, w)
    assert np.array_equal(~np.isfinite(y), reached)
