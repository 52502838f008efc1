"""Lesson A: the layers and their building blocks against torch.autograd and by definition."""

import numpy as np
import pytest
import torch
from lesson_oracle import assert_agrees
from numpy.testing import assert_array_equal
from oracle import rng
from torch.nn import functional

from convlab.lessons.channels_last import (
    Conv2D,
    Conv2DTranspose,
    Conv2DTransposeV2,
    downsample,
    rotate180,
    upsample,
    zero_pad,
)

MSE_LIMIT = 1e-6  # the notebook's EPS, which oracle's own tolerance is well below
LAYERS = (Conv2D, Conv2DTranspose, Conv2DTransposeV2)


def plane(rows) -> np.ndarray:
    """Make a plane a batch of one image with one channel."""
    return np.array(rows)[None, :, :, None]


def kernel_of(rows) -> np.ndarray:
    """Make a plane a kernel from one channel to one."""
    return np.array(rows)[:, :, None, None]


def torch_conv(layer):
    def operation(x, w, b):
        y = functional.conv2d(
            x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), b, stride=layer.stride, padding=layer.pad
        )
        return y.permute(0, 2, 3, 1)

    return operation


def torch_by_definition(layer):
    """Conv2DTranspose in its defining steps: insert zeros, pad or crop, slide the kernel."""
    stride, padding = layer.stride, layer.padding
    margin = layer.kernel.shape[0] - 1 - padding

    def operation(x, w, b):
        m, height, width, channels = x.shape
        spread = torch.zeros(
            (m, channels, stride * (height - 1) + 1, stride * (width - 1) + 1), dtype=x.dtype
        )
        spread[:, :, ::stride, ::stride] = x.permute(0, 3, 1, 2)
        padded = functional.pad(spread, [margin] * 4)
        return functional.conv2d(padded, w.permute(3, 2, 0, 1), b).permute(0, 2, 3, 1)

    return operation


def torch_scatter(layer):
    """Take the full result of torch's transposed convolution, and crop or continue it by hand."""
    padding, extra = layer.padding, layer.output_padding

    def operation(x, w, b):
        full = functional.conv_transpose2d(
            x.permute(0, 3, 1, 2), w.permute(2, 3, 0, 1), stride=layer.stride
        )
        cut = functional.pad(full, [-padding, extra - padding] * 2)
        return cut.permute(0, 2, 3, 1) + b

    return operation


def check(layer, operation, x_shape, dtype, label, mse_limit=np.inf):
    """Forward and all three gradients of a layer, for a dZ of random numbers."""
    generator = rng(label, dtype)
    layer.b = generator.standard_normal(layer.b.shape)  # an error in it would hide behind zeros
    x = generator.standard_normal(x_shape).astype(dtype)
    z = layer.forward(x)
    dz = generator.standard_normal(z.shape).astype(dtype)
    got = (z, *layer.backward(dz))
    assert {array.dtype for array in got} == {np.dtype(dtype)}
    operands = (x, layer.kernel.astype(dtype), layer.b.astype(dtype))
    assert_agrees(got, operation(layer), operands, dz, f"{label}, {dtype}", mse_limit)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [33, 32])
def test_conv2d_on_the_notebooks_shapes(size, dtype):
    """Protects the layer on m=16, 8 to 16 channels, k 3, pad 1, stride 1."""
    check(
        Conv2D(8, 16, 3, stride=1, pad=1, rng=1),
        torch_conv,
        (16, size, size, 8),
        dtype,
        f"Conv2D {size}x{size}",
        MSE_LIMIT,
    )


@pytest.mark.parametrize("kernel, stride, pad", [(1, 1, 0), (2, 3, 0), (3, 2, 1), (4, 2, 3)])
def test_conv2d_with_other_parameters(kernel, stride, pad):
    """Protects stride and padding, with rows that the last window does not reach."""
    layer = Conv2D(3, 2, kernel, stride, pad, rng=2)
    check(layer, torch_conv, (2, 9, 8, 3), "float64", f"Conv2D k{kernel} s{stride} p{pad}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transposed_layers_on_the_notebooks_shapes(dtype):
    """Protects both forms on m=4, 16x16, 32 to 8 channels, and on 2x2, 1 to 1, all k 3."""
    for channels, shape in (((32, 8), (4, 16, 16, 32)), ((1, 1), (1, 2, 2, 1))):
        layer = Conv2DTranspose(*channels, 3, stride=1, padding=1, rng=3)
        check(layer, torch_by_definition, shape, dtype, f"Conv2DTranspose {shape}", MSE_LIMIT)
        layer = Conv2DTransposeV2(*channels, 3, stride=1, padding=1, output_padding=0, rng=4)
        check(layer, torch_scatter, shape, dtype, f"Conv2DTransposeV2 {shape}", MSE_LIMIT)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", range(5))
def test_conv2d_transpose_is_its_definition(stride, padding):
    """Protects the equality with up-sampling and sliding; a padding of 3 or 4 crops at k 3."""
    layer = Conv2DTranspose(2, 3, 3, stride, padding, rng=5)
    label = f"Conv2DTranspose s{stride} p{padding}"
    check(layer, torch_by_definition, (2, 7, 8, 2), "float64", label)


@pytest.mark.parametrize("padding", range(4))
def test_conv2d_transpose_from_the_lessons_own_steps(padding):
    """Protects upsample, rotate180 and Conv2D fitting together to the transposed layer.

    The numbers are small integers, so the results must be equal to the last bit.
    """
    generator = rng("steps", padding)
    layer = Conv2DTranspose(2, 3, 3, stride=2, padding=padding)
    x = generator.integers(-9, 10, (2, 5, 4, 2))
    layer.kernel = generator.integers(-9, 10, layer.kernel.shape)
    layer.b = generator.integers(-9, 10, layer.b.shape)
    slide = Conv2D(2, 3, 3)
    slide.kernel, slide.b = layer.kernel, layer.b
    spread = upsample(x, 2, 3 - 1 - padding)
    assert_array_equal(layer.forward(x), slide.forward(spread))

    scatter = Conv2DTransposeV2(2, 3, 3, stride=2, padding=padding, output_padding=0)
    scatter.kernel, scatter.b = rotate180(layer.kernel), layer.b
    assert_array_equal(layer.forward(x), scatter.forward(x))

    dz = generator.integers(-9, 10, layer.forward(x).shape)
    dx, dw, db = layer.backward(dz)
    d_spread, dw_slide, db_slide = slide.backward(dz)
    assert_array_equal(dx, downsample(d_spread, 2, 3 - 1 - padding))
    assert_array_equal(dw, dw_slide)
    assert_array_equal(db, db_slide)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", range(4))
@pytest.mark.parametrize("output_padding", range(4))
def test_conv2d_transpose_v2_for_every_padding_and_output_padding(stride, padding, output_padding):
    """Protects crop and backward, which the notebook had for equal paddings only and not at all."""
    layer = Conv2DTransposeV2(2, 3, 3, stride, padding, output_padding, rng=7)
    label = f"Conv2DTransposeV2 s{stride} p{padding} op{output_padding}"
    check(layer, torch_scatter, (2, 5, 6, 2), "float64", label)


@pytest.mark.parametrize("stride, padding, output_padding", [(2, 1, 1), (3, 0, 2), (4, 2, 0)])
def test_conv2d_transpose_v2_has_torchs_orientation(stride, padding, output_padding):
    """Protects orientation and output_padding against torch's own, where torch takes them."""
    layer = Conv2DTransposeV2(3, 2, 3, stride, padding, output_padding, rng=8)

    def own(layer):
        def operation(x, w, b):
            y = functional.conv_transpose2d(
                x.permute(0, 3, 1, 2),
                w.permute(2, 3, 0, 1),
                b,
                stride=layer.stride,
                padding=layer.padding,
                output_padding=layer.output_padding,
            )
            return y.permute(0, 2, 3, 1)

        return operation

    check(layer, own, (2, 4, 5, 3), "float64", f"V2 s{stride} p{padding} op{output_padding}")


def test_conv2d_transpose_equals_torch_with_the_rotated_kernel():
    """Protects rotate180: the notebook turned the wrong axes and missed by an MSE of 0.0582."""
    layer = Conv2DTranspose(4, 3, 3, stride=2, padding=1, rng=9)
    x = rng("rotated").standard_normal((2, 5, 5, 4))
    weight = torch.tensor(rotate180(layer.kernel).transpose(2, 3, 0, 1).copy())
    expected = functional.conv_transpose2d(
        torch.tensor(x).permute(0, 3, 1, 2), weight, stride=2, padding=1
    ).permute(0, 2, 3, 1)
    mse = np.mean((layer.forward(x) - expected.numpy()) ** 2)
    print(f"MSE {mse:.1e}")
    assert mse < (9 * 4 * np.finfo(float).eps) ** 2


def test_conv2d_transpose_worked_example():
    """Protects the lesson's numbers."""
    layer = Conv2DTranspose(1, 1, 3, stride=2, padding=1)
    layer.kernel = kernel_of([[3, 1, 2], [2, 0, 0], [5, 4, 7]])
    got = layer.forward(plane([[2, 5], [4, 13]]))
    assert_array_equal(got, plane([[0, 4, 0], [18, 127, 57], [0, 8, 0]]))


def test_conv2d_transpose_v2_worked_example():
    """Protects the lesson's numbers."""
    layer = Conv2DTransposeV2(1, 1, 3, stride=2, padding=1, output_padding=1)
    layer.kernel = kernel_of([[1, 0, 2], [0, 1, 0], [1, 0, 0]])
    layer.b = [1]
    got = layer.forward(plane([[1, 0], [0, 1]]))
    assert_array_equal(got, plane([[2, 1, 1, 1], [1, 2, 1, 3], [1, 1, 2, 1], [1, 2, 1, 1]]))


def test_the_layers_defaults():
    """Protects the defaults, each of which must compute: V2's continue a stride-1 output by one."""
    assert repr(Conv2D(2, 3)) == "Conv2D(2, 3, 3, stride=1, pad=0)"
    assert repr(Conv2DTranspose(2, 3)) == "Conv2DTranspose(2, 3, 3, stride=2, padding=0)"
    layer = Conv2DTransposeV2(2, 3)
    assert repr(layer) == "Conv2DTransposeV2(2, 3, 3, stride=1, padding=1, output_padding=1)"
    assert layer.forward(np.ones((1, 4, 5, 2))).shape == (1, 5, 6, 3)


def test_zero_pad():
    """Protects the lesson's shape, the values, and that channels and batch stay as they are."""
    assert zero_pad(np.ones((30, 40, 40, 3)), 1).shape == (30, 42, 42, 3)
    x = rng("zero_pad").standard_normal((2, 3, 4, 2)).astype(np.float32)
    padded = zero_pad(x, 2)
    assert padded.dtype == np.float32
    assert_array_equal(padded[:, 2:-2, 2:-2], x)
    assert np.count_nonzero(padded) == np.count_nonzero(x)


@pytest.mark.parametrize("stride, pad", [(1, 0), (2, 0), (2, 2), (3, 1)])
def test_upsample_and_downsample(stride, pad):
    """Protects the size, the places and that the two are adjoint."""
    generator = rng("upsample", stride, pad)
    x = generator.integers(1, 9, (2, 4, 3, 2))
    spread = upsample(x, stride, pad)
    assert spread.shape == (2, stride * 3 + 1 + 2 * pad, stride * 2 + 1 + 2 * pad, 2)
    inside = slice(pad, -pad or None, stride)
    assert_array_equal(spread[:, inside, inside], x)
    assert np.count_nonzero(spread) == x.size
    assert_array_equal(downsample(spread, stride, pad), x)
    other = generator.integers(-9, 10, spread.shape)
    assert np.vdot(spread, other) == np.vdot(x, downsample(other, stride, pad))


def test_downsample_of_any_size():
    """Protects sizes that upsample does not make: what is left over at the end is not picked."""
    x = rng("downsample").standard_normal((2, 9, 8, 3))
    assert_array_equal(downsample(x, 3, 1), x[:, 1:-1:3, 1:-1:3])


def test_rotate180_turns_the_spatial_axes_alone():
    """Protects the channels, which the notebook turned."""
    kernel = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    turned = rotate180(kernel)
    for u, v in np.ndindex(2, 3):
        assert_array_equal(turned[u, v], kernel[1 - u, 2 - v])


@pytest.mark.parametrize("layer_class", LAYERS)
def test_initial_parameters(layer_class):
    """Protects shapes, zeros for the bias, a normal kernel and that a seed repeats it."""
    layer = layer_class(30, 20, 5, rng=10)
    assert layer.kernel.shape == (5, 5, 30, 20)
    assert_array_equal(layer.b, np.zeros(20))
    standard_error = 1 / np.sqrt(layer.kernel.size)
    assert abs(layer.kernel.mean()) < 5 * standard_error
    assert abs(layer.kernel.std() - 1) < 5 * standard_error
    assert_array_equal(layer.kernel, layer_class(30, 20, 5, rng=10).kernel)
    assert not np.array_equal(layer.kernel, layer_class(30, 20, 5, rng=11).kernel)


@pytest.mark.parametrize("layer_class", LAYERS)
def test_assigned_parameters_are_checked_and_copied(layer_class):
    """Protects a clear error for a wrong shape, and the caller's arrays from in-place steps."""
    layer = layer_class(2, 3, 3)
    with pytest.raises(ValueError, match=r"kernel must have shape \(3, 3, 2, 3\)"):
        layer.kernel = np.ones((3, 3, 3, 2))
    with pytest.raises(ValueError, match=r"b must have shape \(3,\), got \(2,\)"):
        layer.b = np.ones(2)
    with pytest.raises(ValueError, match="b must have shape"):
        layer.b = 1
    with pytest.raises(TypeError, match="kernel must be an array of real numbers"):
        layer.kernel = np.ones((3, 3, 2, 3), complex)
    mine = np.ones((3, 3, 2, 3))
    layer.kernel = mine
    layer.kernel -= 0.5
    layer.b = np.ones((1, 1, 1, 3))
    layer.b += 1
    assert_array_equal(mine, np.ones((3, 3, 2, 3)))
    assert_array_equal(layer.kernel, mine / 2)
    assert_array_equal(layer.b, np.full(3, 2))


@pytest.mark.parametrize("layer_class", LAYERS)
def test_backward_is_of_the_last_forward(layer_class):
    """Protects backward from parameters changed since, and from a forward that failed."""
    layer = layer_class(2, 3, 3, rng=12)
    x = rng("last").standard_normal((2, 6, 6, 2))
    dz = np.ones_like(layer.forward(x))
    before = layer.backward(dz)
    layer.kernel *= 2
    layer.stride = 3
    with pytest.raises(ValueError, match="channels"):
        layer.forward(np.ones((1, 6, 6, 5)))
    for first, second in zip(before, layer.backward(dz), strict=True):
        assert_array_equal(first, second)


@pytest.mark.parametrize("layer_class", LAYERS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "bool"])
def test_the_dtype_follows_the_input(layer_class, dtype):
    """Protects float32 against the float64 parameters, and float64 for integers."""
    layer = layer_class(2, 3, 3)
    expected = np.float32 if dtype == "float32" else np.float64
    z = layer.forward(np.ones((1, 5, 5, 2), dtype))
    assert z.dtype == expected
    assert [g.dtype for g in layer.backward(np.ones(z.shape, int))] == [expected] * 3


@pytest.mark.parametrize("layer_class", LAYERS)
def test_layers_refuse_wrong_calls(layer_class):
    """Protects the messages for a wrong order, rank, shape, dtype and number of channels."""
    name = layer_class.__name__
    layer = layer_class(2, 3, 3)
    with pytest.raises(RuntimeError, match=f"{name}.backward: call forward first"):
        layer.backward(np.ones((1, 4, 4, 3)))
    with pytest.raises(ValueError, match=rf"{name}.forward: A_prev must have 4 axes \(m, H, W, C"):
        layer.forward(np.ones((5, 5, 2)))
    z = layer.forward(np.ones((1, 5, 5, 2)))
    for dz in (z[0], z[:, 1:], np.pad(z, ((0, 0), (0, 1), (0, 0), (0, 0)))):
        with pytest.raises(ValueError, match=f"{name}.backward: dZ must have the shape of the"):
            layer.backward(dz)
    with pytest.raises(TypeError, match="dZ is complex128"):
        layer.backward(z * 1j)
    with pytest.raises(ValueError, match="the kernel size must be at least 1"):
        layer_class(2, 3, 0)
    with pytest.raises(TypeError, match="the number of input channels must be an int"):
        layer_class(2.5, 3)


def test_conv2d_transpose_v2_refuses_wrong_paddings():
    """Protects the messages for an output_padding below zero and a padding by name."""
    x = np.ones((1, 4, 4, 1))
    with pytest.raises(ValueError, match="output_padding must be at least 0, got -1"):
        Conv2DTransposeV2(1, 1, output_padding=-1).forward(x)
    with pytest.raises(ValueError, match="padding must be given in numbers"):
        Conv2DTransposeV2(1, 1, padding="same").forward(x)


def test_building_blocks_refuse_wrong_arguments():
    """Protects the messages of the functions."""
    batch = np.ones((1, 3, 3, 1))
    for function, stride in (
        (zero_pad, {}),
        (upsample, {"stride": 1}),
        (downsample, {"stride": 1}),
    ):
        with pytest.raises(ValueError, match=f"{function.__name__}: X must have 4 axes"):
            function(np.ones((3, 3)), pad=1, **stride)
        with pytest.raises(TypeError, match=f"{function.__name__}: pad must be an int"):
            function(batch, pad=0.5, **stride)
    with pytest.raises(ValueError, match="zero_pad: pad must be at least 0, got -1"):
        zero_pad(batch, -1)
    with pytest.raises(ValueError, match="stride must be at least 1"):
        upsample(batch, 0)
    with pytest.raises(ValueError, match="rotate180: matrix must have 4 axes"):
        rotate180(np.ones((3, 3)))
