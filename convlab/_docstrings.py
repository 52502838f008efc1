"""Docstrings of functions that are written once for 1, 2 and 3 spatial axes.

A docstring's ``$name`` stands for a word of the rank (a shape, an axis list) or for the description
of parameters that several functions share.
"""

import inspect
import re
from collections.abc import Callable
from string import Template
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

_STRIDE = """
stride : int or tuple of int
    Step between windows, one for all axes or one per axis ($order)."""
_PADDING = """
padding : int, tuple or str
    Zeros round the input: an int, an int per axis, a ``(before, after)`` pair per axis,
    ``"valid"`` (none), ``"same"`` (output size ``ceil(n / stride)``, the odd zero at the end) or
    ``"same_lower"`` (the odd zero at the start). Negative padding crops."""
_TRANSPOSED_PADDING = """
padding : int, tuple or str
    Padding of the convolution that this one is the adjoint of, so what is cropped from the output
    here: an int, an int per axis, a ``(before, after)`` pair per axis, or ``"valid"`` (none).
    ``"same"`` and ``"same_lower"``, adjoints of such convolutions, give ``n * stride`` elements.
    Negative padding extends the output."""
_REST = """
dilation : int or tuple of int
    Step between the elements of the kernel.
groups : int
    Number of groups that the channels are divided into, each convolved by itself.
layout : {"channels_first", "channels_last"}
    Order of the axes of data and weights."""

_SHARED = {
    "parameters": _STRIDE + _PADDING + _REST,
    "transposed_parameters": _STRIDE + _TRANSPOSED_PADDING + _REST,
    "out": """
out : ndarray, optional
    Where the result goes: of its exact shape and dtype, with any strides; it is also returned.""",
    "needs": """
needs : collection of {"input", "weight", "bias"}
    The gradients to compute; the others are None and cost nothing.""",
    "gradient_sizes": """
output_padding : int or tuple of int, optional
    As in the forward call; by default what the size of dy says.
output_size : int or tuple of int, optional
    As in the forward call; by default the size of dy.""",
    "errors": """
ValueError
    If sizes or values do not fit together.
TypeError
    If an argument or a dtype is of the wrong kind.""",
}

_INPUT_AXES = {1: "W", 2: "H, W", 3: "D, H, W"}
_ORDER = {1: "width", 2: "height, width", 3: "depth, height, width"}


def _words(nd: int) -> dict[str, str]:
    """Say in the words of one rank what docstrings leave open."""
    axes = _INPUT_AXES[nd]
    kernel, output = (re.sub(r"(\w)", prefix + r"\1", axes) for prefix in ("k", "o"))
    sizes = {f"_{n}": ", ".join([str(n)] * nd) for n in (2, 3, 5)}
    return sizes | {
        "nd": str(nd),
        "order": _ORDER[nd],
        "axis_word": "axis" if nd == 1 else "axes",
        "x_first": f"(N, C_in, {axes})",
        "x_last": f"(N, {axes}, C_in)",
        "y_first": f"(N, C_out, {output})",
        "y_last": f"(N, {output}, C_out)",
        "w_first": f"(C_out, C_in/groups, {kernel})",
        "w_last": f"({kernel}, C_in/groups, C_out)",
        "wt_first": f"(C_in, C_out/groups, {kernel})",
        "wt_last": f"({kernel}, C_in, C_out/groups)",
    }


def fill(nd: int) -> Callable[[Function], Function]:
    """Give a function the docstring, and the public name, of its rank: conv_x becomes conv2d_x."""
    words = _words(nd)
    shared = {name: Template(text.strip()).safe_substitute(words) for name, text in _SHARED.items()}

    def decorate(function: Function) -> Function:
        function.__name__ = re.sub("^conv(_transpose)?", rf"\g<0>{nd}d", function.__name__)
        function.__qualname__ = function.__name__
        function.__module__ = "convlab"
        template = Template(inspect.cleandoc(function.__doc__ or ""))
        function.__doc__ = template.substitute(words | shared)
        return function

    return decorate
