"""Lesson B: ten random problems and more against torch.autograd, for any dZ."""

import numpy as np
import pytest
import torch
from lesson_oracle import assert_agrees
from numpy.testing import assert_array_equal
from oracle import rng
from torch.nn import functional

from convlab.lessons.channels_first import (
    apply_filter,
    conv_backward,
    conv_forward,
    conv_transpose_backward,
    conv_transpose_forward,
)

MSE_LIMIT = 1e-12  # the notebook printed 1e-16 to 1e-13
CONV = (conv_forward, conv_backward, functional.conv2d)
TRANSPOSED = (conv_transpose_forward, conv_transpose_backward, functional.conv_transpose2d)
BOTH = pytest.mark.parametrize("functions", [CONV, TRANSPOSED], ids=["conv", "conv_transpose"])


def weight_shape(functions, channels_in, channels_out, f):
    pair = (channels_out, channels_in) if functions is CONV else (channels_in, channels_out)
    return (*pair, f, f)


def check(functions, x_shape, channels_out, f, label, *, stride=1, pad=0, dtype="float64"):
    """Forward and all three gradients for random A_prev, W, b and dZ."""
    forward, backward, torch_function = functions
    generator = rng(label, dtype)

    def draw(shape):
        return generator.standard_normal(shape).astype(dtype)

    A_prev = draw(x_shape)
    W, b = draw(weight_shape(functions, x_shape[1], channels_out, f)), draw((channels_out, 1, 1, 1))
    Z, cache = forward(A_prev, W, b, stride, pad)
    dZ = draw(Z.shape)
    gradients = backward(dZ, cache)
    assert [g.shape for g in gradients] == [A_prev.shape, W.shape, b.shape]
    assert {g.dtype for g in (Z, *gradients)} == {np.dtype(dtype)}

    def operation(x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch_function(x, w, bias.flatten(), stride=stride, padding=pad)

    limit = MSE_LIMIT if dtype == "float64" else np.inf
    assert_agrees((Z, *gradients), operation, (A_prev, W, b), dZ, label, limit)


@BOTH
@pytest.mark.parametrize("problem", range(10))
def test_ten_random_problems(functions, problem):
    """Protects every gradient as the notebook did, and for a dZ of any values, as it did not."""
    generator = rng("problem", problem)
    channels_in, channels_out, m = (int(n) for n in generator.integers(1, 11, 3))
    f = int(generator.integers(1, 6))
    height, width = (int(n) for n in generator.integers(5, 11, 2))
    x_shape = (m, channels_in, height, width)
    check(functions, x_shape, channels_out, f, f"problem {problem}: {x_shape}, {channels_out}, {f}")


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stride, pad", [(2, 0), (1, 1), (2, 1), (3, 2), ((2, 3), (1, 0))])
def test_stride_and_pad(functions, stride, pad, dtype):
    """Protects the parameters that the notebook had not, and float32."""
    label = f"stride {stride}, pad {pad}"
    check(functions, (2, 3, 9, 8), 4, 3, label, stride=stride, pad=pad, dtype=dtype)


def test_apply_filter_is_one_element_of_conv_forward():
    """Protects the smallest step, by building a strided convolution of it."""
    generator = rng("apply_filter")
    A_prev = generator.integers(-9, 10, (2, 3, 6, 7))
    W, b = generator.integers(-9, 10, (4, 3, 3, 3)), generator.integers(-9, 10, (4, 1, 1, 1))
    Z, _ = conv_forward(A_prev, W, b, stride=2)
    assert Z.shape == (2, 4, 2, 3)
    for m, c, i, j in np.ndindex(Z.shape):
        window = A_prev[m, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        assert apply_filter(window, W[c], b[c]) == Z[m, c, i, j]


def test_dtypes():
    """Protects float32, which must stay, and integers, which are computed in float64."""
    for dtype, expected in (("float32", np.float32), ("float64", np.float64), ("int8", np.float64)):
        A_prev, W, b = (np.ones(s, dtype) for s in ((1, 2, 4, 4), (2, 2, 2, 2), (2, 1, 1, 1)))
        for forward, backward, _ in (CONV, TRANSPOSED):
            Z, cache = forward(A_prev, W, b)
            assert {a.dtype for a in (Z, *backward(Z, cache))} == {np.dtype(expected)}
        assert apply_filter(np.ones((2, 2, 2), dtype), W[0], b[0]).dtype == expected


@BOTH
def test_a_flat_bias_comes_back_flat(functions):
    """Protects that db has the shape of b, whichever of the two it was."""
    forward, backward, _ = functions
    Z, cache = forward(np.ones((2, 1, 3, 3)), np.ones((1, 1, 2, 2)), np.zeros(1))
    _, _, db = backward(Z, cache)
    assert_array_equal(db, [Z.sum()])


@BOTH
def test_wrong_arguments(functions):
    """Protects the messages for wrong ranks, shapes and a cache of the other operation."""
    forward, backward, _ = functions
    _, other_backward, _ = TRANSPOSED if functions is CONV else CONV
    A_prev, W, b = np.ones((2, 3, 5, 5)), np.ones((3, 3, 2, 2)), np.zeros((3, 1, 1, 1))
    name = forward.__name__
    with pytest.raises(ValueError, match=rf"{name}: A_prev must have 4 axes"):
        forward(A_prev[0], W, b)
    with pytest.raises(ValueError, match=rf"{name}: W must have 4 axes"):
        forward(A_prev, W[0], b)
    with pytest.raises(ValueError, match=rf"{name}: b must have shape \(3, 1, 1, 1\)"):
        forward(A_prev, W, np.zeros((1, 3, 1, 1)))
    with pytest.raises(ValueError, match="channels"):
        forward(A_prev[:, :2], W, b)
    with pytest.raises(ValueError, match="stride must be at least 1"):
        forward(A_prev, W, b, stride=0)
    Z, cache = forward(A_prev, W, b, stride=2)
    for dZ in (Z[0], Z[:, :, 1:], np.pad(Z, ((0, 0), (0, 0), (0, 1), (0, 0)))):
        with pytest.raises(ValueError, match=f"{backward.__name__}: dZ must have Z's shape"):
            backward(dZ, cache)
    with pytest.raises(TypeError, match=rf"cache must be the one that \w+ returned, got {name}"):
        other_backward(Z, cache)
    with pytest.raises(TypeError, match="returned, got tuple"):
        backward(Z, (A_prev, W, b))


def test_apply_filter_refuses_wrong_arguments():
    """Protects its messages."""
    window = np.ones((3, 2, 2))
    with pytest.raises(ValueError, match="a_slice must have 3 axes"):
        apply_filter(window[0], window, 0)
    with pytest.raises(ValueError, match="must have the same shape"):
        apply_filter(window, window[:, :1], 0)
    with pytest.raises(ValueError, match="b must have one element"):
        apply_filter(window, window, np.zeros(2))
