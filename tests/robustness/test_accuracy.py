"""Errors on well-scaled data: bounded, and never more than twice PyTorch's on the same data."""

from functools import cache

import numpy as np
import pytest
from oracle import SAFETY, same_bits
from robustness.accuracy_table import (
    AVAILABLE,
    DTYPES,
    PROBLEMS,
    Problem,
    Row,
    draw,
    measure,
    our_results,
    table,
    torch_results,
)

from convlab import _core

every_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)


@cache
def rows_of(problem: Problem, dtype: str) -> tuple[Row, ...]:
    return tuple(measure(problem, dtype))


@every_problem
@pytest.mark.parametrize("dtype", DTYPES)
def test_errors_are_those_of_rounding(problem, dtype):
    """Every operation and instruction set stays within the tolerance that all tests share."""
    rows = rows_of(problem, dtype)
    assert all(row.ours <= SAFETY for row in rows), table([r for r in rows if r.ours > SAFETY])


@every_problem
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_more_than_twice_the_error_of_torch(problem, dtype):
    """Speed is not bought with exactness: errors are at most two of PyTorch's.

    The largest are compared, and of few elements the typical ones.
    """
    worse = [row for row in rows_of(problem, dtype) if row.ratio > 2]
    assert not worse, table(worse)


@every_problem
def test_exact_sums_are_exact(problem, dtype, restore_isa):
    """Integers whose sums fit the significand give those sums, on every instruction set."""
    operands = [np.rint(a).astype(dtype) for a in draw(problem, dtype)]
    expected = torch_results(problem, *(a.astype(np.float64) for a in operands))
    for isa in AVAILABLE:
        assert _core.select_isa(isa)
        for ours, exact in zip(our_results(problem, *operands), expected, strict=True):
            assert same_bits(ours, exact.astype(dtype)), isa
