"""The few checks that the layers and the lessons make themselves, before the API sees a call."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from convlab import _arguments, _arrays


def array_with_axes(function: str, name: str, value: ArrayLike, axes: str) -> np.ndarray:
    """Return `array` as an ndarray, having made sure that it has exactly the axes named.

    Parameters
    ----------
    function, name : str
        Who asks, and for which argument: the error message says both.
    value : array_like
        The argument.
    axes : str
        The names of the axes with spaces between, as in ``"m H W C"``.

    Returns
    -------
    numpy.ndarray
        `value` itself where it is an ndarray already.

    Raises
    ------
    ValueError
        If the number of axes is another.

    Examples
    --------
    >>> array_with_axes("zero_pad", "X", [1, 2], "m H W C")
    Traceback (most recent call last):
    ...
    ValueError: zero_pad: X must have 4 axes (m, H, W, C), but its shape is (2,)
    """
    array = _arrays.array(function, name, value)
    names = axes.split()
    if array.ndim != len(names):
        raise ValueError(
            f"{function}: {name} must have {len(names)} axes ({', '.join(names)}), "
            f"but its shape is {array.shape}"
        )
    return array


def transposed_margins(
    function: str,
    padding: int | tuple[Any, ...],
    output_padding: int | tuple[int, ...],
) -> list[tuple[int, int]]:
    """Write a padding and an output_padding as one (before, after) padding per axis.

    Padding p takes p rows off each end of a transposed convolution's full output, and
    output_padding puts rows back at the end, so the two together take off p rows before and
    ``p - output_padding`` after. A negative number appends rows.

    Parameters
    ----------
    function : str
        Who asks: error messages say it.
    padding : int, one int per axis, or one (before, after) pair per axis
        As above.
    output_padding : int or pair of ints
        As above.

    Returns
    -------
    list of two pairs of ints
        Height's (before, after), then width's.

    Raises
    ------
    TypeError
        If either is not made of ints.
    ValueError
        If either has another length than two, `output_padding` is negative, or `padding` is the
        name of a mode: those fix the output's size themselves.

    Examples
    --------
    >>> transposed_margins("Conv2DTransposeV2", 1, (0, 2))
    [(1, 1), (1, -1)]
    """
    sides = _arguments.padding(function, padding, 2)
    if isinstance(sides, str):
        raise ValueError(f"{function}: padding must be given in numbers here, got {sides!r}")
    extras = _arguments.per_axis(function, "output_padding", output_padding, 2, 0)
    return [(before, after - extra) for before, after, extra in zip(*sides, extras, strict=True)]
