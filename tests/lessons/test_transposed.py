"""Lesson D: transposed convolution as scatter, as a matrix and as rows."""

import numpy as np
import pytest
from lesson_oracle import assert_agrees, autograd
from numpy.testing import assert_array_equal
from oracle import rng
from torch.nn import functional

import convlab
from convlab.lessons.transposed import (
    column_vector,
    conv_matrix,
    im2rows,
    output_padding_for,
    rows2im,
    transposed_conv,
    transposed_conv2d,
)

# stride, padding, output_padding, dilation
GEOMETRIES = [
    (1, 0, 0, 1),
    (2, 1, 1, 1),
    (3, 0, 2, 1),
    (1, 2, 0, 1),
    (1, 1, 1, 2),
    (2, 0, 1, 3),
    ((2, 3), (1, 0), (1, 2), (1, 2)),
    (4, 0, 1, 1),
]


def scatter_by_hand(X, K, stride, padding, output_padding, dilation):
    """Finish the notebook's loop: throw windows onto the full plane, then cut it out."""
    (sh, sw), (ph, pw), (oh, ow), (dh, dw) = (
        np.broadcast_to(value, 2) for value in (stride, padding, output_padding, dilation)
    )
    (h, w), (kh, kw) = X.shape, K.shape
    full = np.zeros((sh * (h - 1) + dh * (kh - 1) + 1 + oh, sw * (w - 1) + dw * (kw - 1) + 1 + ow))
    for i, j in np.ndindex(h, w):
        top, left = i * sh, j * sw
        window = full[top : top + dh * (kh - 1) + 1 : dh, left : left + dw * (kw - 1) + 1 : dw]
        window += X[i, j] * K
    return full[ph : full.shape[0] - ph, pw : full.shape[1] - pw]


def integer_problem(*label):
    """Draw a rectangular plane and kernel of small integers: every sum is exact."""
    generator = rng(*label)
    return generator.integers(-9, 10, (4, 5)), generator.integers(-9, 10, (3, 2))


def test_transposed_conv_worked_example():
    """Protects the lesson's numbers."""
    X = np.array([[0, 1], [2, 3]])
    assert_array_equal(transposed_conv(X, X), [[0, 0, 1], [0, 4, 6], [4, 12, 9]])


def test_scatter_with_stride_and_output_padding():
    """Protects the example in whose loop the notebook stopped."""
    X = np.arange(1, 17).reshape(4, 4)
    Y = transposed_conv(X, np.ones((3, 3)), stride=4, padding=0, output_padding=1)
    assert Y.shape == (16, 16)
    blocks = np.kron(X, np.pad(np.ones((3, 3)), ((0, 1), (0, 1))))
    assert_array_equal(Y, blocks)


def test_stride_5_gives_36x36():
    """Protects the lesson's size: stride 5, kernel 3, padding 1 on 8x8."""
    assert transposed_conv(np.ones((8, 8)), np.ones((3, 3)), stride=5, padding=1).shape == (36, 36)
    assert conv_matrix(np.ones((3, 3)), 5, 8, 1, sparse=True)[1] == 36


@pytest.mark.parametrize("stride, padding, output_padding, dilation", GEOMETRIES)
def test_scatter_against_the_loop_and_torch(stride, padding, output_padding, dilation):
    """Protects scatter for every parameter and rectangles."""
    X, K = integer_problem("scatter")
    geometry = {
        "stride": stride,
        "padding": padding,
        "output_padding": output_padding,
        "dilation": dilation,
    }
    Y = transposed_conv(X, K, **geometry)
    assert_array_equal(Y, scatter_by_hand(X, K, **geometry))

    def operation(x, k):
        return functional.conv_transpose2d(x[None, None], k[None, None], **geometry)[0, 0]

    assert_array_equal(Y, autograd(operation, (X, K), np.zeros(Y.shape))[0])


def test_matrix_worked_example():
    """Protects the lesson's shapes: K 3x3, X 6x6, stride 1."""
    K, X = np.arange(9).reshape(3, 3), np.arange(36).reshape(6, 6)
    W, output_size = conv_matrix(K, input_size=6)
    assert W.T.shape == (64, 36)
    assert output_size == 8
    assert isinstance(output_size, int)
    assert_array_equal((W.T @ column_vector(X)).reshape(8, 8), transposed_conv(X, K))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("stride, padding, output_padding, dilation", GEOMETRIES)
def test_matrix_is_the_scatter(stride, padding, output_padding, dilation, sparse):
    """Protects W.T for every parameter, and W itself as the convolution on the way back."""
    X, K = integer_problem("matrix")
    W, output_size = conv_matrix(
        K, stride, X.shape, padding, dilation, output_padding, sparse=sparse
    )
    Y = transposed_conv(X, K, stride, padding, output_padding, dilation)
    assert output_size == Y.shape
    assert_array_equal((W.T @ column_vector(X)).reshape(output_size), Y)
    h, w = X.shape
    back = convlab.conv2d(Y[None], K[None, None], stride=stride, padding=padding, dilation=dilation)
    assert_array_equal((W @ column_vector(Y)).reshape(X.shape), back[0, :h, :w])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matrix_keeps_the_dtype(dtype):
    """Protects float32."""
    W, _ = conv_matrix(np.ones((2, 2), dtype), input_size=3)
    assert W.dtype == np.dtype(dtype)


def test_matrix_sizes_are_ints_for_a_square_and_pairs_for_a_rectangle():
    """Protects the form of the size returned, whichever of the three is not square."""
    square, wide = np.ones((2, 2)), np.ones((2, 3))
    assert conv_matrix(square, input_size=3)[1] == 4
    assert conv_matrix(wide, input_size=3)[1] == (4, 5)
    assert conv_matrix(square, input_size=(3, 4))[1] == (4, 5)
    assert conv_matrix(square, stride=(1, 2), input_size=3)[1] == (4, 6)


def test_matrix_default_input_size():
    """Protects the default, a 128x128 plane; as a sparse matrix it is small."""
    W, output_size = conv_matrix(np.ones((3, 3)), sparse=True)
    assert output_size == 130
    assert W.shape == (128 * 128, 130 * 130)
    assert W.nnz == 9 * 128 * 128


def test_column_vector():
    """Protects the order, row after row, for a view too."""
    x = np.arange(6).reshape(2, 3)
    assert_array_equal(column_vector(x), [[0], [1], [2], [3], [4], [5]])
    assert_array_equal(column_vector(x.T), [[0], [3], [1], [4], [2], [5]])


@pytest.mark.parametrize("size", range(5, 13))
@pytest.mark.parametrize("stride, padding, dilation", [(1, 0, 1), (2, 1, 1), (3, 0, 1), (2, 2, 2)])
def test_output_padding_leads_back_to_the_size_convolved(size, stride, padding, dilation):
    """Protects the size of every input, though several share one convolved size."""
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    convolved = convlab.conv2d(np.ones((1, size, size)), np.ones((1, 1, 3, 3)), **geometry)[0]
    extra = output_padding_for(size, convolved.shape, 3, **geometry)
    Y = transposed_conv(convolved, np.ones((3, 3)), output_padding=extra, **geometry)
    assert Y.shape == (size, size)


def test_output_padding_per_axis():
    """Protects rectangles and the form of the answer."""
    assert output_padding_for((7, 8), 4, 3, stride=2, padding=1) == (0, 1)
    assert output_padding_for((8, 8), (4, 4), (3, 3), stride=2, padding=1) == (1, 1)
    assert output_padding_for(8, 4, (3, 4), stride=2, padding=1) == (1, 0)


def test_output_padding_for_an_impossible_size():
    """Protects the error, which says what is possible."""
    for size in (6, 9):
        with pytest.raises(ValueError, match=r"between \(7, 7\) and \(8, 8\)"):
            output_padding_for(size, 4, 3, stride=2, padding=1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
@pytest.mark.parametrize("dilation", [1, 2, (1, 3)])
def test_transposed_conv2d_against_torch(dilation, stride, dtype):
    """Protects the way through rows for ints, pairs and results that are not square."""
    generator = rng("rows", dilation, stride)
    image = generator.standard_normal((2, 3, 4, 6)).astype(dtype)
    filters = generator.standard_normal((3, 5, 3, 2)).astype(dtype)
    Y = transposed_conv2d(image, filters, dilation, stride)
    assert Y.dtype == np.dtype(dtype)

    def operation(x, w):
        return functional.conv_transpose2d(x, w, stride=stride, dilation=dilation)

    label = f"dilation {dilation}, stride {stride}, {dtype}"
    assert_agrees((Y, None, None), operation, (image, filters), np.zeros_like(Y), label)


@pytest.mark.parametrize("kernel", [2, (3, 1)])
@pytest.mark.parametrize("stride, padding, dilation", [(1, 0, 1), (2, 1, 1), ((1, 3), (2, 0), 2)])
def test_rows_are_torchs_unfold_and_fold(kernel, stride, padding, dilation):
    """Protects order and values of the rows, and of the sums that come back."""
    x = rng("im2rows", kernel, stride).integers(-9, 10, (2, 3, 8, 7))
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    rows = im2rows(x, kernel, **geometry)

    def unfold(t):
        return functional.unfold(t, kernel, **geometry).transpose(1, 2)

    def fold(t):
        return functional.fold(t.transpose(1, 2), (8, 7), kernel, **geometry)

    assert_array_equal(rows, autograd(unfold, (x,), np.zeros(rows.shape))[0])
    other = rng("rows2im", kernel, stride).integers(-9, 10, rows.shape)
    back = rows2im(other, (8, 7), kernel, **geometry)
    assert_array_equal(back, autograd(fold, (other,), np.zeros(x.shape))[0])
    assert np.vdot(rows, other) == np.vdot(x, back)


def test_integers_and_float32():
    """Protects float64 for integers and float32 for itself."""
    for dtype, expected in (("int32", np.float64), ("float32", np.float32)):
        image, filters = np.ones((1, 2, 3, 3), dtype), np.ones((2, 1, 2, 2), dtype)
        plane = image[0, 0]
        rows = im2rows(image, 2)
        results = (
            transposed_conv(plane, plane),
            transposed_conv2d(image, filters),
            rows,
            rows2im(rows.astype(dtype), 3, 2),
            conv_matrix(plane, input_size=4)[0],
        )
        assert [r.dtype for r in results] == [expected] * 5


def test_wrong_arguments():
    """Protects the messages, that for a dilation of 0 among them."""
    plane, image, filters = np.ones((3, 3)), np.ones((1, 2, 4, 4)), np.ones((2, 3, 2, 2))
    with pytest.raises(ValueError, match="dilation must be at least 1, got 0"):
        transposed_conv2d(image, filters, 0, 1)
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        transposed_conv2d(image, filters, 1, 0)
    with pytest.raises(ValueError, match="channels"):
        transposed_conv2d(image[:, :1], filters)
    with pytest.raises(ValueError, match="transposed_conv2d: image must have 4 axes"):
        transposed_conv2d(plane, filters)
    with pytest.raises(ValueError, match="transposed_conv2d: filters must have 4 axes"):
        transposed_conv2d(image, plane)
    with pytest.raises(ValueError, match=r"transposed_conv: X must have 2 axes \(h, w\)"):
        transposed_conv(image, plane)
    with pytest.raises(ValueError, match="output_padding must be smaller than stride or dilation"):
        transposed_conv(plane, plane, output_padding=1)
    with pytest.raises(ValueError, match="output_padding must be smaller than stride or dilation"):
        conv_matrix(plane, input_size=3, output_padding=1)
    with pytest.raises(ValueError, match="conv_matrix: k must have 2 axes"):
        conv_matrix(image)
    with pytest.raises(ValueError, match="conv_matrix: input_size must be an int or one int per"):
        conv_matrix(plane, input_size=(3, 3, 3))
    with pytest.raises(ValueError, match="column_vector: x must have 2 axes"):
        column_vector([1, 2])
    with pytest.raises(ValueError, match="im2rows: x must have 4 axes"):
        im2rows(plane, 2)
    with pytest.raises(ValueError, match="rows2im: rows must have 3 axes"):
        rows2im(plane, 3, 2)
