"""Calls that crashed, corrupted memory or gave garbage in other libraries, by the names they have.

Each test makes the call that its docstring tells of, as nearly as this API can be called that way,
and the same in the gradients beside it.
"""

import re

import numpy as np
import pytest

import convlab

LAST = {"layout": "channels_last"}


def refused(error: type[Exception] | tuple[type[Exception], ...], *words: str):
    return pytest.raises(error, match=".*".join(re.escape(word) for word in words))


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, "float32")


# ---- TensorFlow ----------------------------------------------------------------------------------


def test_cve_2021_29540():
    """Conv2DBackpropFilter wrote a gradient of the size that x has into one of the size asked for.

    x had two channels where filter_sizes said one; or it was empty, with a kernel larger than it.
    """
    x, dy = ones(1, 1, 1, 2), ones(1, 1, 1, 1)
    with refused(TypeError, "conv2d_grad_weight: out must be a NumPy array"):
        convlab.conv2d_grad_weight(dy, x, 1, stride=(66, 49), **LAST, out=[1, 1, 1, 1])
    with refused(ValueError, "conv2d_grad_weight: out must have shape (1, 1, 2, 1)"):
        convlab.conv2d_grad_weight(dy, x, 1, stride=(66, 49), **LAST, out=ones(1, 1, 1, 1))
    with refused(ValueError, "conv2d_backward: weight has 1 input channels per group"):
        convlab.conv2d_backward(dy, x, ones(1, 1, 1, 1), stride=(66, 49), **LAST)
    with refused(ValueError, "conv2d_grad_weight: the kernel of size (3, 8) is larger"):
        convlab.conv2d_grad_weight(
            ones(0, 1, 1, 1), ones(0, 1, 1, 5), (3, 8), stride=(66, 49), **LAST
        )


def test_cve_2021_29520():
    """Conv3DBackprop* took x, the filter and dy to fit each other, and read beyond the smaller.

    For dx, a filter of one channel where x has two; for dw, a dy of fewer positions.
    """
    with refused(ValueError, "conv3d_grad_input: weight has 1 input channels per group"):
        convlab.conv3d_grad_input(
            ones(1, 1, 1, 1, 1),
            ones(4, 1, 6, 1, 1),
            (1, 1, 1, 1, 2),
            stride=(89, 29, 89),
            padding="same",
            **LAST,
        )
    x, dy = np.full((7, 7, 7, 7, 7), -10.0), np.full((7, 1, 1, 1, 1), -10.0)
    steps = {"stride": (37, 65, 93), **LAST}
    # By our rules these fit, seven input channels with a kernel of the whole image: x times dy.
    dw = convlab.conv3d_grad_weight(dy, x, 7, **steps)
    assert np.array_equal(dw, np.full((7, 7, 7, 7, 1), 700.0))
    with refused(ValueError, "conv3d_grad_weight: out must have shape"):
        convlab.conv3d_grad_weight(dy, x, 7, **steps, out=np.ones((7, 7, 7, 1, 1)))
    with refused(ValueError, "conv3d_grad_weight: dy must have the output's shape"):
        convlab.conv3d_grad_weight(dy, x, 3, stride=2, **LAST)


def test_cve_2021_29526():
    """Conv2D divided by the filter's channels, of which there were none.

    Its filter had no height either, which we refuse; of any other height, the result is empty.
    """
    with refused(ValueError, "conv2d: the kernel of weight must have at least one element"):
        convlab.conv2d(ones(0, 0, 0, 0), ones(0, 0, 0, 0), padding="same", **LAST)
    y = convlab.conv2d(ones(0, 0, 0, 0), ones(1, 1, 0, 0), padding="same", **LAST)
    assert y.shape == (0, 0, 0, 0)


def test_cve_2021_29517():
    """Conv3D divided by the filter's channels too, and failed on channels that differ."""
    steps = {"stride": 56, "dilation": (1, 1, 23), **LAST}
    with refused(ValueError, "conv3d: the kernel of weight must have at least one element"):
        convlab.conv3d(ones(0, 0, 0, 0, 0), ones(0, 0, 0, 0, 0), **steps)
    with refused(ValueError, "conv3d: weight has 6 input channels per group, but x has 0"):
        convlab.conv3d(ones(2, 2, 2, 2, 0), ones(1, 1, 2, 6, 2), stride=(56, 39, 34), **LAST)
    y = convlab.conv3d(ones(0, 2, 2, 2, 0), ones(1, 1, 1, 0, 0), **steps)
    assert y.shape == (0, 1, 1, 1, 0)


def test_cve_2021_29525():
    """Conv2DBackpropInput divided by an amount of work that was zero, for want of output channels.

    dx is then a sum of nothing: zeros, whatever was in the memory before.
    """
    dy, w = ones(52, 1, 1, 0), ones(1, 1, 5, 0)
    out = np.full((52, 1, 1, 5), np.nan, "float32")
    dx = convlab.conv2d_grad_input(dy, w, (52, 1, 1, 5), padding="same", **LAST, out=out)
    assert np.array_equal(dx, np.zeros((52, 1, 1, 5)))
    with refused(ValueError, "the kernel of weight must have at least one element"):
        convlab.conv2d_grad_input(dy, ones(0, 1, 5, 0), (52, 1, 1, 5), padding="same", **LAST)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_cve_2022_35996(layout):
    """Conv2D divided by the work of an empty image, though padding made its output not empty.

    An image of no rows, padded, holds nothing but zeros: y is the bias everywhere.
    """
    last = layout == "channels_last"
    x = ones(1, 0, 2, 1) if last else ones(1, 1, 0, 2)
    w = ones(1, 1, 1, 3) if last else ones(3, 1, 1, 1)
    b = np.array([1, 2, 3], "float32")
    y = convlab.conv2d(x, w, b, padding=1, layout=layout)
    shape = (1, 2, 4, 3) if last else (1, 3, 2, 4)
    expected = np.broadcast_to(b if last else b.reshape(3, 1, 1), shape)
    assert np.array_equal(y, expected)
    assert np.array_equal(convlab.conv2d(x, w, padding=1, layout=layout), np.zeros(shape))
    dx, dw, db = convlab.conv2d_backward(np.ones(shape), x, w, padding=1, layout=layout)
    assert dx.shape == x.shape
    assert np.array_equal(dw, np.zeros(w.shape))
    assert np.array_equal(db, [8, 8, 8])


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize(("c_in", "c_out"), [(7, 2), (2, 7), (1, 40), (40, 1)])
def test_cve_2022_41894(c_in, c_out, layout):
    """CONV_3D_TRANSPOSE stepped by the input's channels where it added the bias to the output.

    With more of them than of output channels it wrote beyond the end. The output here lies between
    guards, and every channel has a bias of its own.
    """
    last = layout == "channels_last"
    x = np.zeros((2, 3, 2, 2, c_in) if last else (2, c_in, 3, 2, 2), "float32")
    w = ones(2, 2, 2, c_in, c_out) if last else ones(c_in, c_out, 2, 2, 2)
    b = np.arange(1, c_out + 1, dtype="float32")
    shape = (2, 4, 3, 3, c_out) if last else (2, c_out, 4, 3, 3)
    memory = np.full(2 * 64 + int(np.prod(shape)), -1, "float32")
    out = memory[64:-64].reshape(shape)
    convlab.conv_transpose3d(x, w, b, layout=layout, out=out)
    assert np.array_equal(out, np.broadcast_to(b if last else b.reshape(-1, 1, 1, 1), shape))
    assert (memory[:64] == -1).all()
    assert (memory[-64:] == -1).all()


def test_cve_2023_27579():
    """A TFLite kernel divided the input's channels by the filter's, to have groups: by zero."""
    with refused(ValueError, "conv2d: groups must be at least 1, got 0"):
        convlab.conv2d(ones(1, 4, 4, 4), ones(4, 1, 1, 1), groups=0)
    with refused(ValueError, "conv2d: weight has 0 input channels per group, but x has 4"):
        convlab.conv2d(ones(1, 4, 4, 4), ones(4, 0, 1, 1), groups=4)
    with refused(ValueError, "conv_transpose2d: groups must be at least 1, got 0"):
        convlab.conv_transpose2d(ones(1, 4, 4, 4), ones(4, 0, 1, 1), groups=0)


# ---- PyTorch -------------------------------------------------------------------------------------


def test_pytorch_142457():
    """slow_conv_transpose3d corrupted the heap with a dilation of 1879048192.

    It was told another kernel size than the weight has, and computed its buffers from that. Here
    the weight tells, and the result is one that no memory holds; where the kernel is of one tap,
    the dilation is never used.
    """
    x, w, b = np.full((1, 2, 4, 5, 4), 0.5), np.full((2, 3, 2, 3, 2), 0.5), np.full(3, 0.5)
    steps = {"padding": 2, "output_padding": 2, "dilation": 1879048192}
    with refused(MemoryError, "conv_transpose3d: "):
        convlab.conv_transpose3d(x, w, b, **steps)
    with refused(ValueError, "conv_transpose3d_grad_weight: ", "must"):
        convlab.conv_transpose3d_grad_weight(np.ones((1, 3, 2, 3, 2)), x, 2, **steps)
    y = convlab.conv_transpose3d(x, w[..., :1, :1, :1], b, **steps)
    assert np.array_equal(y, np.ones((1, 3, 2, 3, 2)))


def test_pytorch_77901():
    """slow_conv_transpose3d corrupted the heap with output_padding of -1250999896764.

    A dilation of as much offset it, such that the output's size came out right.
    """
    x, w = ones(3, 3, 3, 3, 3), ones(3, 3, 3, 3, 3)
    huge = 1250999896764
    with refused(ValueError, "conv_transpose3d: dilation is out of range"):
        convlab.conv_transpose3d(x, w, padding=1, output_padding=-huge, dilation=huge)
    with refused(ValueError, "conv_transpose3d: output_padding is out of range"):
        convlab.conv_transpose3d(x, w, padding=1, output_padding=-huge)
    with refused(ValueError, "conv_transpose3d: output_padding must be at least 0, got -2"):
        convlab.conv_transpose3d(x, w, padding=1, output_padding=-2, dilation=2)


def test_pytorch_143481():
    """conv3d crashed with padding="same" and a dilation of 3046875451, which 32 bits made small."""
    x, w = ones(3, 1, 3, 4, 3), ones(3, 1, 3, 1, 3)
    with refused(ValueError, "conv3d: dilation is out of range"):
        convlab.conv3d(x, w, padding="same", dilation=3046875451)
    # The largest that is allowed: only the middle tap meets the image.
    y = convlab.conv3d(x, w, padding="same", dilation=2**31 - 1)
    assert np.array_equal(y, np.ones((3, 3, 3, 4, 3)))


def test_pytorch_143489():
    """thnn_conv2d divided by zero with a kernel size and a padding of 2**55, whose product is 0.

    It was told another kernel size than the weight has.
    """
    x, w, huge = ones(9, 2, 3, 9), ones(8, 2, 3, 3), 2**55
    steps = {"stride": 1048576, "padding": huge}
    for call in (
        lambda: convlab.conv2d(x, w, **steps),
        lambda: convlab.conv2d_grad_weight(ones(9, 8, 1, 1), x, huge, **steps),
        lambda: convlab.unfold(x, huge, **steps),
    ):
        with refused(ValueError, "padding is out of range"):
            call()
    with refused(ValueError, "unfold: the kernel of size (36028797018963968, 36028797018963968)"):
        convlab.unfold(x, huge, stride=1048576, padding=2**31 - 1)


def test_pytorch_68875():
    """Fold multiplied two negative numbers of windows, and took their product for a right one.

    A kernel of 2x2 dilated by 8 has -4 times -3 windows in an image of 4x5: not 12.
    """
    columns = np.ones((1, 12, 12))
    with refused(ValueError, "fold: the kernel of size (2, 2)", "larger than the padded input"):
        convlab.fold(columns, (4, 5), (2, 2), dilation=8)
    with refused(ValueError, "unfold: the kernel of size (2, 2)", "larger than the padded input"):
        convlab.unfold(np.ones((1, 3, 4, 5)), (2, 2), dilation=8)
    with refused(ValueError, "conv_transpose2d: padding crops more than there is"):
        convlab.conv_transpose2d(ones(1, 1, 2, 2), ones(1, 1, 2, 2), padding=4)


def test_pytorch_5112():
    """The gradient of a transposed convolution with output_padding and dilation crashed.

    output_padding was 1 with stride 1 and dilation 2: allowed, yet the backward call read beyond
    the end. The last output row and column take part in no product.
    """
    x, w = np.ones((1, 4, 1, 1)), np.ones((4, 1, 3, 3))
    steps = {"output_padding": 1, "dilation": 2}
    y = convlab.conv_transpose2d(x, w, **steps)
    assert y.shape == (1, 1, 6, 6)
    expected = np.zeros((6, 6))
    expected[:5:2, :5:2] = 4
    assert np.array_equal(y[0, 0], expected)
    dx, dw, db = convlab.conv_transpose2d_backward(np.ones_like(y), x, w, **steps)
    assert np.array_equal(dx, np.full(x.shape, 9.0))
    assert np.array_equal(dw, np.ones(w.shape))
    assert np.array_equal(db, [36.0])
    with refused(ValueError, "output_padding must be smaller than stride or dilation"):
        convlab.conv_transpose2d(x, w, output_padding=2, dilation=2)


@pytest.mark.parametrize("transposed", [False, True])
def test_pytorch_56998(transposed):
    """A convolution without channels crashed, where a network made them as it went along.

    No input channels: y is the bias, and the gradients are zeros or empty. No output channels
    either: everything is empty.
    """
    stem = "conv_transpose1d" if transposed else "conv1d"
    conv, backward = getattr(convlab, stem), getattr(convlab, f"{stem}_backward")
    x, b = np.ones((2, 0, 10)), np.arange(16.0)
    w = np.ones((0, 16, 1) if transposed else (16, 0, 1))
    y = conv(x, w, b)
    assert np.array_equal(y, np.broadcast_to(b[:, None], (2, 16, 10)))
    dx, dw, db = backward(np.ones_like(y), x, w)
    assert (dx.shape, dw.shape) == (x.shape, w.shape)
    assert np.array_equal(db, np.full(16, 20.0))

    y = conv(x, np.ones((0, 0, 1)), np.ones(0))
    assert y.shape == (2, 0, 10)
    assert [g.shape for g in backward(y, x, np.ones((0, 0, 1)))] == [(2, 0, 10), (0, 0, 1), (0,)]


# ---- NNlib.jl ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("stem", ["conv", "conv_transpose"])
def test_nnlib_763(stem, layout):
    """The filter's gradient of an empty batch came back as whatever was in the memory.

    It is a sum of nothing: zeros. The other functions of an empty batch divided by its size.
    """
    last = layout == "channels_last"
    x = ones(0, 10, 10, 1) if last else ones(0, 1, 10, 10)
    channels = (1, 3) if last or stem == "conv_transpose" else (3, 1)
    w = ones(2, 2, *channels) if last else ones(*channels, 2, 2)
    conv, backward, grad_weight = (
        getattr(convlab, f"{stem}2d{kind}") for kind in ("", "_backward", "_grad_weight")
    )
    y = conv(x, w, layout=layout)
    size = 9 if stem == "conv" else 11
    assert y.shape == ((0, size, size, 3) if last else (0, 3, size, size))
    out = np.full(w.shape, np.nan, "float32")
    assert np.array_equal(grad_weight(y, x, 2, layout=layout, out=out), np.zeros(w.shape))
    dx, dw, db = backward(y, x, w, layout=layout)
    assert dx.shape == x.shape
    assert np.array_equal(dw, np.zeros(w.shape))
    assert np.array_equal(db, np.zeros(3))
