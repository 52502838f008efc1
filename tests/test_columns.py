"""unfold and fold: against torch, and as adjoints of one another."""

import numpy as np
import pytest
import torch
from oracle import rng

import convlab

# kernel_size, options
CASES_2D = [
    ((2, 2), {}),
    ((3, 2), {"stride": (2, 1)}),
    ((2, 3), {"padding": (2, 1)}),
    ((3, 3), {"dilation": (2, 1), "padding": 1}),
    ((2, 1), {"stride": 3, "dilation": (3, 2), "padding": (1, 0)}),
    ((1, 1), {"stride": (2, 3)}),
]
CASES = [
    *((kernel, options) for kernel, options in CASES_2D),
    ((3,), {"stride": 2, "padding": ((0, 1),)}),
    ((2, 1, 2), {"padding": "same", "stride": (1, 2, 2)}),
    ((2, 2), {"padding": ((-1, 2), (0, -2))}),
    ((3, 3), {"padding": "same_lower", "stride": 2}),
]


def integers(*shape):
    return rng(shape).integers(-5, 6, shape).astype(float)


@pytest.mark.parametrize(("kernel", "options"), CASES_2D)
def test_unfold_agrees_with_torch(kernel, options):
    """The same rows and columns in the same order as torch's unfold."""
    x = integers(2, 3, 7, 8)
    expected = torch.nn.functional.unfold(torch.tensor(x), kernel, **options)
    assert np.array_equal(convlab.unfold(x, kernel, **options), expected.numpy())


@pytest.mark.parametrize(("kernel", "options"), CASES_2D)
def test_fold_agrees_with_torch(kernel, options):
    """The same sums as torch's fold."""
    columns = convlab.unfold(integers(2, 3, 7, 8), kernel, **options)
    expected = torch.nn.functional.fold(torch.tensor(columns), (7, 8), kernel, **options)
    assert np.array_equal(convlab.fold(columns, (7, 8), kernel, **options), expected.numpy())


@pytest.mark.parametrize(("kernel", "options"), CASES)
def test_fold_is_the_adjoint(kernel, options):
    """<unfold(x), c> = <x, fold(c)>, exactly on integers, for every form of padding and rank."""
    size = (7, 8, 5)[: len(kernel)]
    x = integers(2, 3, *size)
    columns = convlab.unfold(x, kernel, **options)
    c = integers(*columns.shape)
    assert np.vdot(columns, c) == np.vdot(x, convlab.fold(c, size, kernel, **options))


@pytest.mark.parametrize(("kernel", "options"), CASES)
def test_convolution_is_a_product_of_columns(kernel, options):
    """w.reshape(C_out, -1) @ unfold(x) is the convolution, for every form of padding and rank."""
    nd = len(kernel)
    x, w = integers(2, 3, *(7, 8, 5)[:nd]), integers(4, 3, *kernel)
    y = getattr(convlab, f"conv{nd}d")(x, w, **options)
    product = w.reshape(4, -1) @ convlab.unfold(x, kernel, **options)
    assert np.array_equal(product.reshape(y.shape), y)


@pytest.mark.parametrize(
    ("given", "returned"),
    [
        ("float16", "float16"),
        ("float32", "float32"),
        ("int32", "float64"),
        ("complex64", "complex64"),
        (">f8", "float64"),
    ],
)
def test_dtypes(given, returned):
    """Dtypes follow the rules of the convolutions."""
    x = integers(1, 2, 4, 4)
    expected = convlab.unfold(x, 2)
    columns = convlab.unfold(x.astype(given), 2)
    assert columns.dtype == np.dtype(returned)
    assert np.array_equal(columns, expected)
    folded = convlab.fold(columns.astype(given), 4, 2)
    assert folded.dtype == np.dtype(returned)
    assert np.array_equal(folded, convlab.fold(expected, 4, 2))


def test_no_batch_axis_and_views():
    """Without N in there is none out; strided and reversed views are read right."""
    x = integers(3, 14, 16)[:, ::-2, ::2]
    columns = convlab.unfold(x, 2)
    assert np.array_equal(columns, convlab.unfold(x.copy()[None], 2)[0])
    assert np.array_equal(
        convlab.fold(columns[:, ::-1], (7, 8), 2),
        convlab.fold(columns[:, ::-1].copy()[None], (7, 8), 2)[0],
    )


def test_empty_axes():
    """No images or channels: empty columns; folding no positions is impossible."""
    assert convlab.unfold(np.ones((0, 2, 4, 4)), 2).shape == (0, 8, 9)
    assert convlab.unfold(np.ones((2, 0, 4, 4)), 2).shape == (2, 0, 9)
    assert convlab.fold(np.ones((2, 0, 9)), 4, 2).shape == (2, 0, 4, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: convlab.unfold(np.ones((4, 4)), 2), ValueError, "unfold: x must have 4 axes"),
        (lambda: convlab.unfold(None, 2), TypeError, "unfold: x must be an array, got None"),
        (
            lambda: convlab.unfold(np.ones((1, 1, 4, 4)), 5),
            ValueError,
            r"unfold: the kernel of size \(5, 5\) is larger than the padded input",
        ),
        (
            lambda: convlab.unfold(np.ones((1, 1, 4, 4)), (1, 2, 3, 4)),
            ValueError,
            "unfold: kernel_size has 4 values",
        ),
        (
            lambda: convlab.unfold(np.ones((1, 1, 4, 4)), 0),
            ValueError,
            "unfold: kernel_size must be at least 1, got 0",
        ),
        (
            lambda: convlab.unfold(np.ones((1, 1, 4, 4)), 2.0),
            TypeError,
            "unfold: kernel_size must be an int, got float",
        ),
        (
            lambda: convlab.fold(np.ones((1, 4, 8)), 4, 2),
            ValueError,
            r"fold: columns must have 9 columns, for windows at \(3, 3\) positions, got 8",
        ),
        (
            lambda: convlab.fold(np.ones((1, 5, 9)), 4, 2),
            ValueError,
            "fold: columns has 5 rows, which the 4 elements",
        ),
        (
            lambda: convlab.fold(np.ones((1, 4, 9)), (4, 4, 4), (2, 2)),
            ValueError,
            "fold: output_size has 3 values and kernel_size has 2 values",
        ),
        (
            lambda: convlab.fold(np.ones((4, 1, 4, 9)), 4, 2),
            ValueError,
            "fold: columns must have 3 axes",
        ),
        (
            lambda: convlab.fold(np.ones((1, 4, 9)), 2**70, 2),
            ValueError,
            "fold: output_size is out of range",
        ),
    ],
)
def test_errors(call, error, message):
    """Bad arguments are named."""
    with pytest.raises(error, match=f"^{message}"):
        call()
