"""Which inputs feed which outputs: the index formulas of docs/math.md, axis by axis."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import Any

from convlab import _arguments
from convlab._shapes import Parameters, Shape


@dataclass(frozen=True)
class Axis:
    """One spatial axis of a convolution or of a transposed convolution.

    Attributes
    ----------
    input, kernel, stride, dilation : int
        Input size, kernel size, stride and dilation.
    before, after : int
        Padding at the start and at the end; negative padding crops.
    output_padding : int
        Positions added at the end of the output; only a transposed convolution has them.
    transposed : bool
        Which of the two operations the axis belongs to.
    """

    input: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0
    output_padding: int = 0
    transposed: bool = False

    @property
    def reach(self) -> int:
        """Cells from the first to the last tap of the dilated kernel, both counted."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def output(self) -> int:
        """Output size by the formula."""
        padding = self.before + self.after
        if self.transposed:
            return self.stride * (self.input - 1) + self.reach - padding + self.output_padding
        return (self.input + padding - self.reach) // self.stride + 1

    @property
    def left_over(self) -> int:
        """Cells at the end of a convolution's padded input that no window reaches."""
        return (self.input + self.before + self.after - self.reach) % self.stride

    def taps(self, output: int) -> tuple[range, range]:
        """Kernel indices that feed one output position, and the input position of each.

        Positions outside ``range(self.input)`` are padding.
        """
        if not self.transposed:
            first = self.stride * output - self.before
            step = self.dilation
            return range(self.kernel), range(first, first + step * self.kernel, step)
        # The k >= 0 for which the stride divides target - dilation*k are a progression.
        target = output + self.before
        common = math.gcd(self.stride, self.dilation)
        period, step = self.stride // common, self.dilation // common
        if target % common:
            return range(0), range(0)
        kernel = range(target // common * pow(step, -1, period) % period, self.kernel, period)
        first = (target - self.dilation * kernel.start) // self.stride
        return kernel, range(first, first - step * len(kernel), -step)

    def inside(self, positions: range) -> int:
        """Count the input positions, of one output's taps, that hold data and not padding."""
        upward = positions if positions.step > 0 else positions[::-1]
        return bisect_left(upward, self.input) - bisect_left(upward, 0)

    def is_inside(self, position: int) -> bool:
        """Whether an input position holds data, not padding."""
        return 0 <= position < self.input


def resolve(
    function: str,
    input_shape: Any,
    weight_shape: Any,
    *,
    transposed: bool = False,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
    output_size: Any = None,
    layout: Any = "channels_first",
) -> tuple[Shape, tuple[Axis, ...]]:
    """Output shape and axes of a call; where it is wrong, the error of `function`."""
    x_shape = _arguments.shape(function, "input_shape", input_shape)
    w_shape = _arguments.shape(function, "weight_shape", weight_shape)
    nd = len(w_shape) - 2
    if nd not in _arguments.AXES:
        raise ValueError(f"{function}: weight must have 3 to 5 axes, got shape {w_shape}")
    call = Parameters(function, nd, stride, padding, dilation, groups, layout)
    if transposed:
        extra = call.output_padding(output_padding)
        wanted = call.output_size(output_size, extra)
        y_shape, before = call.transpose_output(x_shape, w_shape, extra, wanted)
    else:
        y_shape, before = call.conv_output(x_shape, w_shape)
    sizes = (
        call.data_parts("x", x_shape)[2],
        call.weight_parts(w_shape, transposed, "weight")[2],
        call.stride,
        call.dilation,
        before,
        call.data_parts("y", y_shape)[2],
    )
    after = call.padding[1] if isinstance(call.padding, tuple) else (None,) * nd
    axes = (
        _axis(*numbers, after=given, transposed=transposed)
        for *numbers, given in zip(*sizes, after, strict=True)
    )
    return y_shape, tuple(axes)


def _axis(
    n: int, k: int, stride: int, dilation: int, before: int, out: int,
    *, after: int | None, transposed: bool,
) -> Axis:  # fmt: skip
    """One axis from its resolved sizes; `after` is None where "same" padding fixes it."""
    if after is None:
        small, large = (n, out) if transposed else (out, n)
        after = max((small - 1) * stride + dilation * (k - 1) + 1 - large, 0) - before
    axis = Axis(n, k, stride, dilation, before, after, transposed=transposed)
    return replace(axis, output_padding=out - axis.output) if transposed else axis
