"""Arrays in and out: dtypes, copies to native form, ``out``, complex numbers as pairs of reals."""

import os
import sys
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from convlab import _arguments, _core

Shape = tuple[int, ...]

# What each result dtype is computed in.
_COMPUTED_IN = {
    np.dtype(result): np.dtype(computed)
    for result, computed in {
        "float16": "float32",
        "float32": "float32",
        "float64": "float64",
        "complex64": "complex64",
        "complex128": "complex128",
    }.items()
}
_NATIVE = frozenset(map(np.dtype, ("float32", "float64")))
_SUPPORTED = frozenset("?bBhHiIlLqQefdFD")
_FLOAT64 = np.dtype("float64")


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not every system tells
        return sys.maxsize


MEMORY_BYTES = _memory_bytes()


def array(function: str, name: str, value: Any) -> np.ndarray:
    """View any array-like as a plain array of a supported dtype."""
    if value is None:
        raise TypeError(f"{function}: {name} must be an array, got None")
    a: np.ndarray = value
    if type(value) is not np.ndarray:
        try:
            a = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{function}: {name} is not an array: {error}") from error
        except Exception as error:
            raise TypeError(f"{function}: {name} is not an array: {error}") from error
        _refuse_mask(function, name, value)
    if a.dtype.char not in _SUPPORTED:
        raise TypeError(
            f"{function}: {name} has dtype {a.dtype}; supported are float16, float32, float64, "
            "complex64, complex128, integers and bool"
        )
    return a


def _refuse_mask(function: str, name: str, value: Any) -> None:
    """Refuse an array of which some elements are hidden: nothing tells what to compute with."""
    if _arguments.is_a(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError(
            f"{function}: {name} is a masked array, and elements that are masked have no value; "
            f"pass {name}.filled(...) or {name}.data"
        )


def promoted(first: np.ndarray, *others: np.ndarray | None) -> np.dtype:
    """Find the result's dtype: NumPy's promotion of the arguments', integers becoming float64."""
    dtype: np.dtype = first.dtype
    if dtype in _NATIVE and all(a is None or a.dtype is dtype for a in others):
        return dtype
    dtype = np.result_type(dtype, *(a.dtype for a in others if a is not None)).newbyteorder("=")
    return dtype if dtype in _COMPUTED_IN else _FLOAT64


def native(function: str, a: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the array in a dtype, aligned and in native byte order: itself if it is so already."""
    if a.dtype == dtype and a.flags.aligned:
        return a
    return _made(function, lambda: np.array(a, dtype), a.shape, dtype)


def allocate(
    function: str, shape: Shape, dtype: np.dtype, source: np.ndarray | None = None
) -> np.ndarray:
    """Allocate an uninitialised array, or raise MemoryError with the caller's name.

    It stands so that writing it does not slow down reading ``source``.
    """
    return _made(function, lambda: _core.empty(shape, dtype, source), shape, dtype)


def _made(
    function: str, make: Callable[[], np.ndarray], shape: Shape, dtype: np.dtype
) -> np.ndarray:
    """Make an array of a shape and dtype, unless it is too large."""
    # Systems that overcommit would grant it, until it is written.
    if prod(shape) * dtype.itemsize > MEMORY_BYTES:
        raise MemoryError(
            f"{function}: cannot allocate an array of shape {shape} and dtype {dtype}, "
            "which exceeds this machine's memory"
        )
    try:
        return make()
    except (MemoryError, ValueError) as error:
        raise MemoryError(
            f"{function}: cannot allocate an array of shape {shape} and dtype {dtype}"
        ) from error


def checked_out(function: str, out: Any, shape: Shape, dtype: np.dtype) -> np.ndarray:
    """View the user's ``out`` as a plain array, if the result can be written to it."""
    if not _arguments.is_a(out, np.ndarray):
        kind = _arguments.kind_of(out)
        raise TypeError(f"{function}: out must be a NumPy array, got {kind}")
    _refuse_mask(function, "out", out)
    if out.shape != shape:
        raise ValueError(f"{function}: out must have shape {shape}, got {out.shape}")
    if out.dtype is not dtype and out.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"{function}: out must have dtype {dtype}, got {out.dtype}")
    if not out.flags.writeable:
        raise ValueError(f"{function}: out is read-only")
    if _overlaps_itself(out):
        raise ValueError(f"{function}: out has elements that share memory with one another")
    return np.asarray(out)


def _overlaps_itself(a: np.ndarray) -> bool:
    """Whether two elements share a byte, decided exactly."""
    if a.flags.forc or a.size <= 1:
        return False
    axes = sorted((abs(s), n) for s, n in zip(a.strides, a.shape, strict=True) if n > 1)
    if a.itemsize + sum(stride * (n - 1) for stride, n in axes) < a.nbytes:
        return True  # from the first byte to the last there is not room for all
    extent = a.itemsize
    for stride, n in axes:
        if stride < extent:
            break
        extent += stride * (n - 1)
    else:  # every axis steps over all that the finer ones cover
        return False
    offsets = sum(np.ix_(*(np.arange(n) * stride for stride, n in axes)))
    return bool(np.diff(np.sort(offsets, axis=None)).min() < a.itemsize)


def _run(function: str, fill: Callable[..., None], *arguments: Any) -> None:
    """Have ``fill`` do its work; what it cannot do is an error with the caller's name."""
    try:
        fill(*arguments)
    except OverflowError as error:
        raise OverflowError(f"{function}: {error}") from error
    except MemoryError as error:
        raise MemoryError(f"{function}: cannot allocate the memory to work in") from error


def compute(
    function: str,
    fill: Callable[..., None],
    shape: Shape,
    dtype: np.dtype,
    inputs: tuple[np.ndarray | None, ...],
    arguments: tuple[Any, ...],
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Have ``fill(target, *inputs, *arguments)`` compute a result in native arrays.

    The target is ``out`` itself where that can be written directly, else a fresh array.
    """
    working = _COMPUTED_IN[dtype]
    operands = [a if a is None else native(function, a, working) for a in inputs]
    if out is None:
        fresh = allocate(function, shape, working, operands[0])
        _run(function, fill, fresh, *operands, *arguments)
        return native(function, fresh, dtype)
    plain = checked_out(function, out, shape, dtype)
    direct = (
        plain.dtype == working
        and plain.flags.aligned
        and not any(a is not None and np.may_share_memory(plain, a) for a in operands)
    )
    target = plain if direct else allocate(function, shape, working, operands[0])
    _run(function, fill, target, *operands, *arguments)
    if not direct:
        plain[...] = target
    return out


def product(primitive: Callable[..., None], conjugate: str | None = None) -> Callable[..., None]:
    """Let a bilinear primitive ``(out, first, second, bias, ...)`` take complex arrays.

    A product of two complex arrays is four of real ones, on strided views of their parts.
    ``conjugate`` names the operand ("first" or "second") that enters as its conjugate.
    """

    def fill(
        target: np.ndarray,
        first: np.ndarray,
        second: np.ndarray,
        bias: np.ndarray | None,
        *geometry: Any,
    ) -> None:
        if target.dtype.kind != "c":
            primitive(target, first, second, bias, *geometry)
            return
        scratch = np.empty(target.shape, target.real.dtype)
        real_bias, imag_bias = (None, None) if bias is None else (bias.real, bias.imag)

        primitive(target.real, first.real, second.real, real_bias, *geometry)
        primitive(scratch, first.imag, second.imag, None, *geometry)
        accumulate = np.add if conjugate else np.subtract
        accumulate(target.real, scratch, out=target.real)

        crossed = [(first.imag, second.real), (first.real, second.imag)]
        if conjugate == "first":
            crossed.reverse()
        primitive(target.imag, *crossed[0], imag_bias, *geometry)
        primitive(scratch, *crossed[1], None, *geometry)
        accumulate = np.subtract if conjugate else np.add
        accumulate(target.imag, scratch, out=target.imag)

    return fill


def linear(primitive: Callable[..., None]) -> Callable[..., None]:
    """Let a linear primitive ``(out, source, ...)`` take complex arrays."""

    def fill(target: np.ndarray, source: np.ndarray, *geometry: Any) -> None:
        if target.dtype.kind != "c":
            primitive(target, source, *geometry)
            return
        primitive(target.real, source.real, *geometry)
        primitive(target.imag, source.imag, *geometry)

    return fill
