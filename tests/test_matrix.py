"""The matrix of a convolution: its product, its transpose, its structure."""

import sys

import numpy as np
import pytest
from oracle import rng

import convlab

# weight shape, input shape, options
CASES = [
    ((1, 1, 3, 3), (1, 6, 6), {}),
    ((4, 3, 2, 3), (3, 5, 6), {"stride": (2, 1)}),
    ((4, 3, 3, 3), (2, 3, 5, 6), {"padding": 2, "dilation": (1, 2)}),
    ((4, 2, 2, 2), (4, 5, 4), {"groups": 2, "padding": ((0, 1), (2, -1))}),
    ((6, 1, 3, 3), (2, 3, 5, 5), {"groups": 3, "padding": "same", "stride": 2}),
    ((2, 3, 1, 1), (3, 4, 4), {"padding": "same_lower", "stride": 3}),
]
every_case = pytest.mark.parametrize(("w_shape", "x_shape", "options"), CASES)


def integers(*shape):
    return rng(shape).integers(-5, 6, shape).astype(float)


@every_case
@pytest.mark.parametrize("sparse", [False, True])
def test_product_is_the_convolution(w_shape, x_shape, options, sparse):
    """M @ x.ravel() is conv2d(x, w).ravel(), exactly on integers, dense and sparse."""
    w, x = integers(*w_shape), integers(*x_shape)
    matrix = convlab.conv_matrix2d(w, x_shape, sparse=sparse, **options)
    y = convlab.conv2d(x, w, **options)
    assert matrix.shape == (y.size, x.size)
    assert np.array_equal(matrix @ x.ravel(), y.ravel())


@every_case
def test_transpose_is_the_transposed_convolution(w_shape, x_shape, options):
    """M.T @ y.ravel() is the transposed convolution of y, cut to the size of x."""
    w = integers(*w_shape)
    matrix = convlab.conv_matrix2d(w, x_shape, **options)
    y = integers(*convlab.conv_output_shape(x_shape, w_shape, **options))
    transposed = convlab.conv_transpose2d(y, w, output_size=x_shape[-2:], **options)
    assert np.array_equal(matrix.T @ y.ravel(), transposed.ravel())


@every_case
def test_sparse_is_the_dense_one(w_shape, x_shape, options):
    """Both forms hold the same numbers; the sparse one is canonical CSR without duplicates."""
    w = integers(*w_shape)
    sparse = convlab.conv_matrix2d(w, x_shape, sparse=True, **options)
    assert sparse.format == "csr"
    assert sparse.has_canonical_format
    assert np.array_equal(sparse.toarray(), convlab.conv_matrix2d(w, x_shape, **options))


@pytest.mark.parametrize(
    ("given", "dense", "sparse"),
    [
        ("float16", "float16", "float32"),
        ("float32", "float32", "float32"),
        ("int8", "float64", "float64"),
        ("complex64", "complex64", "complex64"),
        (">f8", "float64", "float64"),
    ],
)
def test_dtypes(given, dense, sparse):
    """The matrix has the weight's dtype as convolutions compute it."""
    w = np.ones((1, 1, 2, 2), given)
    assert convlab.conv_matrix2d(w, (1, 3, 3)).dtype == np.dtype(dense)
    assert convlab.conv_matrix2d(w, (1, 3, 3), sparse=True).dtype == np.dtype(sparse)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    ("w_shape", "x_shape"),
    [((0, 2, 2, 2), (2, 3, 3)), ((2, 0, 2, 2), (0, 3, 3)), ((2, 2, 2, 2), (0, 2, 3, 3))],
)
def test_empty_axes(w_shape, x_shape, sparse):
    """Without channels or images the matrix has no rows, no columns, or neither."""
    matrix = convlab.conv_matrix2d(np.ones(w_shape), x_shape, sparse=sparse)
    y_shape = convlab.conv_output_shape(x_shape, w_shape)
    assert matrix.shape == (np.prod(y_shape, dtype=int), np.prod(x_shape, dtype=int))


def test_without_scipy(monkeypatch):
    """Only sparse=True needs SciPy, and says so where it is missing."""
    monkeypatch.setitem(sys.modules, "scipy", None)
    w = np.ones((1, 1, 2, 2))
    with pytest.raises(ImportError, match=r"^conv_matrix2d: sparse=True needs SciPy"):
        convlab.conv_matrix2d(w, (1, 3, 3), sparse=True)
    assert convlab.conv_matrix2d(w, (1, 3, 3)).shape == (4, 9)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"input_shape": (3, 3)}, ValueError, "input_shape must have 4 axes"),
        ({"input_shape": 3}, TypeError, "input_shape must be a tuple of ints"),
        ({"input_shape": (2, 3, 3)}, ValueError, "weight has 1 input channels per group"),
        ({"w": np.ones((2, 2))}, ValueError, "weight must have 4 axes"),
        ({"w": np.ones((1, 1, 2, 2), object)}, TypeError, "w has dtype object"),
        ({"w": np.ones((1, 1, 4, 2))}, ValueError, "the kernel of size"),
        ({"stride": 0}, ValueError, "stride must be at least 1"),
        ({"sparse": 1}, TypeError, "sparse must be True or False, got int"),
    ],
)
def test_errors(arguments, error, message):
    """Bad arguments are named."""
    good = {"w": np.ones((1, 1, 2, 2)), "input_shape": (1, 3, 3)}
    with pytest.raises(error, match=f"^conv_matrix2d: {message}"):
        convlab.conv_matrix2d(**good | arguments)
