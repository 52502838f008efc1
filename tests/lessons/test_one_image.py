"""Lesson C: one image and one filter, the lesson's numbers and torch.autograd."""

import numpy as np
import pytest
import torch
from lesson_oracle import assert_agrees
from numpy.testing import assert_array_equal
from oracle import rng
from torch.nn import functional

from convlab.lessons.one_image import conv2d_backward, conv2d_backward_weights, conv2d_forward

ONE_CHANNEL = np.array([[[1], [2]], [[3], [4]]])
THREE_CHANNELS = np.arange(1, 13).reshape(2, 2, 3)
FILTER = np.array([[[1, 2, 3]], [[4, 5, 6]]])


def test_forward_with_one_channel():
    """Protects the lesson's numbers."""
    assert_array_equal(conv2d_forward(ONE_CHANNEL, [[[10]], [[2]]]), [[16, 28]])


def test_forward_with_three_channels():
    """Protects the lesson's numbers."""
    assert_array_equal(conv2d_forward(THREE_CHANNELS, FILTER), [[136, 199]])


def test_backward():
    """Protects the lesson's numbers."""
    expected = [
        [[1, 2], [7, 12], [12, 16]],
        [[2, 4], [11, 18], [15, 20]],
        [[3, 6], [15, 24], [18, 24]],
    ]
    assert_array_equal(conv2d_backward(ONE_CHANNEL, FILTER), expected)


def test_backward_is_full_convolution_with_the_rotated_filter():
    """Protects the lesson's explanation: pad, turn, slide."""
    generator = rng("full convolution")
    upstream, kernel = generator.integers(-9, 10, (4, 5, 1)), generator.integers(-9, 10, (3, 2, 2))
    padded = np.pad(upstream, ((2, 2), (1, 1), (0, 0)))
    planes = [conv2d_forward(padded, kernel[::-1, ::-1, c : c + 1]) for c in range(2)]
    assert_array_equal(conv2d_backward(upstream, kernel), planes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size, kernel", [((6, 5), (3, 3)), ((7, 9), (2, 4)), ((3, 3), (3, 3))])
def test_against_autograd(size, kernel, channels, dtype):
    """Protects forward and both gradients, with one channel too, where the notebook's broke."""
    generator = rng(size, kernel, channels)
    x = generator.standard_normal((*size, channels)).astype(dtype)
    w = generator.standard_normal((*kernel, channels)).astype(dtype)
    y = conv2d_forward(x, w)
    dy = generator.standard_normal(y.shape).astype(dtype)
    upstream = dy[..., None]
    dx, dw = conv2d_backward(upstream, w), conv2d_backward_weights(x, upstream)
    assert dx.shape == (channels, *size)
    assert dw.shape == (channels, *kernel)
    assert {a.dtype for a in (y, dx, dw)} == {np.dtype(dtype)}

    def operation(image: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(image.permute(2, 0, 1), weight.permute(2, 0, 1)[None])[0]

    actual = (y, dx.transpose(1, 2, 0), dw.transpose(1, 2, 0))
    assert_agrees(actual, operation, (x, w), dy, f"{size}, {kernel}, {channels} channels")


def test_integers_are_computed_in_float64():
    """Protects sums that would overflow an int8."""
    image, upstream = np.full((3, 3, 2), 100, np.int8), np.full((2, 2, 1), 100, np.int8)
    results = (
        conv2d_forward(image, image[:2, :2]),
        conv2d_backward(upstream, image[:2, :2]),
        conv2d_backward_weights(image, upstream),
    )
    assert [r.dtype for r in results] == [np.float64] * 3
    assert [r.max() for r in results] == [8e4, 4e4, 4e4]


def test_wrong_arguments():
    """Protects the messages."""
    image = np.ones((4, 4, 3))
    with pytest.raises(ValueError, match=r"conv2d_forward: matrix must have 3 axes \(H, W, C\)"):
        conv2d_forward(image[0], image)
    with pytest.raises(ValueError, match=r"conv2d_forward: filter must have 3 axes \(h, w, C\)"):
        conv2d_forward(image, image[0])
    with pytest.raises(ValueError, match="channels"):
        conv2d_forward(image, image[..., :2])
    with pytest.raises(ValueError, match="kernel"):
        conv2d_forward(image[:2], image)
    with pytest.raises(ValueError, match="conv2d_backward: upstream must have 3 axes"):
        conv2d_backward(image[0], image)
    with pytest.raises(ValueError, match=r"upstream must have shape \(h', w', 1\)"):
        conv2d_backward(image, image)
    with pytest.raises(ValueError, match="conv2d_backward_weights: x must have 3 axes"):
        conv2d_backward_weights(image[0], image[..., :1])
