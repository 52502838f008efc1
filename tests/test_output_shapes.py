"""Output sizes, against counting positions one by one."""

import itertools

import numpy as np
import pytest
import torch
from oracle import rng

import convlab

# n, k, s, d; and paddings, before and after
SIZES = list(itertools.product((1, 2, 5, 6), (1, 2, 3), (1, 2, 3), (1, 2)))
PADDINGS = list(itertools.product((0, 1, 2), (0, -1, 3)))
every_size = pytest.mark.parametrize(("n", "k", "s", "d"), SIZES)
every_padding = pytest.mark.parametrize(("before", "after"), PADDINGS)


def count_positions(n, k, s, d, before, after):
    """How many windows, s apart, fit into the padded input."""
    starts = range(0, n + before + after, s)
    return sum(start + d * (k - 1) < n + before + after for start in starts)


@every_padding
def test_conv_size_counts_positions(before, after):
    """The size of a convolution is the number of windows; with none it is an error."""
    for n, k, s, d in SIZES:
        expected = count_positions(n, k, s, d, before, after)
        options = {"stride": s, "dilation": d, "padding": ((before, after),)}
        if expected == 0:
            with pytest.raises(
                ValueError, match=r"^conv_output_shape: the kernel .* is larger than"
            ):
                convlab.conv_output_shape((2, 3, n), (4, 3, k), **options)
        else:
            shape = convlab.conv_output_shape((2, 3, n), (4, 3, k), **options)
            assert shape == (2, 4, expected)


@every_padding
def test_transposed_size_is_the_inverse(before, after):
    """The sizes that output_size accepts include all that a convolution makes n of."""
    for n, k, s, d in SIZES:
        options = {"stride": s, "dilation": d, "padding": ((before, after),)}
        inverse_images = [
            m for m in range(0, 40) if count_positions(m, k, s, d, before, after) == n
        ]
        for m in inverse_images:
            shape = convlab.conv_transpose_output_shape((3, n), (3, 4, k), output_size=m, **options)
            assert shape == (4, m)
        smallest = s * (n - 1) + d * (k - 1) + 1 - before - after
        if smallest >= 0:
            assert convlab.conv_transpose_output_shape((3, n), (3, 4, k), **options) == (
                4,
                smallest,
            )
        for outside in (smallest - 1, smallest + max(s, d)):
            if outside >= 0:
                with pytest.raises(ValueError, match="output_size must lie between"):
                    convlab.conv_transpose_output_shape(
                        (3, n), (3, 4, k), output_size=outside, **options
                    )


@pytest.mark.parametrize("mode", ["same", "same_lower"])
@every_size
def test_same(mode, n, k, s, d):
    """Same gives ceil(n/s), by the fewest zeros that do, spread evenly, the odd one as told."""
    x, w = rng("same", n).integers(-3, 4, (1, 1, n)).astype(float), np.arange(1.0, k + 1)
    y = convlab.conv1d(x, w[None, None], stride=s, dilation=d, padding=mode)
    assert y.shape == (1, 1, -(-n // s))
    total = min(p for p in range(20) if count_positions(n, k, s, d, 0, p) == y.shape[-1])
    short, long = total // 2, total - total // 2
    pads = (short, long) if mode == "same" else (long, short)
    explicit = convlab.conv1d(x, w[None, None], stride=s, dilation=d, padding=(pads,))
    assert np.array_equal(y, explicit)


@pytest.mark.parametrize("mode", ["same", "same_lower"])
@every_size
def test_same_transposed(mode, n, k, s, d):
    """A transposed "same" gives n*s, or the output_size asked for, and is the adjoint of "same"."""
    options = {"stride": s, "dilation": d, "padding": mode}
    x = rng("same x", n).integers(-3, 4, (1, 1, n)).astype(float)
    w = np.arange(1.0, k + 1)[None, None]
    assert convlab.conv_transpose1d(x, w, **options).shape[-1] == n * s
    for m in range(s * (n - 1) + 1, s * n + 1):
        y = convlab.conv_transpose1d(x, w, output_size=m, **options)
        assert y.shape[-1] == m
        probe = rng("same probe", m).integers(-3, 4, (1, 1, m)).astype(float)
        assert np.vdot(y, probe) == np.vdot(x, convlab.conv1d(probe, w, **options))
        dx = convlab.conv_transpose1d_grad_input(probe, w, **options)
        assert np.array_equal(dx, convlab.conv1d(probe, w, **options))


@pytest.mark.parametrize("s", [1, 2, 3])
@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("extra", [0, 1, 2])
def test_output_padding_follows_torch(s, d, extra):
    """output_padding takes part in the computation as in torch, up to stride or dilation."""
    x = rng("x").integers(-3, 4, (2, 3, 4)).astype(float)
    w = rng("w").integers(-3, 4, (3, 2, 3)).astype(float)
    options = {"stride": s, "dilation": d, "padding": 1, "output_padding": extra}
    if extra >= max(s, d):
        with pytest.raises(ValueError, match="output_padding must be smaller than"):
            convlab.conv_transpose1d(x, w, **options)
        return
    y = convlab.conv_transpose1d(x, w, **options)
    expected = torch.conv_transpose1d(
        torch.tensor(x), torch.tensor(w), stride=s, dilation=d, padding=1, output_padding=extra
    )
    assert np.array_equal(y, expected.numpy())
    dx = convlab.conv_transpose1d_grad_input(y, w, **options)
    assert dx.shape == x.shape


def test_layouts_and_ranks():
    """Both layouts, every rank, groups, with and without a batch axis."""
    shape = convlab.conv_output_shape
    assert shape((8, 9, 4), (3, 3, 2, 6), groups=2, layout="channels_last") == (6, 7, 6)
    assert shape((2, 4, 8, 9), (6, 2, 3, 3), groups=2) == (2, 6, 6, 7)
    assert shape((1, 1, 5, 6, 7), (2, 1, 1, 2, 3)) == (1, 2, 5, 5, 5)
    transposed = convlab.conv_transpose_output_shape
    assert transposed((8, 9, 4), (3, 3, 4, 6), groups=2, layout="channels_last") == (10, 11, 12)
    assert transposed((5, 4, 7), (4, 3, 2), stride=2) == (5, 3, 14)


@pytest.mark.parametrize("shape", [convlab.conv_output_shape, convlab.conv_transpose_output_shape])
def test_wrong_shapes(shape):
    """Shapes are tuples of sizes, of 3 to 5 axes for the weight."""
    name = shape.__name__
    with pytest.raises(ValueError, match=f"^{name}: weight_shape must have 3 to 5 axes, got 2"):
        shape((1, 2), (3, 4))
    with pytest.raises(ValueError, match=f"^{name}: input_shape must have 3 axes"):
        shape((1, 2, 3, 4), (2, 2, 1))
    with pytest.raises(TypeError, match=f"^{name}: input_shape must be a tuple of ints, got int"):
        shape(5, (1, 1, 1))
    with pytest.raises(ValueError, match=f"^{name}: weight_shape .* input channels"):
        shape((1, 3, 5), (2, 2, 1))


def test_sizes_beyond_memory():
    """Shapes are arithmetic: they need no memory and do not wrap round."""
    shape = convlab.conv_output_shape((1, 1, 2**62), (1, 1, 3), padding=2**31 - 1)
    assert shape == (1, 1, 2**62 - 2 + 2 * (2**31 - 1))
