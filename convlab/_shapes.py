"""Sizes: what a convolution and a transposed convolution make of their inputs' shapes.

Per spatial axis, with n the input, k the kernel, s the stride, d the dilation, (b, a) the padding
before and after, and op the output padding:

    convolution             floor((n + b + a - d*(k - 1) - 1) / s) + 1
    transposed convolution  s*(n - 1) + d*(k - 1) + 1 - b - a + op
"""

from __future__ import annotations

from typing import Any, SupportsIndex

from convlab import _arguments
from convlab._types import Ints, Layout, Padding, Sizes

Shape = tuple[int, ...]

_DATA_AXES = {
    False: {1: "N, C, W", 2: "N, C, H, W", 3: "N, C, D, H, W"},
    True: {1: "N, W, C", 2: "N, H, W, C", 3: "N, D, H, W, C"},
}


class Parameters:
    """The parameters of one call, parsed, and the shape rules that follow from them.

    ``function`` is the public name that messages begin with. Weight shapes are those of the user's
    layout; all other sizes are ordered depth, height, width.
    """

    __slots__ = ("channels_last", "dilation", "function", "groups", "nd", "padding", "stride")

    def __init__(
        self,
        function: str,
        nd: int,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: Any,
        layout: Any,
    ) -> None:
        self.function = function
        self.nd = nd
        self.stride = _arguments.per_axis(function, "stride", stride, nd, 1)
        self.padding = _arguments.padding(function, padding, nd)
        self.dilation = _arguments.per_axis(function, "dilation", dilation, nd, 1)
        self.groups = _arguments.integer(function, "groups", groups, 1)
        self.channels_last = _arguments.channels_last(function, layout)

    @property
    def channel_axis(self) -> int:
        """Position of the channels in data, counted from the end: with and without N the same."""
        return -1 if self.channels_last else -1 - self.nd

    # ---- shapes and their parts ----------------------------------------------------------------

    def data_parts(self, name: str, shape: Shape) -> tuple[Shape, int, Shape]:
        """Split a data shape into batch, ``(N,)`` or ``()``, channels and spatial size."""
        nd = self.nd
        batch = len(shape) - nd - 1
        if batch not in (0, 1):
            axes = _DATA_AXES[self.channels_last][nd]
            raise ValueError(
                f"{self.function}: {name} must have {nd + 2} axes ({axes}), or {nd + 1} without N, "
                f"got shape {shape}"
            )
        if self.channels_last:
            return shape[:batch], shape[-1], shape[batch:-1]
        return shape[:batch], shape[batch], shape[batch + 1 :]

    def data_shape(self, batch: Shape, channels: int, spatial: Shape) -> Shape:
        """Join what data_parts split."""
        if self.channels_last:
            return (*batch, *spatial, channels)
        return (*batch, channels, *spatial)

    def weight_parts(self, shape: Shape, transposed: bool, name: str) -> tuple[int, int, Shape]:
        """Split a weight shape into its channel counts, in channels_first's order, and kernel."""
        nd = self.nd
        if len(shape) != nd + 2:
            channels = "C_in, C_out/groups" if transposed else "C_out, C_in/groups"
            if self.channels_last:
                channels = channels if transposed else "C_in/groups, C_out"
            axes = f"*kernel, {channels}" if self.channels_last else f"{channels}, *kernel"
            raise ValueError(
                f"{self.function}: {name} must have {nd + 2} axes ({axes}), got shape {shape}"
            )
        if not self.channels_last:
            first, second, kernel = shape[0], shape[1], shape[2:]
        elif transposed:
            first, second, kernel = shape[-2], shape[-1], shape[:-2]
        else:
            first, second, kernel = shape[-1], shape[-2], shape[:-2]
        if 0 in kernel:
            raise ValueError(
                f"{self.function}: the kernel of {name} must have at least one element on every "
                f"axis, got {kernel}"
            )
        return first, second, kernel

    def weight_shape(self, first: int, second: int, kernel: Shape, transposed: bool) -> Shape:
        """Join what weight_parts split."""
        if not self.channels_last:
            return (first, second, *kernel)
        return (*kernel, first, second) if transposed else (*kernel, second, first)

    def per_group(self, channels: int, what: str) -> int:
        """Share channels out among the groups."""
        if channels % self.groups:
            raise ValueError(
                f"{self.function}: {what} has {channels} channels, "
                f"which groups={self.groups} does not divide"
            )
        return channels // self.groups

    def _margins(self) -> tuple[Shape, Shape]:
        """Return the padding before and after, which is numbers here and no mode."""
        assert not isinstance(self.padding, str)
        return self.padding

    # ---- convolution ---------------------------------------------------------------------------

    def conv_output(
        self, x_shape: Shape, w_shape: Shape, x_name: str = "x", w_name: str = "weight"
    ) -> tuple[Shape, Shape]:
        """Return the output shape of a convolution and the padding before each axis."""
        batch, channels, spatial = self.data_parts(x_name, x_shape)
        out_channels, in_per_group, kernel = self.weight_parts(w_shape, False, w_name)
        if in_per_group * self.groups != channels:
            raise ValueError(
                f"{self.function}: {w_name} has {in_per_group} input channels per group, "
                f"but {x_name} has {channels} channels and groups={self.groups}"
            )
        if out_channels % self.groups:
            raise ValueError(
                f"{self.function}: {w_name} has {out_channels} output channels, "
                f"which groups={self.groups} does not divide"
            )
        before, out = self.conv_sizes(spatial, kernel)
        return self.data_shape(batch, out_channels, out), before

    def conv_sizes(self, spatial: Shape, kernel: Shape) -> tuple[Shape, Shape]:
        """Return the padding before and the output size, per axis."""
        if isinstance(self.padding, str):
            return self._same_sizes(spatial, kernel)
        before, after = self.padding
        s, d = self.stride, self.dilation
        out = [
            (n + before[i] + after[i] - d[i] * (kernel[i] - 1) - 1) // s[i] + 1
            for i, n in enumerate(spatial)
        ]
        if min(out) < 1:
            self._raise_kernel_too_large(spatial, kernel)
        return before, tuple(out)

    def _same_sizes(self, spatial: Shape, kernel: Shape) -> tuple[Shape, Shape]:
        """Sizes of a "same" convolution: ceil(n / s), from zeros spread evenly to both sides."""
        out = tuple(-(-n // s) for n, s in zip(spatial, self.stride, strict=True))
        missing = [
            max((o - 1) * s + d * (k - 1) + 1 - n, 0)
            for n, o, k, s, d in zip(spatial, out, kernel, self.stride, self.dilation, strict=True)
        ]
        odd_one_first = self.padding == "same_lower"
        return tuple((total + odd_one_first) // 2 for total in missing), out

    def _raise_kernel_too_large(self, spatial: Shape, kernel: Shape) -> None:
        before, after = self._margins()
        padded = tuple(n + b + a for n, b, a in zip(spatial, before, after, strict=True))
        dilated = _dilated(kernel, self.dilation)
        raise ValueError(
            f"{self.function}: the kernel of size {kernel}"
            + (f", {dilated} when dilated by {self.dilation}," if dilated != kernel else "")
            + f" is larger than the padded input of size {padded}"
        )

    # ---- transposed convolution ----------------------------------------------------------------

    def transpose_output(
        self,
        x_shape: Shape,
        w_shape: Shape,
        output_padding: Shape,
        output_size: Shape | None,
        x_name: str = "x",
        w_name: str = "weight",
        size_name: str = "output_size",
    ) -> tuple[Shape, Shape]:
        """Return the output shape of a transposed convolution and the padding before each axis."""
        batch, channels, spatial = self.data_parts(x_name, x_shape)
        in_channels, out_per_group, kernel = self.weight_parts(w_shape, True, w_name)
        if in_channels != channels:
            raise ValueError(
                f"{self.function}: {w_name} has {in_channels} input channels, "
                f"but {x_name} has {channels} channels"
            )
        self.per_group(channels, x_name)
        if isinstance(self.padding, str):
            sizes = self._same_transpose_sizes(spatial, output_size, size_name)
            before, _ = self._same_sizes(sizes, kernel)
        else:
            before, _ = self.padding
            sizes = self._transpose_sizes(spatial, kernel, output_padding, output_size, size_name)
        return self.data_shape(batch, out_per_group * self.groups, sizes), before

    def _transpose_sizes(
        self,
        spatial: Shape,
        kernel: Shape,
        output_padding: Shape,
        output_size: Shape | None,
        size_name: str,
    ) -> Shape:
        before, after = self._margins()
        least = tuple(
            s * (n - 1) + d * (k - 1) + 1 - b - a
            for n, k, s, b, a, d in zip(
                spatial, kernel, self.stride, before, after, self.dilation, strict=True
            )
        )
        if output_size is None:
            sizes = tuple(n + extra for n, extra in zip(least, output_padding, strict=True))
            if min(sizes) < 0:
                raise ValueError(
                    f"{self.function}: padding crops more than there is: "
                    f"the output would have size {sizes}"
                )
            return sizes
        most = tuple(
            n + max(s, d) - 1 for n, s, d in zip(least, self.stride, self.dilation, strict=True)
        )
        self._check_size(output_size, least, most, size_name)
        return output_size

    def _same_transpose_sizes(
        self, spatial: Shape, output_size: Shape | None, size_name: str
    ) -> Shape:
        """Sizes whose "same" convolution has the size of x: by default the largest, n * s."""
        most = tuple(n * s for n, s in zip(spatial, self.stride, strict=True))
        if output_size is None:
            return most
        least = tuple(max(s * (n - 1) + 1, 0) for n, s in zip(spatial, self.stride, strict=True))
        self._check_size(output_size, least, most, size_name)
        return output_size

    def _check_size(self, size: Shape, least: Shape, most: Shape, name: str) -> None:
        if not all(low <= n <= high for n, low, high in zip(size, least, most, strict=True)):
            raise ValueError(
                f"{self.function}: {name} must lie between {least} and {most} "
                f"for this input, kernel, stride, padding and dilation, got {size}"
            )

    def transpose_input(
        self, dy_shape: Shape, w_shape: Shape, output_padding: Shape | None
    ) -> tuple[Shape, Shape]:
        """Return the input shape of a transposed convolution with this output, and the padding."""
        batch, channels, spatial = self.data_parts("dy", dy_shape)
        in_channels, out_per_group, kernel = self.weight_parts(w_shape, True, "weight")
        if out_per_group * self.groups != channels:
            raise ValueError(
                f"{self.function}: weight has {out_per_group} output channels per group, "
                f"but dy has {channels} channels and groups={self.groups}"
            )
        if in_channels % self.groups:
            raise ValueError(
                f"{self.function}: weight has {in_channels} input channels, "
                f"which groups={self.groups} does not divide"
            )
        if isinstance(self.padding, str):
            before, sizes = self._same_sizes(spatial, kernel)
        else:
            before, _ = self.padding
            sizes = self._transpose_input_sizes(spatial, kernel, output_padding)
        return self.data_shape(batch, in_channels, sizes), before

    def _transpose_input_sizes(
        self, spatial: Shape, kernel: Shape, output_padding: Shape | None
    ) -> Shape:
        before, after = self._margins()
        extras = output_padding or (0,) * self.nd
        reach = [
            n + b + a - d * (k - 1) - 1 - extra
            for n, k, b, a, d, extra in zip(
                spatial, kernel, before, after, self.dilation, extras, strict=True
            )
        ]
        steps = [divmod(length, s) for length, s in zip(reach, self.stride, strict=True)]
        sizes = tuple(whole + 1 for whole, _ in steps)
        if min(sizes) < 0 or (output_padding is not None and any(rest for _, rest in steps)):
            raise ValueError(
                f"{self.function}: no input gives a dy of size {spatial} with kernel {kernel}, "
                f"stride {self.stride}, dilation {self.dilation}, padding {self.padding} "
                f"and output_padding {output_padding or 'as needed'}"
            )
        return sizes

    def check_spatial(self, name: str, shape: Shape, expected: Shape | None) -> None:
        """Raise unless data have the spatial size expected, if any is."""
        _, _, spatial = self.data_parts(name, shape)
        if expected is not None and spatial != expected:
            raise ValueError(
                f"{self.function}: {name} must have the spatial size {expected}, got {spatial}"
            )

    def output_padding(self, value: Any) -> Shape:
        """Parse output_padding: per axis, smaller than stride or dilation."""
        extra = _arguments.per_axis(self.function, "output_padding", value, self.nd, 0)
        if any(extra) and isinstance(self.padding, str):
            raise ValueError(
                f"{self.function}: padding={self.padding!r} fixes the output's size, "
                f"so output_padding must be 0, got {extra}"
            )
        for n, s, d in zip(extra, self.stride, self.dilation, strict=True):
            if n >= max(s, d):
                raise ValueError(
                    f"{self.function}: output_padding must be smaller than stride or dilation on "
                    f"every axis, got {extra} with stride {self.stride} and "
                    f"dilation {self.dilation}"
                )
        return extra

    def output_size(self, value: Any, output_padding: Shape) -> Shape | None:
        """Parse output_size, which takes the place of output_padding."""
        if value is None:
            return None
        if any(output_padding):
            raise ValueError(
                f"{self.function}: give output_size or output_padding, not both "
                f"(output_padding is {output_padding})"
            )
        return _arguments.size(self.function, "output_size", value, self.nd)


def _dilated(kernel: Shape, dilation: Shape) -> Shape:
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))


def _rank_of_weight(function: str, weight_shape: Shape) -> int:
    nd = len(weight_shape) - 2
    if nd not in _arguments.AXES:
        raise ValueError(f"{function}: weight_shape must have 3 to 5 axes, got {len(weight_shape)}")
    return nd


def conv_output_shape(
    input_shape: Sizes,
    weight_shape: Sizes,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    layout: Layout = "channels_first",
) -> Shape:
    """Shape of a convolution's output.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of x, with or without the batch axis.
    weight_shape : tuple of int
        Shape of w; its length says how many spatial axes there are (1 to 3).
    stride, padding, dilation, groups, layout
        As in `conv2d`.

    Returns
    -------
    tuple of int
        Per spatial axis ``floor((n + before + after - dilation*(k-1) - 1) / stride) + 1``.

    Raises
    ------
    ValueError
        If shapes and parameters do not fit together.
    TypeError
        If an argument has the wrong type.

    Notes
    -----
    Equation (10) of docs/math.md; (12) for padding "same".

    Examples
    --------
    >>> conv_output_shape((8, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3)
    (8, 64, 112, 112)
    """
    name = "conv_output_shape"
    x_shape = _arguments.shape(name, "input_shape", input_shape)
    w_shape = _arguments.shape(name, "weight_shape", weight_shape)
    nd = _rank_of_weight(name, w_shape)
    call = Parameters(name, nd, stride, padding, dilation, groups, layout)
    return call.conv_output(x_shape, w_shape, "input_shape", "weight_shape")[0]


def conv_transpose_output_shape(
    input_shape: Sizes,
    weight_shape: Sizes,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Padding = 0,
    dilation: Ints = 1,
    groups: SupportsIndex = 1,
    output_size: Ints | None = None,
    layout: Layout = "channels_first",
) -> Shape:
    """Shape of a transposed convolution's output.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of x, with or without the batch axis.
    weight_shape : tuple of int
        Shape of w; its length says how many spatial axes there are (1 to 3).
    stride, padding, output_padding, dilation, groups, output_size, layout
        As in `conv_transpose2d`.

    Returns
    -------
    tuple of int
        Per spatial axis
        ``stride*(n-1) + dilation*(k-1) + 1 - before - after + output_padding``.

    Raises
    ------
    ValueError
        If shapes and parameters do not fit together.
    TypeError
        If an argument has the wrong type.

    Notes
    -----
    Equation (11) of docs/math.md.

    Examples
    --------
    >>> conv_transpose_output_shape((4, 32, 16, 16), (32, 8, 3, 3), stride=2, padding=1)
    (4, 8, 31, 31)
    """
    name = "conv_transpose_output_shape"
    x_shape = _arguments.shape(name, "input_shape", input_shape)
    w_shape = _arguments.shape(name, "weight_shape", weight_shape)
    nd = _rank_of_weight(name, w_shape)
    call = Parameters(name, nd, stride, padding, dilation, groups, layout)
    extra = call.output_padding(output_padding)
    size = call.output_size(output_size, extra)
    return call.transpose_output(x_shape, w_shape, extra, size, "input_shape", "weight_shape")[0]
