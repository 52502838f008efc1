"""The 24 functions: convolution and transposed convolution, and their gradients, for 1 to 3 axes.

Each is defined once, in ``_define``, and runs the same course: parse the arguments, work the shapes
out, let one primitive of the C core fill the result. With weights stored as they are here a
transposed convolution is the input gradient of a convolution, hence:

    conv                 forward(x, w)
    conv, dx             grad_input(dy, w)
    conv, dw             grad_weight(dy, x)
    conv_transpose       grad_input(x as dy, w)
    conv_transpose, dx   forward(dy as x, w)
    conv_transpose, dw   grad_weight(x as dy, dy as x)

For complex arrays dx takes conj(w) and dw takes conj(x), as automatic differentiation has it.
The types of the arguments are in _functional.pyi.
"""

from collections.abc import Callable, Set
from typing import Any

import numpy as np

from convlab import _arguments, _arrays, _core, _docstrings
from convlab._shapes import Parameters, Shape

_forward = _arrays.product(_core.forward)
_forward_of_conjugate = _arrays.product(_core.forward, conjugate="second")
_grad_input = _arrays.product(_core.grad_input)
_grad_input_of_conjugate = _arrays.product(_core.grad_input, conjugate="second")
_grad_weight = _arrays.product(_core.grad_weight, conjugate="second")
_grad_weight_transposed = _arrays.product(_core.grad_weight, conjugate="first")
_grad_bias = _arrays.linear(_core.grad_bias)

_Gradients = tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]

# The primitives by the numbers that _core.Served and _core.common know them by.
_FORWARD, _GRAD_INPUT, _GRAD_WEIGHT = range(3)


def _served(
    nd: int, primitive: int, transposed: bool
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have the C core serve a function's common call, of plain arrays of one dtype and plain ints.

    It is done before Python had made the frame of a call; every other call is left to the function.
    """
    return lambda function: _core.Served(function, nd, primitive, transposed)


def _check_bias(call: Parameters, b: np.ndarray | None, channels: int) -> None:
    if b is not None and b.shape != (channels,):
        raise ValueError(
            f"{call.function}: b must have shape {(channels,)}, one value per output channel, "
            f"got {b.shape}"
        )


def _check_dy(call: Parameters, dy_shape: Shape, expected: Shape) -> None:
    if dy_shape != expected:
        raise ValueError(
            f"{call.function}: dy must have the output's shape {expected}, got {dy_shape}"
        )


def _compute(
    call: Parameters,
    product: Callable[..., None],
    shape: Shape,
    dtype: np.dtype,
    operands: tuple[np.ndarray | None, ...],
    before: Shape,
    transposed: bool,
    out: Any = None,
) -> np.ndarray:
    """Have a primitive compute a result of this shape and dtype."""
    geometry = (call.stride, before, call.dilation, call.groups, call.channels_last, transposed)
    return _arrays.compute(call.function, product, shape, dtype, operands, geometry, out)


def _bias_gradient(call: Parameters, dy: np.ndarray, dtype: np.dtype) -> np.ndarray:
    _, channels, _ = call.data_parts("dy", dy.shape)
    arguments = (call.nd, call.channels_last)
    return _arrays.compute(call.function, _grad_bias, (channels,), dtype, (dy,), arguments)


def _common_backward(
    nd: int,
    transposed: bool,
    dy: Any,
    x: Any,
    w: Any,
    wanted: Set[str],
    options: tuple[Any, ...],
) -> _Gradients | None:
    """Serve a common backward call; None if it is not one."""
    if not type(dy) is type(x) is type(w) is np.ndarray or w.ndim != nd + 2:
        return None
    if not dy.dtype is x.dtype is w.dtype or wanted <= {"bias"} or type(options[-1]) is not str:
        return None
    channels_last = options[-1] == "channels_last"
    dx = dw = db = None
    dy_shape = dy.shape  # another thread may change it while dx or dw is computed
    if len(dy_shape) != nd + 2:
        return None
    if "input" in wanted:
        operands = (_FORWARD, True, nd, dy, w, None, None)
        if not transposed:
            operands = (_GRAD_INPUT, False, nd, dy, w, None, x.shape)
        dx = _core.common(*operands, *options, None)
        if dx is None or dx.shape != x.shape:
            return None
    if "weight" in wanted:
        first, second = (x, dy) if transposed else (dy, x)
        kernel = w.shape[:nd] if channels_last else w.shape[2:]
        dw = _core.common(_GRAD_WEIGHT, transposed, nd, first, second, None, kernel, *options, None)
        if dw is None or dw.shape != w.shape:
            return None
    if "bias" in wanted:
        db = np.empty(dy_shape[-1 if channels_last else 1], dy.dtype)
        _core.grad_bias(db, dy, nd, channels_last)
    return dx, dw, db


def _transpose_size(
    call: Parameters, output_padding: Any, output_size: Any, dy_shape: Shape
) -> tuple[Shape, Shape | None]:
    """Find output_padding and output_size where dy shows them if they are not given."""
    extra = call.output_padding(0 if output_padding is None else output_padding)
    size = call.output_size(output_size, extra)
    if output_padding is None and size is None:
        _, _, size = call.data_parts("dy", dy_shape)
    return extra, size


def _define(nd: int) -> tuple[Callable[..., Any], ...]:
    """Define the eight functions of one rank."""

    @_served(nd, _FORWARD, transposed=False)
    @_docstrings.fill(nd)
    def conv(
        x,
        w,
        b=None,
        *,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        layout="channels_first",
        out=None,
    ):
        """Convolution over $nd spatial $axis_word (cross-correlation: the kernel is not flipped).

        Per axis, summed over the input channels i of the group and the taps k:
        ``y[o, t] = b[o] + sum x[i, stride*t - before + dilation*k] * w[o, i, k]``.

        Parameters
        ----------
        x : array_like, shape $x_first or $x_last
            Input; without its N axis the result has none either.
        w : array_like, shape $w_first or $w_last
            Weight.
        b : array_like, shape (C_out,), optional
            Bias.
        $parameters
        $out

        Returns
        -------
        ndarray, shape $y_first or $y_last
            Per axis ``floor((n + before + after - dilation*(k-1) - 1) / stride) + 1``. Its dtype is
            the promoted one of the arguments; float64 for integers.

        Raises
        ------
        $errors

        See Also
        --------
        conv${nd}d_backward : Its gradients.
        conv_transpose${nd}d : Its adjoint.

        Notes
        -----
        Equations (1) and (10) of docs/math.md; [1]_ draws them.

        References
        ----------
        .. [1] V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016.

        Examples
        --------
        >>> import numpy as np
        >>> x, w = np.ones((1, 2, $_5)), np.ones((4, 2, $_3))
        >>> conv${nd}d(x, w, stride=2, padding=1).shape
        (1, 4, $_3)
        """
        call = Parameters(conv.__name__, nd, stride, padding, dilation, groups, layout)
        x = _arrays.array(call.function, "x", x)
        w = _arrays.array(call.function, "w", w)
        if b is not None:
            b = _arrays.array(call.function, "b", b)
        y_shape, before = call.conv_output(x.shape, w.shape)
        _check_bias(call, b, y_shape[call.channel_axis])
        dtype = _arrays.promoted(x, w, b)
        return _compute(call, _forward, y_shape, dtype, (x, w, b), before, False, out)

    @_docstrings.fill(nd)
    def conv_backward(
        dy,
        x,
        w,
        *,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        layout="channels_first",
        needs=_arguments.NEEDS,
    ):
        """Gradients of `conv${nd}d` with respect to its input, weight and bias.

        Parameters
        ----------
        dy : array_like, shape $y_first or $y_last
            Gradient with respect to the output.
        x, w : array_like
            Input and weight of the forward call.
        $parameters
        $needs

        Returns
        -------
        dx, dw, db : ndarray or None
            Shapes of x, of w, and (C_out,); the promoted dtype of the arguments.

        Raises
        ------
        $errors

        See Also
        --------
        conv${nd}d_grad_input, conv${nd}d_grad_weight : One gradient alone.

        Notes
        -----
        Equations (2), (3) and (4) of docs/math.md.

        Examples
        --------
        >>> import numpy as np
        >>> x, w = np.ones((1, 2, $_5)), np.ones((4, 2, $_3))
        >>> dx, dw, db = conv${nd}d_backward(np.ones((1, 4, $_3)), x, w)
        >>> dx.shape == x.shape, dw.shape == w.shape, db.shape
        (True, True, (4,))
        """
        options = (stride, padding, dilation, groups, layout)
        wanted = _arguments.needs(conv_backward.__name__, needs)
        common = _common_backward(nd, False, dy, x, w, wanted, options)
        if common is not None:
            return common
        call = Parameters(conv_backward.__name__, nd, *options)
        dy = _arrays.array(call.function, "dy", dy)
        x = _arrays.array(call.function, "x", x)
        w = _arrays.array(call.function, "w", w)
        y_shape, before = call.conv_output(x.shape, w.shape)
        _check_dy(call, dy.shape, y_shape)
        dtype = _arrays.promoted(dy, x, w)
        geometry = (before, False)
        dx = dw = db = None
        if "input" in wanted:
            dx = _compute(call, _grad_input_of_conjugate, x.shape, dtype, (dy, w, None), *geometry)
        if "weight" in wanted:
            dw = _compute(call, _grad_weight, w.shape, dtype, (dy, x, None), *geometry)
        if "bias" in wanted:
            db = _bias_gradient(call, dy, dtype)
        return dx, dw, db

    @_served(nd, _GRAD_INPUT, transposed=False)
    @_docstrings.fill(nd)
    def conv_grad_input(
        dy,
        w,
        input_shape,
        *,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        layout="channels_first",
        out=None,
    ):
        """Gradient of `conv${nd}d` with respect to its input.

        Parameters
        ----------
        dy : array_like, shape $y_first or $y_last
            Gradient with respect to the output.
        w : array_like, shape $w_first or $w_last
            Weight.
        input_shape : tuple of int
            Whole shape of x; several input sizes give one output size, so it must be told.
        $parameters
        $out

        Returns
        -------
        ndarray, shape input_shape
            dx, in the promoted dtype of dy and w.

        Raises
        ------
        $errors

        Notes
        -----
        Equation (2) of docs/math.md.

        Examples
        --------
        >>> import numpy as np
        >>> dy, w = np.ones((1, 4, $_2)), np.ones((4, 2, $_3))
        >>> conv${nd}d_grad_input(dy, w, (1, 2, $_5), stride=2).shape
        (1, 2, $_5)
        """
        call = Parameters(conv_grad_input.__name__, nd, stride, padding, dilation, groups, layout)
        x_shape = _arguments.shape(call.function, "input_shape", input_shape)
        dy = _arrays.array(call.function, "dy", dy)
        w = _arrays.array(call.function, "w", w)
        y_shape, before = call.conv_output(x_shape, w.shape, x_name="input_shape")
        _check_dy(call, dy.shape, y_shape)
        dtype = _arrays.promoted(dy, w)
        return _compute(
            call, _grad_input_of_conjugate, x_shape, dtype, (dy, w, None), before, False, out
        )

    @_served(nd, _GRAD_WEIGHT, transposed=False)
    @_docstrings.fill(nd)
    def conv_grad_weight(
        dy,
        x,
        kernel_size,
        *,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        layout="channels_first",
        out=None,
    ):
        """Gradient of `conv${nd}d` with respect to its weight.

        Parameters
        ----------
        dy : array_like, shape $y_first or $y_last
            Gradient with respect to the output.
        x : array_like, shape $x_first or $x_last
            Input.
        kernel_size : int or tuple of int
            Spatial size of the weight.
        $parameters
        $out

        Returns
        -------
        ndarray, shape $w_first or $w_last
            dw, in the promoted dtype of dy and x.

        Raises
        ------
        $errors

        Notes
        -----
        Equation (3) of docs/math.md.

        Examples
        --------
        >>> import numpy as np
        >>> dy, x = np.ones((1, 4, $_3)), np.ones((1, 2, $_5))
        >>> conv${nd}d_grad_weight(dy, x, 3).shape
        (4, 2, $_3)
        """
        call = Parameters(conv_grad_weight.__name__, nd, stride, padding, dilation, groups, layout)
        kernel = _arguments.size(call.function, "kernel_size", kernel_size, nd, 1)
        dy = _arrays.array(call.function, "dy", dy)
        x = _arrays.array(call.function, "x", x)
        _, out_channels, _ = call.data_parts("dy", dy.shape)
        _, in_channels, _ = call.data_parts("x", x.shape)
        call.per_group(out_channels, "dy")
        w_shape = call.weight_shape(
            out_channels, call.per_group(in_channels, "x"), kernel, transposed=False
        )
        y_shape, before = call.conv_output(x.shape, w_shape)
        _check_dy(call, dy.shape, y_shape)
        dtype = _arrays.promoted(dy, x)
        return _compute(call, _grad_weight, w_shape, dtype, (dy, x, None), before, False, out)

    @_served(nd, _GRAD_INPUT, transposed=True)
    @_docstrings.fill(nd)
    def conv_transpose(
        x,
        w,
        b=None,
        *,
        stride=1,
        padding=0,
        output_padding=0,
        dilation=1,
        groups=1,
        output_size=None,
        layout="channels_first",
        out=None,
    ):
        """Transposed convolution over $nd spatial $axis_word: the adjoint of `conv${nd}d`.

        Every input element adds the kernel, scaled by it, to the output: per axis and input channel
        i ``y[o, stride*t - before + dilation*k] += x[i, t] * w[i, o, k]``, on top of the bias.

        Parameters
        ----------
        x : array_like, shape $x_first or $x_last
            Input; without its N axis the result has none either.
        w : array_like, shape $wt_first or $wt_last
            Weight.
        b : array_like, shape (C_out,), optional
            Bias.
        $transposed_parameters
        output_padding : int or tuple of int
            Elements more at the end of the output, which take part in the computation; on every
            axis fewer than stride or dilation.
        output_size : int or tuple of int, optional
            Wanted spatial size, instead of output_padding.
        $out

        Returns
        -------
        ndarray, shape $y_first or $y_last
            Per axis ``stride*(n-1) + dilation*(k-1) + 1 - before - after + output_padding``. Its
            dtype is the promoted one of the arguments; float64 for integers.

        Raises
        ------
        $errors

        See Also
        --------
        conv_transpose${nd}d_backward : Its gradients.
        conv${nd}d : Its adjoint.

        Notes
        -----
        Equations (6) and (11) of docs/math.md; [1]_ draws them.

        References
        ----------
        .. [1] V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", 2016.

        Examples
        --------
        >>> import numpy as np
        >>> x, w = np.ones((1, 4, $_2)), np.ones((4, 2, $_3))
        >>> conv_transpose${nd}d(x, w, stride=2).shape
        (1, 2, $_5)
        """
        call = Parameters(conv_transpose.__name__, nd, stride, padding, dilation, groups, layout)
        extra = call.output_padding(output_padding)
        size = call.output_size(output_size, extra)
        x = _arrays.array(call.function, "x", x)
        w = _arrays.array(call.function, "w", w)
        if b is not None:
            b = _arrays.array(call.function, "b", b)
        y_shape, before = call.transpose_output(x.shape, w.shape, extra, size)
        _check_bias(call, b, y_shape[call.channel_axis])
        dtype = _arrays.promoted(x, w, b)
        return _compute(call, _grad_input, y_shape, dtype, (x, w, b), before, True, out)

    @_docstrings.fill(nd)
    def conv_transpose_backward(
        dy,
        x,
        w,
        *,
        stride=1,
        padding=0,
        output_padding=None,
        dilation=1,
        groups=1,
        output_size=None,
        layout="channels_first",
        needs=_arguments.NEEDS,
    ):
        """Gradients of `conv_transpose${nd}d` with respect to its input, weight and bias.

        Parameters
        ----------
        dy : array_like, shape $y_first or $y_last
            Gradient with respect to the output.
        x, w : array_like
            Input and weight of the forward call.
        $transposed_parameters
        $gradient_sizes
        $needs

        Returns
        -------
        dx, dw, db : ndarray or None
            Shapes of x, of w, and (C_out,); the promoted dtype of the arguments.

        Raises
        ------
        $errors

        See Also
        --------
        conv_transpose${nd}d_grad_input, conv_transpose${nd}d_grad_weight : One gradient alone.

        Notes
        -----
        Equations (7), (8) and (9) of docs/math.md.

        Examples
        --------
        >>> import numpy as np
        >>> x, w = np.ones((1, 4, $_3)), np.ones((4, 2, $_3))
        >>> dx, dw, db = conv_transpose${nd}d_backward(np.ones((1, 2, $_5)), x, w)
        >>> dx.shape == x.shape, dw.shape == w.shape, db.shape
        (True, True, (2,))
        """
        options = (stride, padding, dilation, groups, layout)
        wanted = _arguments.needs(conv_transpose_backward.__name__, needs)
        if output_padding is None and output_size is None:
            common = _common_backward(nd, True, dy, x, w, wanted, options)
            if common is not None:
                return common
        call = Parameters(conv_transpose_backward.__name__, nd, *options)
        dy = _arrays.array(call.function, "dy", dy)
        x = _arrays.array(call.function, "x", x)
        w = _arrays.array(call.function, "w", w)
        extra, size = _transpose_size(call, output_padding, output_size, dy.shape)
        y_shape, before = call.transpose_output(
            x.shape, w.shape, extra, size, size_name="the spatial size of dy"
        )
        _check_dy(call, dy.shape, y_shape)
        dtype = _arrays.promoted(dy, x, w)
        geometry = (before, True)
        dx = dw = db = None
        if "input" in wanted:
            dx = _compute(call, _forward_of_conjugate, x.shape, dtype, (dy, w, None), *geometry)
        if "weight" in wanted:
            dw = _compute(call, _grad_weight_transposed, w.shape, dtype, (x, dy, None), *geometry)
        if "bias" in wanted:
            db = _bias_gradient(call, dy, dtype)
        return dx, dw, db

    @_served(nd, _FORWARD, transposed=True)
    @_docstrings.fill(nd)
    def conv_transpose_grad_input(
        dy,
        w,
        *,
        stride=1,
        padding=0,
        output_padding=None,
        dilation=1,
        groups=1,
        output_size=None,
        layout="channels_first",
        out=None,
    ):
        """Gradient of `conv_transpose${nd}d` with respect to its input: a convolution of dy.

        Parameters
        ----------
        dy : array_like, shape $y_first or $y_last
            Gradient with respect to the output.
        w : array_like, shape $wt_first or $wt_last
            Weight.
        $transposed_parameters
        $gradient_sizes
        $out

        Returns
        -------
        ndarray, shape $x_first or $x_last
            dx, in the promoted dtype of dy and w. Its size is that of a convolution of dy; only
            where the forward call's output_padding was not smaller than stride must that be told.

        Raises
        ------
        $errors

        Notes
        -----
        Equation (7) of docs/math.md.

        Examples
        --------
        >>> import numpy as np
        >>> dy, w = np.ones((1, 2, $_5)), np.ones((4, 2, $_3))
        >>> conv_transpose${nd}d_grad_input(dy, w, stride=2).shape
        (1, 4, $_2)
        """
        call = Parameters(
            conv_transpose_grad_input.__name__, nd, stride, padding, dilation, groups, layout
        )
        dy = _arrays.array(call.function, "dy", dy)
        w = _arrays.array(call.function, "w", w)
        extra, size = _transpose_size(call, output_padding, output_size, dy.shape)
        call.check_spatial("dy", dy.shape, size)
        x_shape, before = call.transpose_input(dy.shape, w.shape, None if size else extra)
        dtype = _arrays.promoted(dy, w)
        return _compute(
            call, _forward_of_conjugate, x_shape, dtype, (dy, w, None), before, True, out
        )

    @_served(nd, _GRAD_WEIGHT, transposed=True)
    @_docstrings.fill(nd)
    def conv_transpose_grad_weight(
        dy,
        x,
        kernel_size,
        *,
        stride=1,
        padding=0,
        output_padding=None,
        dilation=1,
        groups=1,
        output_size=None,
        layout="channels_first",
        out=None,
    ):
        """Gradient of `conv_transpose${nd}d` with respect to its weight.

        Parameters
        ----------
        dy : array_like, shape $y_first or $y_last
            Gradient with respect to the output.
        x : array_like, shape $x_first or $x_last
            Input.
        kernel_size : int or tuple of int
            Spatial size of the weight.
        $transposed_parameters
        $gradient_sizes
        $out

        Returns
        -------
        ndarray, shape $wt_first or $wt_last
            dw, in the promoted dtype of dy and x.

        Raises
        ------
        $errors

        Notes
        -----
        Equation (8) of docs/math.md.

        Examples
        --------
        >>> import numpy as np
        >>> dy, x = np.ones((1, 2, $_5)), np.ones((1, 4, $_3))
        >>> conv_transpose${nd}d_grad_weight(dy, x, 3).shape
        (4, 2, $_3)
        """
        call = Parameters(
            conv_transpose_grad_weight.__name__, nd, stride, padding, dilation, groups, layout
        )
        kernel = _arguments.size(call.function, "kernel_size", kernel_size, nd, 1)
        dy = _arrays.array(call.function, "dy", dy)
        x = _arrays.array(call.function, "x", x)
        _, out_channels, _ = call.data_parts("dy", dy.shape)
        _, in_channels, _ = call.data_parts("x", x.shape)
        w_shape = call.weight_shape(
            in_channels, call.per_group(out_channels, "dy"), kernel, transposed=True
        )
        extra, size = _transpose_size(call, output_padding, output_size, dy.shape)
        y_shape, before = call.transpose_output(
            x.shape, w_shape, extra, size, size_name="the spatial size of dy"
        )
        _check_dy(call, dy.shape, y_shape)
        dtype = _arrays.promoted(dy, x)
        return _compute(
            call, _grad_weight_transposed, w_shape, dtype, (x, dy, None), before, True, out
        )

    return (
        conv,
        conv_backward,
        conv_grad_input,
        conv_grad_weight,
        conv_transpose,
        conv_transpose_backward,
        conv_transpose_grad_input,
        conv_transpose_grad_weight,
    )


(
    conv1d,
    conv1d_backward,
    conv1d_grad_input,
    conv1d_grad_weight,
    conv_transpose1d,
    conv_transpose1d_backward,
    conv_transpose1d_grad_input,
    conv_transpose1d_grad_weight,
) = _define(1)
(
    conv2d,
    conv2d_backward,
    conv2d_grad_input,
    conv2d_grad_weight,
    conv_transpose2d,
    conv_transpose2d_backward,
    conv_transpose2d_grad_input,
    conv_transpose2d_grad_weight,
) = _define(2)
(
    conv3d,
    conv3d_backward,
    conv3d_grad_input,
    conv3d_grad_weight,
    conv_transpose3d,
    conv_transpose3d_backward,
    conv_transpose3d_grad_input,
    conv_transpose3d_grad_weight,
) = _define(3)
