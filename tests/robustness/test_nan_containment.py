"""NaN and infinity reach the outputs that their element takes part in, and no others.

A vector that is wider than a row, a tile that is padded with zeros, or a sum that is taken in two
parts meets a neighbour's element times zero: harmless, unless that element is NaN.
"""

import numpy as np
import pytest
from cases import CASES, Case
from oracle import (
    ANSWER,
    LAYOUTS,
    Problem,
    assert_close,
    rng,
    swap_data_layout,
    swap_weight_layout,
    torch_results,
)

from convlab import _core

AVAILABLE = tuple(_core.config()["available"])
# Layers of every kind of loop, beside a share of the common table.
CHOSEN = [
    Case("channels", 17, 33, (5, 9), (3, 3), n=2, padding=1),
    Case("strided", 16, 24, (11, 13), (3, 3), padding=1, stride=2),
    Case("dilated", 9, 16, (12, 12), (3, 3), padding=2, dilation=2),
    Case("stride-over-kernel", 8, 8, (13, 11), (2, 2), stride=3),
    Case("depthwise", 19, 19, (9, 17), (3, 3), groups=19, padding=1),
    Case("depthwise-strided", 8, 8, (9, 17), (5, 5), groups=8, padding=2, stride=2),
    Case("groups", 12, 18, (7, 8), (3, 3), groups=3, n=2),
    Case("narrow-groups", 36, 36, (7, 9), (3, 3), groups=9, padding=1),
    Case("tiny", 5, 7, (2, 2), (3, 3), padding=1),
    Case("one-pixel", 33, 20, (1, 1), (3, 3), padding=1, n=3),
    Case("pointwise", 31, 18, (5, 7), (1, 1), n=2),
    Case("one-channel", 1, 1, (21, 37), (7, 7), padding=3),
    Case("first-layer", 3, 16, (17, 19), (7, 7), padding=3, stride=2),
    Case("line", 6, 10, (50,), (5,), padding=2, dilation=3),
    Case("volume", 4, 9, (4, 5, 6), (3, 2, 3), padding=1),
    Case("filtered", 33, 40, (9, 12), (3, 3), padding=1),
    Case("filtered", 32, 32, (13, 14), (4, 4), stride=2, padding=1),
]
PROBLEMS = [
    *CHOSEN,
    *(case.reversed() for case in CHOSEN),
    *CASES[::25],
]
# Which operation each operand enters, and which answer comes out.
ENTRANCES = [
    ("forward", "x"),
    ("forward", "w"),
    ("forward", "b"),
    ("grad_input", "dy"),
    ("grad_input", "w"),
    ("grad_weight", "dy"),
    ("grad_weight", "x"),
]


def _outputs_fed(case: Case, operation: str, operand: str, place: tuple[int, ...]) -> np.ndarray:
    """Tell which outputs an element of an operand takes part in, by torch."""
    shapes = {"x": case.x_shape(), "w": case.w_shape(), "b": (case.oc,), "dy": case.y_shape()}
    ones = {name: np.ones(shape) for name, shape in shapes.items()}
    ones["b"][:] = 0
    ones["x"] *= operand != "b"
    ones[operand] = np.zeros(shapes[operand])
    ones[operand][place] = 1
    fed = getattr(torch_results(case, **ones), ANSWER[operation]) != 0
    if not _meets_padding(case, operation, operand):
        return fed
    spatial = tuple(range(-case.nd, 0))
    return np.broadcast_to(fed.any(axis=spatial, keepdims=True), fed.shape)


def _meets_padding(case: Case, operation: str, operand: str) -> bool:
    """Whether an operand may be multiplied with padding, as NaN times zero, or may be left out.

    That is the weight, and what plays dy in a weight's gradient: they reach their whole channel.
    """
    return operand == "w" or (
        operation == "grad_weight" and operand == ("x" if case.transposed else "dy")
    )


def _places(case: Case, operand: str, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Both corners, and one element somewhere between."""
    inside = tuple(rng("place", str(case), operand).integers(0, shape))
    return [(0,) * len(shape), tuple(n - 1 for n in shape), inside]


def _swap(a: np.ndarray, name: str, case: Case) -> np.ndarray:
    if name == "w":
        return swap_weight_layout(a, case.transposed)
    return a if name == "b" else swap_data_layout(a, case.nd)


@pytest.mark.parametrize("isa", AVAILABLE)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", PROBLEMS, ids=str)
def test_non_finite_elements_stay_where_they_are_used(case, layout, isa, restore_isa):
    """Outside the reach of one NaN or infinity a result is what it was without it.

    But for rounding: sums that met such an element may be taken apart and made again.
    """
    assert _core.select_isa(isa)
    kept = ("forward", "grad_input", "grad_weight")
    result_of = dict(zip(kept, ("x", "x", "w"), strict=True))
    for dtype, value in (("float32", np.nan), ("float64", np.inf), ("float32", -np.inf)):
        problem = Problem(case, dtype)
        for operation, operand in ENTRANCES:
            operands = _operands(problem, operation)
            clean = _compute(problem, operation, operands, layout)
            spread = 2 * getattr(Problem(case, dtype, layout).spreads, ANSWER[operation])
            for place in _places(case, operand, operands[operand].shape):
                changed = operands[operand].copy()
                changed[place] = value
                spoiled = _compute(problem, operation, operands | {operand: changed}, layout)
                fed = _outputs_fed(case, operation, operand, place)
                if not fed.any():  # it meets nothing but padding, or nothing at all
                    continue
                if layout == "channels_last":
                    fed = _swap(fed, result_of[operation], case)
                label = f"{operation}: {value} in {operand}{list(place)}, {dtype}"
                assert_close(spoiled[~fed], clean[~fed].astype(float), spread[~fed], label)
                if not _meets_padding(case, operation, operand):
                    assert not np.isfinite(spoiled[fed]).any(), label


def _operands(problem: Problem, operation: str) -> dict[str, np.ndarray]:
    names = {"forward": "xwb", "grad_input": ("dy", "w"), "grad_weight": ("dy", "x")}[operation]
    return {name: getattr(problem, name) for name in names}


def _compute(
    problem: Problem, operation: str, operands: dict[str, np.ndarray], layout: str
) -> np.ndarray:
    case = problem.case
    if layout == "channels_last":
        operands = {name: _swap(a, name, case) for name, a in operands.items()}
    there = Problem(case, problem.dtype, layout)
    return getattr(there, operation)(**operands)


@pytest.mark.parametrize("isa", AVAILABLE)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinities_are_those_of_the_formula(layout, dtype, isa, restore_isa):
    """Where products are not summed as the formula has them, infinity must not meet itself.

    Infinite and huge elements, weights among them that are zero: each result is finite, infinite of
    one sign, or NaN, as in float64; huge ones overflow where the sum does, and not midway.
    """
    assert _core.select_isa(isa)
    case = Case("filtered", 48, 64, (12, 13), (3, 3), n=2, padding=1)
    problem = Problem(case, dtype)
    x, w, b, dy = (a.copy() for a in (problem.x, problem.w, problem.b, problem.dy))
    huge = np.finfo(dtype).max
    for a in (x, dy):
        a[0, 3, 4, 5], a[0, 5, 9, 12], a[1, 7, 0, 0] = np.inf, -np.inf, np.nan
        a[1, 9, 11, 12], a[1, 11, 6, 6] = huge, -huge / 4
    w[5, 6], w[9, 9, 1, 1], w[:, 9], w[10] = 0, np.inf, abs(w[:, 9]), w[10] * 1e-3
    computed = {
        "forward": {"x": x, "w": w, "b": b},
        "grad_input": {"dy": dy, "w": w},
        "grad_weight": {"dy": problem.dy, "x": x},
    }
    for operation, operands in computed.items():
        all_operands = {"x": x, "w": w, "b": b, "dy": dy} | operands
        with np.errstate(all="ignore"):
            answers = torch_results(case, **all_operands)
            expected = getattr(answers, ANSWER[operation]).astype(dtype)
        if layout == "channels_last":
            expected = _swap(expected, "w" if operation == "grad_weight" else "x", case)
        actual = _compute(problem, operation, operands, layout)
        assert not np.isfinite(expected).all()
        for kind in (np.isnan, np.isposinf, np.isneginf):
            assert np.array_equal(kind(actual), kind(expected)), (operation, kind.__name__)
