"""How exact every operation is: its largest error, beside PyTorch's on the same data.

    python tests/robustness/accuracy_table.py

prints the table. Errors are in units of ``eps * sqrt(L * total)`` where an element is the sum of L
products whose squares total so much: what rounding at random leaves. The answers they are measured
against are far more exact: for float32 PyTorch's in float64, for float64 a sum of exact parts in
longdouble.
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
DTYPES = ("float32", "float64")
AVAILABLE = tuple(_core.config()["available"])
SEED = 20240229


@dataclass(frozen=True)
class Problem:
    """One layer, large enough for its largest error to mean something."""

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    transposed: bool = False
    options: dict[str, int] = field(default_factory=dict, hash=False)

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
    Problem("one channel, 7x7", (1, 1, 120, 120), (1, 1, 7, 7)),
    Problem("line, 32 to 32, 9", (2, 32, 600), (32, 32, 9), options={"dilation": 2}),
    Problem("volume, 12 to 16, 3", (1, 12, 10, 10, 10), (16, 12, 3, 3, 3)),
    Problem("transposed, 64 to 32, 4x4/2", (2, 64, 12, 12), (64, 32, 4, 4), True, {"stride": 2}),
)


class Row(NamedTuple):
    """Largest errors of one operation in one problem, ours and PyTorch's, and how they spread."""

    problem: str
    operation: str
    dtype: str
    isa: str
    elements: int
    ours: float
    theirs: float
    our_mean: float
    their_mean: float


def torch_results(problem: Problem, x, w, b, dy) -> list[np.ndarray]:
    """Forward and the three gradients in the dtype of the arrays."""
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = getattr(torch.nn.functional, problem.function)(*leaves, **problem.options)
    gradients = torch.autograd.grad(y, leaves, torch.tensor(dy))
    return [t.detach().numpy() for t in (y, *gradients)]


def our_results(problem: Problem, x, w, b, dy) -> list[np.ndarray]:
    y = getattr(convlab, problem.function)(x, w, b, **problem.options)
    backward = getattr(convlab, f"{problem.function}_backward")
    return [y, *backward(dy, x, w, **problem.options)]


def _parts(a: np.ndarray) -> list[np.ndarray]:
    """Split into three, the first two of so few bits that sums of their products are exact."""
    first = np.round(a * 2.0**16) / 2.0**16
    second = np.round((a - first) * 2.0**34) / 2.0**34
    return [first, second, a - first - second]


def exact_results(problem: Problem, x, w, b, dy) -> list[np.ndarray]:
    """Compute in longdouble: the sum of the results for every pair of parts."""
    totals = [0, 0, 0, 0]
    nothing = np.zeros_like(b)
    for i, j in itertools.product(range(3), repeat=2):
        # y takes x and w, dx takes dy and w, dw takes dy and x: each pair of parts once.
        y, dx, _, db = torch_results(problem, _parts(x)[i], _parts(w)[j], nothing, _parts(dy)[i])
        _, _, dw, _ = torch_results(problem, _parts(x)[i], _parts(w)[0], nothing, _parts(dy)[j])
        totals[0] = totals[0] + y.astype(np.longdouble)
        totals[1] = totals[1] + dx.astype(np.longdouble)
        totals[2] = totals[2] + dw.astype(np.longdouble)
        if j == 0:
            totals[3] = totals[3] + db.astype(np.longdouble)
    totals[0] = totals[0] + b.reshape(-1, *(1,) * problem.nd)
    return totals


def draw(problem: Problem, dtype: str) -> list[np.ndarray]:
    """x, w, b and dy, standard normal."""
    shape = getattr(convlab, f"{problem.function[:-2]}_output_shape")
    y_shape = shape(problem.x, problem.w, **problem.options)
    generator = np.random.default_rng([SEED, prod(problem.x), prod(problem.w)])
    return [
        generator.standard_normal(s).astype(dtype)
        for s in (problem.x, problem.w, (y_shape[1],), y_shape)
    ]


def measure(problem: Problem, dtype: str) -> Iterator[Row]:
    """Measure every operation of a problem on every instruction set of this machine."""
    operands = draw(problem, dtype)
    wide = [a.astype(np.float64) for a in operands]
    exact = (torch_results if dtype == "float32" else exact_results)(problem, *wide)
    counts = torch_results(problem, *(np.ones_like(a) for a in wide))
    squares = torch_results(problem, *(a**2 for a in wide))
    eps = np.finfo(dtype).eps
    units = [eps * np.sqrt(n * total) for n, total in zip(counts, squares, strict=True)]
    theirs = torch_results(problem, *operands)
    before = _core.config()["isa"]
    try:
        for isa in AVAILABLE:
            _core.select_isa(isa)
            ours = our_results(problem, *operands)
            for operation, *arrays in zip(OPERATIONS, ours, theirs, exact, units, strict=True):
                our, their, answer, unit = arrays
                # An element that no product enters has no error: 0 / 0 else.
                unit = np.where(unit > 0, unit, np.inf)
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
    """Lay the rows out as text."""
    lines = [
        "errors in units of eps * sqrt(L * total of squares), L products to an element",
        f"{'problem':29}{'operation':13}{'dtype':9}{'isa':9}"
        f"{'largest':>9}{'torch':>9}{'ratio':>7}{'rms':>9}{'torch':>9}{'ratio':>7}",
    ]
    for row in rows:
        lines.append(
            f"{row.problem:29}{row.operation:13}{row.dtype:9}{row.isa:9}"
            f"{row.ours:9.3f}{row.theirs:9.3f}{row.ours / max(row.theirs, 1e-9):7.2f}"
            f"{row.our_mean:9.4f}{row.their_mean:9.4f}"
            f"{row.our_mean / max(row.their_mean, 1e-9):7.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    torch.set_num_threads(1)
    rows = [row for p in PROBLEMS for dtype in DTYPES for row in measure(p, dtype)]
    print(table(rows))


if __name__ == "__main__":
    main()
