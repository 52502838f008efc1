"""Numbers below the normal range: zeros while a problem is computed, and nowhere else."""

import numpy as np
import pytest

import convlab

DENORMAL = {"float32": 1e-41, "float64": 1e-310}


def operands(dtype: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Half of x below the normal range."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, 8, size, size)).astype(dtype)
    x[:, ::2] *= DENORMAL[dtype]
    return x, rng.standard_normal((8, 8, 3, 3)).astype(dtype)


def zeroed(a: np.ndarray) -> np.ndarray:
    return np.where(np.abs(a) < np.finfo(a.dtype).tiny, 0, a)


@pytest.mark.parametrize("dtype", DENORMAL)
@pytest.mark.parametrize("size", [5, 40])
def test_denormal_inputs_are_zeros(dtype, size):
    """They cost no more than zeros do, and give what zeros give, in every operation."""
    x, w = operands(dtype, size)
    y = convlab.conv2d(x, w, padding=1)
    np.testing.assert_array_equal(y, convlab.conv2d(zeroed(x), w, padding=1))
    dx = convlab.conv2d_grad_input(x, w, x.shape, padding=1)
    np.testing.assert_array_equal(dx, convlab.conv2d_grad_input(zeroed(x), w, x.shape, padding=1))
    dw = convlab.conv2d_grad_weight(y, x, 3, padding=1)
    np.testing.assert_array_equal(dw, convlab.conv2d_grad_weight(y, zeroed(x), 3, padding=1))


@pytest.mark.parametrize("dtype", DENORMAL)
@pytest.mark.parametrize("size", [5, 120])
def test_the_callers_numbers_stay_as_they_are(dtype, size):
    """The caller's own arithmetic knows denormal numbers before and after a call, on any thread."""
    x, w = operands(dtype, size)
    small = np.full(64, DENORMAL[dtype], dtype)
    with convlab.num_threads(2):
        convlab.conv2d(x, w)
        convlab.conv2d_grad_weight(convlab.conv2d(x, w), x, 3)
    assert (small * np.asarray(2, dtype) > 0).all()


@pytest.mark.parametrize("dtype", DENORMAL)
def test_threads_agree(dtype):
    """A worker thread treats them as the caller's thread does."""
    x, w = operands(dtype, 120)
    results = []
    for threads in (1, 2, 3):
        with convlab.num_threads(threads):
            results.append(convlab.conv2d(x, w).tobytes())
    assert len(set(results)) == 1
