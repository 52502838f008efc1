"""The self-test: every operation through the kernels, against plain loops summed in double.

It needs nothing but NumPy, and covers what an installation can get wrong: the compiler, the choice
of instruction set, the binding. The test suite covers the rest.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

import convlab
from convlab import _core

TOLERANCE = 2.0  # in units of eps * sqrt(length of the sum), relative to the largest element

Array = np.ndarray[Any, np.dtype[Any]]
Geometry = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int, bool, bool]


@dataclass(frozen=True)
class Problem:
    """A convolution from x to y, and the transposed convolution from y to x."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    ic: int
    oc: int
    n: int = 2
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1


PROBLEMS = (
    Problem((40,), (5,), 3, 4, padding=2, dilation=2),
    Problem((9, 11), (3, 3), 17, 33, padding=1),
    Problem((13, 18), (3, 2), 8, 20, stride=2, padding=1),
    Problem((24, 37), (7, 5), 1, 1, n=1),
    Problem((10, 9), (3, 3), 24, 24, groups=24, padding=1),
    Problem((12, 7), (1, 1), 16, 40),
    Problem((9, 8), (3, 3), 12, 8, stride=3, padding=2, dilation=2, groups=4),
    Problem((5, 6, 7), (2, 3, 3), 4, 6, stride=2, padding=1),
)
OPERATIONS = (
    "conv",
    "conv_grad_input",
    "conv_grad_weight",
    "conv_transpose",
    "conv_transpose_grad_input",
    "conv_transpose_grad_weight",
)


@dataclass(frozen=True)
class Computation:
    """One result in two ways, and the length of the sums in it."""

    kernels: Callable[[], Array]
    reference: Callable[[Array], Any]
    length: int


def computations(p: Problem, dtype: str, layout: str, rng: np.random.Generator) -> Iterator[Any]:
    """Yield (operation, Computation) for the six operations of one problem."""
    nd, last = len(p.size), layout == "channels_last"

    def draw(batch: tuple[int, ...], channels: int, size: tuple[int, ...]) -> Array:
        shape = (*batch, *size, channels) if last else (*batch, channels, *size)
        return rng.standard_normal(shape).astype(dtype)

    # A transposed convolution restores only the rows and columns that windows reached.
    reach = [p.dilation * (k - 1) + 1 - 2 * p.padding for k in p.kernel]
    positions = [(i - r) // p.stride + 1 for i, r in zip(p.size, reach, strict=True)]
    reached = tuple(p.stride * (t - 1) + r for t, r in zip(positions, reach, strict=True))
    x, y = draw((p.n,), p.ic, reached), draw((p.n,), p.oc, tuple(positions))
    ic, taps = p.ic // p.groups, tuple(p.kernel)
    w = rng.standard_normal((*taps, ic, p.oc) if last else (p.oc, ic, *taps)).astype(dtype)
    # The same weight as the transposed convolution stores it.
    wt = np.ascontiguousarray(w.swapaxes(-1, -2)) if last else w

    options = {
        "stride": p.stride,
        "padding": p.padding,
        "dilation": p.dilation,
        "groups": p.groups,
        "layout": layout,
    }
    per_axis = ((p.stride,) * nd, (p.padding,) * nd, (p.dilation,) * nd)

    def geometry(transposed: bool) -> Geometry:
        return (*per_axis, p.groups, last, transposed)

    def run(name: str, *arguments: Any) -> Callable[[], Array]:
        stem, _, gradient = name.partition("_grad_")
        function = getattr(convlab, f"{stem}{nd}d" + (f"_grad_{gradient}" if gradient else ""))
        return lambda: function(*arguments, **options)

    def loops(primitive: Any, a: Array, b: Array, transposed: bool) -> Callable[[Array], Any]:
        return lambda out: primitive(out, a, b, None, *geometry(transposed), True)

    forward, backward = ic * prod(taps), p.oc // p.groups * prod(taps)
    weight = p.n * prod(positions)
    c, t = "conv", "conv_transpose"
    for name, arguments, primitive, a, b, transposed, length in (
        (c, (x, w), _core.forward, x, w, False, forward),
        (f"{c}_grad_input", (y, w, x.shape), _core.grad_input, y, w, False, backward),
        (f"{c}_grad_weight", (y, x, taps), _core.grad_weight, y, x, False, weight),
        (t, (y, wt), _core.grad_input, y, wt, True, backward),
        (f"{t}_grad_input", (x, wt), _core.forward, x, wt, True, forward),
        (f"{t}_grad_weight", (x, y, taps), _core.grad_weight, y, x, True, weight),
    ):
        kernels, reference = run(name, *arguments), loops(primitive, a, b, transposed)
        yield name, Computation(kernels, reference, length)


def error(computation: Computation) -> float:
    """Return the largest error, in units of eps * sqrt(length), relative to the largest element."""
    result = computation.kernels()
    expected = np.full_like(result, np.nan)
    computation.reference(expected)
    unit = np.finfo(result.dtype).eps * np.sqrt(computation.length) * np.abs(expected).max()
    # NaN, where it ever came up, must not pass for a small error.
    return float(np.nan_to_num(np.abs(result - expected).max() / unit, nan=np.inf))


def worst_errors(seed: int) -> dict[str, float]:
    """Return the worst error of each operation, over all problems, dtypes and layouts."""
    rng = np.random.default_rng(seed)
    worst = dict.fromkeys(OPERATIONS, 0.0)
    for problem in PROBLEMS:
        for dtype in ("float32", "float64"):
            for layout in ("channels_first", "channels_last"):
                for name, computation in computations(problem, dtype, layout, rng):
                    worst[name] = max(worst[name], error(computation))
    return worst


def run(seed: int = 0) -> int:
    """Check every operation on every instruction set of this machine, and print the errors.

    Parameters
    ----------
    seed : int
        Of the data.

    Returns
    -------
    int
        0, or 1 where an error exceeds the tolerance.
    """
    config = _core.config()
    before, names = config["isa"], list(reversed(config["available"]))
    columns = {}
    try:
        for name in names:
            _core.select_isa(name)
            columns[name] = worst_errors(seed)
    finally:
        _core.select_isa(before)

    width = max(map(len, OPERATIONS))
    print(f"largest errors against plain loops, in eps * sqrt(terms); seed {seed}\n")
    print(" " * width + "".join(f"{name:>10}" for name in names))
    for operation in OPERATIONS:
        errors = "".join(f"{columns[name][operation]:10.3g}" for name in names)
        print(f"{operation:<{width}}{errors}")
    worst = max(max(column.values()) for column in columns.values())
    passed = worst <= TOLERANCE
    print(f"\n{'passed' if passed else 'FAILED'}: at most {TOLERANCE:.0f} is allowed")
    return 0 if passed else 1
