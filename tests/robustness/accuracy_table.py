"""How exact every operation is: its largest error, beside PyTorch's on the same data.

    make accuracy

prints the table, and the worst of it for each operation, dtype and instruction set. Errors are in
units of ``eps * sqrt(L * total)`` where an element is the sum of L products whose squares total so
much: what rounding at random leaves. The answers they are measured against are far more exact: for
single precision PyTorch's in double, for double a sum of exact parts in longdouble.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple

import numpy as np
import torch

import convlab
from convlab import _core

OPERATIONS = ("forward", "grad_input", "grad_weight", "grad_bias")
DTYPES = ("float16", "float32", "float64", "complex64", "complex128")
AVAILABLE = tuple(_core.config()["available"])
SEED = 20240229
# The largest error is that of one element: the mean over a few draws is less a matter of luck.
DRAWS = 3
# Of few elements it stays one: what they err typically is compared.
MANY = 1000


@dataclass(frozen=True)
class Problem:
    """One layer, large enough for its largest error to mean something."""

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    transposed: bool = False
    options: dict[str, int] = field(default_factory=dict, hash=False)
    layout: str = "channels_first"  # of ours

    @property
    def nd(self) -> int:
        return len(self.x) - 2

    @property
    def function(self) -> str:
        return f"conv{'_transpose' if self.transposed else ''}{self.nd}d"


PROBLEMS = (
    Problem("64 to 64, 3x3", (2, 64, 20, 20), (64, 64, 3, 3), options={"padding": 1}),
    Problem("32 to 48, 3x3/2", (2, 32, 25, 25), (48, 32, 3, 3), options={"stride": 2}),
    Problem("256 to 64, 1x1", (2, 256, 14, 14), (64, 256, 1, 1)),
    Problem("3 to 32, 7x7/2", (2, 3, 48, 48), (32, 3, 7, 7), options={"stride": 2, "padding": 3}),
    Problem("depthwise 64, 3x3", (2, 64, 28, 28), (64, 1, 3, 3), options={"groups": 64}),
    Problem("one channel to 16, 7x7", (1, 1, 120, 120), (16, 1, 7, 7)),
    Problem("line, 32 to 32, 9", (2, 32, 600), (32, 32, 9), options={"dilation": 2}),
    Problem("volume, 12 to 16, 3", (1, 12, 10, 10, 10), (16, 12, 3, 3, 3)),
    Problem("transposed, 64 to 32, 4x4/2", (2, 64, 12, 12), (64, 32, 4, 4), True, {"stride": 2}),
    Problem("transposed line, 24 to 20, 5", (2, 24, 300), (24, 20, 5), True),
    Problem("groups, 128 to 128, 3x3", (2, 128, 18, 18), (128, 32, 3, 3), options={"groups": 4}),
    Problem("corners: 128 to 128, 3x3", (2, 128, 16, 16), (128, 128, 3, 3)),
    Problem("corners: 64 to 64, 2x2", (2, 64, 20, 20), (64, 64, 2, 2)),
    Problem("ends: line, 128 to 128, 5", (2, 128, 300), (128, 128, 5)),
    Problem("last: 64 to 64, 3x3", (2, 64, 20, 20), (64, 64, 3, 3), layout="channels_last"),
    Problem(
        "last: depthwise 64, 3x3",
        (2, 64, 28, 28),
        (64, 1, 3, 3),
        options={"groups": 64},
        layout="channels_last",
    ),
)


class Row(NamedTuple):
    """Largest errors of one operation in one problem, ours and PyTorch's, and the typical ones.

    Each is the mean over the draws.
    """

    problem: str
    operation: str
    dtype: str
    isa: str
    elements: int
    ours: float
    theirs: float
    our_rms: float
    their_rms: float

    @property
    def few(self) -> bool:
        return self.elements * DRAWS < MANY

    @property
    def ratio(self) -> float:
        """How much more than PyTorch it errs: at most, or typically where elements are few."""
        if self.few:
            return self.our_rms / max(self.their_rms, 1e-9)
        return self.ours / max(self.theirs, 1e-9)


def torch_results(problem: Problem, x, w, b, dy) -> list[np.ndarray]:
    """Forward and the three gradients in the dtype of the arrays."""
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = getattr(torch.nn.functional, problem.function)(*leaves, **problem.options)
    gradients = torch.autograd.grad(y, leaves, torch.tensor(dy))
    return [t.detach().numpy() for t in (y, *gradients)]


def our_results(problem: Problem, x, w, b, dy) -> list[np.ndarray]:
    forward = getattr(convlab, problem.function)
    backward = getattr(convlab, f"{problem.function}_backward")
    if problem.layout == "channels_first":
        return [forward(x, w, b, **problem.options), *backward(dy, x, w, **problem.options)]
    options = {**problem.options, "layout": problem.layout}
    x, dy = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, dy))
    axes = (*range(2, w.ndim), 1, 0)
    last = np.ascontiguousarray(w.transpose(axes))
    y, (dx, dw, db) = forward(x, last, b, **options), backward(dy, x, last, **options)
    return [np.moveaxis(y, -1, 1), np.moveaxis(dx, -1, 1), dw.transpose(np.argsort(axes)), db]


def _parts(a: np.ndarray) -> list[np.ndarray]:
    """Split into three, the first two of so few bits that sums of their products are exact."""
    first = np.round(a * 2.0**15) / 2.0**15
    second = np.round((a - first) * 2.0**32) / 2.0**32
    return [first, second, a - first - second]


def _longer(a: np.ndarray) -> np.ndarray:
    return a.astype(np.clongdouble if np.iscomplexobj(a) else np.longdouble)


def exact_results(problem: Problem, x, w, b, dy) -> list[np.ndarray]:
    """Compute in longdouble: the sum of the results for every pair of parts."""
    totals = [0, 0, 0, 0]
    nothing = np.zeros_like(b)
    for i, j in itertools.product(range(3), repeat=2):
        # y takes x and w, dx takes dy and w, dw takes dy and x: each pair of parts once.
        y, dx, _, db = torch_results(problem, _parts(x)[i], _parts(w)[j], nothing, _parts(dy)[i])
        _, _, dw, _ = torch_results(problem, _parts(x)[i], _parts(w)[0], nothing, _parts(dy)[j])
        totals[0] = totals[0] + _longer(y)
        totals[1] = totals[1] + _longer(dx)
        totals[2] = totals[2] + _longer(dw)
        if j == 0:
            totals[3] = totals[3] + _longer(db)
    totals[0] = totals[0] + b.reshape(-1, *(1,) * problem.nd)
    return totals


def draw(problem: Problem, dtype: str, nth: int = 0) -> list[np.ndarray]:
    """x, w, b and dy, standard normal."""
    shape = getattr(convlab, f"{problem.function[:-2]}_output_shape")
    y_shape = shape(problem.x, problem.w, **problem.options)
    generator = np.random.default_rng([SEED + nth, prod(problem.x), prod(problem.w)])
    arrays = [generator.standard_normal(s) for s in (problem.x, problem.w, y_shape[1:2], y_shape)]
    if np.dtype(dtype).kind == "c":
        arrays = [a + 1j * generator.standard_normal(a.shape) for a in arrays]
    return [a.astype(dtype) for a in arrays]


def measure(problem: Problem, dtype: str) -> list[Row]:
    """Measure every operation of a problem on every instruction set of this machine."""
    draws = [list(_measure(problem, dtype, nth)) for nth in range(DRAWS)]
    return [
        Row(*rows[0][:5], *(float(np.mean(errors)) for errors in list(zip(*rows, strict=True))[5:]))
        for rows in zip(*draws, strict=True)
    ]


def _measure(problem: Problem, dtype: str, nth: int) -> Iterator[Row]:
    """Measure one draw."""
    operands = draw(problem, dtype, nth)
    wider = np.complex128 if np.dtype(dtype).kind == "c" else np.float64
    wide = [a.astype(wider) for a in operands]
    exact = (exact_results if np.dtype(dtype) == wider else torch_results)(problem, *wide)
    counts = torch_results(problem, *(np.ones(a.shape) for a in wide))
    squares = torch_results(problem, *(np.abs(a) ** 2 for a in wide))
    eps = np.finfo(dtype).eps
    # An element that no product enters has no error: 0 / 0 else.
    units = [
        np.where(total > 0, eps * np.sqrt(n * total), np.inf)
        for n, total in zip(counts, squares, strict=True)
    ]
    theirs = torch_results(problem, *operands)
    before = _core.config()["isa"]
    try:
        for isa in AVAILABLE:
            _core.select_isa(isa)
            ours = our_results(problem, *operands)
            for operation, *arrays in zip(OPERATIONS, ours, theirs, exact, units, strict=True):
                our, their, answer, unit = arrays
                errors = [np.abs(a - answer).astype(np.float64) / unit for a in (our, their)]
                yield Row(
                    problem.name,
                    operation,
                    dtype,
                    isa,
                    our.size,
                    *(float(e.max()) for e in errors),
                    *(float(np.sqrt((e**2).mean())) for e in errors),
                )
    finally:
        _core.select_isa(before)


def table(rows: list[Row]) -> str:
    """Lay the rows out as text; numbers of a row are the largest and the typical error."""
    lines = [
        "errors in units of eps * sqrt(L * total of squares), L products to an element",
        f"{'problem':29}{'operation':13}{'dtype':9}{'isa':9}"
        f"{'largest':>9}{'torch':>9}{'ratio':>7}{'rms':>9}{'torch':>9}{'ratio':>7}",
    ]
    for row in rows:
        lines.append(
            f"{row.problem:29}{row.operation:13}{row.dtype:9}{row.isa:9}"
            f"{row.ours:9.3f}{row.theirs:9.3f}{row.ours / max(row.theirs, 1e-9):7.2f}"
            f"{row.our_rms:9.4f}{row.their_rms:9.4f}"
            f"{row.our_rms / max(row.their_rms, 1e-9):7.2f}"
        )
    return "\n".join(lines)


def summary(rows: list[Row]) -> str:
    """Lay out, for each operation, dtype and instruction set, the problem worst beside PyTorch."""
    lines = [
        "the worst problem: largest error, PyTorch's (typical ones where elements are few), ratio",
        f"{'':22}" + "".join(f"{operation:>24}" for operation in OPERATIONS),
    ]
    for dtype, isa in itertools.product(DTYPES, AVAILABLE):
        line = f"{dtype:12}{isa:10}"
        for operation in OPERATIONS:
            own = [r for r in rows if (r.dtype, r.isa, r.operation) == (dtype, isa, operation)]
            worst = max(own, key=lambda row: row.ratio)
            pair = (worst.ours, worst.theirs)
            if worst.few:
                pair = (worst.our_rms, worst.their_rms)
            line += f"{pair[0]:10.3f}{pair[1]:8.3f}{worst.ratio:6.2f}"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    torch.set_num_threads(1)
    rows = [row for p in PROBLEMS for dtype in DTYPES for row in measure(p, dtype)]
    print(table(rows))
    print()
    print(summary(rows))


if __name__ == "__main__":
    main()
