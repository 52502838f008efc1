"""The judge is judged: the table of shapes and the reference answers."""

import itertools

import numpy as np
import pytest
import torch
from cases import _FACTORS, CASES, TRANSPOSED, Case, _pairwise
from oracle import assert_close, draw, torch_conv
from torch.nn import functional


def test_shapes_agree_with_torch():
    """Shape arithmetic of the table, written from the formulas, is torch's."""
    for case in CASES:
        x, w, b, _ = (torch.from_numpy(a) for a in draw(case, "float32"))
        assert torch_conv(case, x, w, b).shape == case.y_shape(), case


@pytest.mark.parametrize("nd", [1, 2, 3])
def test_transposed_reference_is_torchs_own(nd):
    """Cropping a whole transposed convolution is what torch's padding arguments mean."""
    cases = [
        case
        for case in TRANSPOSED
        if case.nd == nd
        and all(before == after >= 0 for before, after in case.pads)
        and "same" not in str(case.padding)
    ]
    assert len(cases) > 50
    operation = getattr(functional, f"conv_transpose{nd}d")
    for case in cases:
        x, w, b, _ = (torch.from_numpy(a).double() for a in draw(case, "float64"))
        options = {**case.parameters, "padding": [before for before, _ in case.pads]}
        torch.testing.assert_close(torch_conv(case, x, w, b), operation(x, w, b, **options))


def test_every_pair_of_values_is_in_the_covering_table():
    """The pairs of the table are all there: no parameter hides behind another."""
    rows = _pairwise(_FACTORS)
    for (f, left), (g, right) in itertools.combinations(_FACTORS.items(), 2):
        for a, b in itertools.product(left, right):
            assert any(row[f] == a and row[g] == b for row in rows), (f, a, g, b)


def test_ids_are_unique_and_cases_valid():
    """Each id names one case, so that a failure can be run again by its id."""
    assert len({str(case) for case in CASES}) == len(CASES)
    assert all(case.valid for case in CASES)


def test_tolerance_notices_one_wrong_product():
    """The tolerance is tight enough to fail when a single product of hundreds is left out."""
    case = Case("sum", 64, 1, (3,), (3,))
    x, w, *_ = draw(case, "float32")
    terms = (x[0] * w[0]).astype(np.float64)
    spread = np.array(np.sqrt(terms.size * np.square(terms).sum()))
    exact = np.array(terms.sum())
    assert_close(exact.astype(np.float32), exact, spread)
    smallest = np.sort(np.abs(terms), axis=None)[10]
    with pytest.raises(AssertionError, match="1 of 1 elements are wrong"):
        assert_close((exact - smallest).astype(np.float32), exact, spread)


def test_unwritten_elements_are_wrong():
    """NaN in a result fails, whatever the tolerance."""
    with pytest.raises(AssertionError, match="1 of them NaN"):
        assert_close(np.array([0.0, np.nan]), np.zeros(2), np.full(2, np.inf))
