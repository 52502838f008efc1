"""Lesson E: planes, batches and the gradient of the weights."""

import numpy as np
import pytest
from lesson_oracle import assert_agrees
from numpy.testing import assert_array_equal
from oracle import rng
from torch.nn import functional

from convlab.lessons.planes import (
    convolution_grad,
    convolve,
    cross_correlate,
    cross_correlation_grad,
    cross_correlation_input_grad,
)

A = np.array(
    [
        [5, 27, 9, -15, 12],
        [2, 4, -2, -7, 8],
        [-8, 16, 5, 23, -6],
        [-17, 7, 9, -14, 3],
        [10, -5, 13, 6, -11],
    ]
)
B = np.array([[8, 4], [2, 6]])


def test_cross_correlate_counting_numbers():
    """Protects the lesson's numbers."""
    got = cross_correlate(np.arange(1, 50).reshape(7, 7), [[1, 2], [3, 4]], 2)
    assert_array_equal(got, [[65, 85, 105], [205, 225, 245], [345, 365, 385]])


def test_worked_example():
    """Protects the lesson's numbers: the correlation, dB and dA for an upstream of ones."""
    ones = np.ones((2, 2))
    assert_array_equal(cross_correlate(A, B, 2), [[176, -34], [8, 66]])
    assert_array_equal(cross_correlation_grad(A, B, ones, 2), [[11, 51], [-8, -10]])
    dA = [[8, 4, 8, 4, 0], [2, 6, 2, 6, 0], [8, 4, 8, 4, 0], [2, 6, 2, 6, 0], [0, 0, 0, 0, 0]]
    assert_array_equal(cross_correlation_input_grad(A, B, ones, 2), dA)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", [(3, 2), (1, 4), (5, 5)])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
def test_planes_against_autograd(kernel, stride, dtype):
    """Protects the result and both gradients for rectangular planes and strides."""
    generator = rng("planes", kernel, stride)
    large = generator.standard_normal((11, 10)).astype(dtype)
    small = generator.standard_normal(kernel).astype(dtype)
    C = cross_correlate(large, small, stride)
    C_grad = generator.standard_normal(C.shape).astype(dtype)
    dA = cross_correlation_input_grad(large, small, C_grad, stride)
    dB = cross_correlation_grad(large, small, C_grad, stride)
    assert {a.dtype for a in (C, dA, dB)} == {np.dtype(dtype)}

    def operation(a, b):
        return functional.conv2d(a[None, None], b[None, None], stride=stride)[0, 0]

    label = f"kernel {kernel}, stride {stride}, {dtype}"
    assert_agrees((C, dA, dB), operation, (large, small), C_grad, label)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batches_against_autograd_on_the_notebooks_shapes(dtype):
    """Protects batch 14, 4 to 5 channels, 32x35, kernel (3, 2), stride 2, which gives 15x17."""
    generator = rng("batches", dtype)
    shapes = ((14, 4, 32, 35), (5, 4, 3, 2), (5,))
    x, weight, bias = (generator.standard_normal(shape).astype(dtype) for shape in shapes)
    y = convolve(x, weight, bias, 2)
    assert y.shape == (14, 5, 15, 17)
    dy = generator.standard_normal(y.shape).astype(dtype)
    dW = convolution_grad(x, weight, dy, 2)
    assert {y.dtype, dW.dtype} == {np.dtype(dtype)}

    def operation(x, w, b):
        return functional.conv2d(x, w, b, stride=2)

    assert_agrees((y, None, dW, None), operation, (x, weight, bias), dy, f"batch of 14, {dtype}")


@pytest.mark.parametrize("stride", [1, (2, 3)])
def test_batches_are_built_from_planes(stride):
    """Protects the lesson's explanation: sums of the planes' results and gradients."""
    generator = rng("built", stride)
    x, weight = generator.integers(-9, 10, (2, 3, 7, 8)), generator.integers(-9, 10, (4, 3, 3, 2))
    bias = generator.integers(-9, 10, 4)
    y = convolve(x, weight, bias, stride)
    dy = generator.integers(-9, 10, y.shape)
    dW = convolution_grad(x, weight, dy, stride)
    for n, o in np.ndindex(2, 4):
        planes = [cross_correlate(x[n, c], weight[o, c], stride) for c in range(3)]
        assert_array_equal(y[n, o], bias[o] + sum(planes))
    for o, c in np.ndindex(4, 3):
        gradients = [
            cross_correlation_grad(x[n, c], weight[o, c], dy[n, o], stride) for n in range(2)
        ]
        assert_array_equal(dW[o, c], sum(gradients))


def test_stride_one_and_no_bias_are_the_defaults():
    """Protects the defaults."""
    x, weight = rng("defaults").standard_normal((1, 1, 5, 5)), np.ones((1, 1, 2, 2))
    assert_array_equal(convolve(x, weight)[0, 0], cross_correlate(x[0, 0], weight[0, 0]))
    assert_array_equal(convolve(x, weight), convolve(x, weight, np.zeros(1), 1))


def test_wrong_arguments():
    """Protects the messages."""
    x, weight = np.ones((1, 2, 5, 5)), np.ones((3, 2, 2, 2))
    with pytest.raises(ValueError, match=r"cross_correlate: A must have 2 axes \(H, W\)"):
        cross_correlate(x, B)
    with pytest.raises(ValueError, match="kernel"):
        cross_correlate(B, A)
    with pytest.raises(ValueError, match="stride must be at least 1"):
        cross_correlate(A, B, 0)
    for gradient in (cross_correlation_grad, cross_correlation_input_grad):
        with pytest.raises(ValueError, match=f"{gradient.__name__}: C_grad must have 2 axes"):
            gradient(A, B, 1.0)
        with pytest.raises(ValueError, match="shape"):
            gradient(A, B, np.ones((3, 3)), 2)
    with pytest.raises(ValueError, match="convolve: x must have 4 axes"):
        convolve(A, weight)
    with pytest.raises(ValueError, match="channels"):
        convolve(x[:, :1], weight)
    with pytest.raises(ValueError, match="convolution_grad: output_grad must have 4 axes"):
        convolution_grad(x, weight, np.ones((4, 4)))
    with pytest.raises(ValueError, match="shape"):
        convolution_grad(x, weight, np.ones((1, 3, 3, 3)))
