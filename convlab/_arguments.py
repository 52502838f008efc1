"""What users may write for an argument, turned into one canonical form or an error in their terms.

Every function takes the public name of its caller first: messages begin with it.
"""

import operator
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

# A canonical padding: the name of a mode that depends on sizes, or (all befores, all afters).
Padding = str | tuple[tuple[int, ...], tuple[int, ...]]

AXES = {1: "width", 2: "height, width", 3: "depth, height, width"}
PADDING_MODES = ("valid", "same", "same_lower")
NEEDS = ("input", "weight", "bias")
_ALL = frozenset(NEEDS)

# Beyond this a parameter can only be a mistake, and sums of a few products of two still fit in C.
_LARGEST = 2**31 - 1
_LARGEST_SIZE = 2**63 - 1
# Longer sequences are not read to their end, which some do not have.
_MOST_ITEMS = 256


_name_of_type = type.__dict__["__name__"].__get__


def kind_of(value: Any) -> str:
    """Name the type of a value, whatever its metaclass has for a name."""
    name: str = _name_of_type(type(value))
    return name


def is_a(value: Any, *types: type) -> bool:
    """Whether a value is of a type: by what it is, not by what its ``__class__`` says."""
    return issubclass(type(value), types)


def _text(value: str) -> str:
    """Return the characters of a string whose type may have its own idea of equality."""
    return str.__str__(value)


def integer(
    function: str, name: str, value: Any, least: int = -_LARGEST, largest: int = _LARGEST
) -> int:
    """Any object with ``__index__`` but a bool, within bounds."""
    if type(value) is int and least <= value <= largest:
        return value
    try:
        if is_a(value, bool, np.bool_):
            raise TypeError
        number: int = operator.index(value)
    except Exception as error:  # whatever a hostile __index__ raises
        raise TypeError(f"{function}: {name} must be an int, got {kind_of(value)}") from error
    if abs(number) > largest:
        raise ValueError(f"{function}: {name} is out of range: its size must not exceed {largest}")
    if number < least:
        raise ValueError(f"{function}: {name} must be at least {least}, got {number}")
    return number


def is_sequence(value: Any) -> bool:
    """Whether a value lists several: a tuple, a list, an array; not a string."""
    if type(value) in (tuple, list):
        return True
    if is_a(value, np.ndarray):
        return np.asarray(value).ndim > 0
    return is_a(value, Sequence) and not is_a(value, str, bytes, bytearray)


def items_of(function: str, name: str, value: Any, most: int = _MOST_ITEMS) -> tuple[Any, ...]:
    """List the elements of a sequence, which may misbehave."""
    if type(value) is tuple:
        return value
    try:
        items = tuple(islice(value, most + 1))
    except Exception as error:
        raise TypeError(
            f"{function}: {name} cannot be read as a sequence: {kind_of(value)}"
        ) from error
    if len(items) > most:
        raise ValueError(f"{function}: {name} must not have more than {most} values")
    return items


def _shown(value: Any) -> str:
    """Show a value in a message; its type, if it cannot be shown itself."""
    try:
        return repr(value)
    except Exception:  # whatever a hostile __repr__ raises
        return f"an object of type {kind_of(value)}"


def per_axis(
    function: str, name: str, value: Any, nd: int, least: int, largest: int = _LARGEST
) -> tuple[int, ...]:
    """One int for all axes, or one per axis."""
    if type(value) is int or not is_sequence(value):
        return (integer(function, name, value, least, largest),) * nd
    items = items_of(function, name, value)
    if len(items) != nd:
        raise ValueError(
            f"{function}: {name} must be an int or one int per axis ({AXES[nd]}), "
            f"got {len(items)} values"
        )
    return tuple([integer(function, name, item, least, largest) for item in items])


def padding(function: str, value: Any, nd: int) -> Padding:
    """Every form of padding: int, ints, (before, after) pairs or the name of a mode."""
    if is_a(value, str):
        mode = _text(value)
        if mode not in PADDING_MODES:
            shown = _shown(value)
            raise ValueError(f"{function}: padding must be one of {PADDING_MODES}, got {shown}")
        zeros = (0,) * nd
        return (zeros, zeros) if mode == "valid" else mode
    if type(value) is int or not is_sequence(value):
        both = (integer(function, "padding", value),) * nd
        return both, both
    return _padding_of_axes(function, items_of(function, "padding", value), nd)


def _padding_of_axes(function: str, items: tuple[Any, ...], nd: int) -> Padding:
    pairs = [is_sequence(item) for item in items]
    if len(items) != nd:
        message = (
            f"{function}: padding must be an int, one int per axis ({AXES[nd]}) or one "
            f"(before, after) pair per axis, got {len(items)} values"
        )
        if nd == 1 and len(items) == 2 and not any(pairs):
            message += "; a pair for the one axis is written ((before, after),)"
        raise ValueError(message)
    if not any(pairs):
        both = tuple([integer(function, "padding", item) for item in items])
        return both, both
    if not all(pairs):
        raise TypeError(f"{function}: padding mixes ints and pairs; write every axis as a pair")
    sides = [items_of(function, "padding", item) for item in items]
    for side in sides:
        if len(side) != 2:
            raise ValueError(
                f"{function}: padding of an axis must be a pair (before, after), "
                f"got {len(side)} values"
            )
    before = tuple([integer(function, "padding", first) for first, _ in sides])
    after = tuple([integer(function, "padding", second) for _, second in sides])
    return before, after


def channels_last(function: str, layout: Any) -> bool:
    """Whether the layout is channels_last."""
    if not is_a(layout, str):
        raise TypeError(f"{function}: layout must be a string, got {kind_of(layout)}")
    text = _text(layout)
    if text in ("channels_first", "channels_last"):
        return text == "channels_last"
    raise ValueError(
        f"{function}: layout must be 'channels_first' or 'channels_last', got {_shown(layout)}"
    )


def shape(function: str, name: str, value: Any) -> tuple[int, ...]:
    """Read a whole array shape."""
    if not is_sequence(value):
        raise TypeError(f"{function}: {name} must be a tuple of ints, got {kind_of(value)}")
    return tuple(
        integer(function, name, item, 0, _LARGEST_SIZE) for item in items_of(function, name, value)
    )


def size(function: str, name: str, value: Any, nd: int, least: int = 0) -> tuple[int, ...]:
    """Spatial size: as per_axis, but as large as an array can be."""
    return per_axis(function, name, value, nd, least, _LARGEST_SIZE)


def needs(function: str, value: Any) -> frozenset[str]:
    """Read the set of gradients that a backward call is to compute."""
    if value is NEEDS:
        return _ALL
    if is_a(value, str) or not is_a(value, Iterable):
        raise TypeError(
            f"{function}: needs must be a collection of names such as ('input',), "
            f"got {_shown(value)}"
        )
    wanted = set()
    for item in items_of(function, "needs", value):
        if not is_a(item, str):
            raise TypeError(f"{function}: needs must hold strings, got {kind_of(item)}")
        name = _text(item)
        if name not in NEEDS:
            raise ValueError(f"{function}: needs must be among {NEEDS}, got {_shown(item)}")
        wanted.add(name)
    return frozenset(wanted)


def flag(function: str, name: str, value: Any) -> bool:
    """Read a yes or no."""
    if not is_a(value, bool, np.bool_):
        raise TypeError(f"{function}: {name} must be True or False, got {kind_of(value)}")
    return bool(value)


def spatial_rank(function: str, **values: Any) -> int:
    """Count the spatial axes where only sizes tell: one item each; ints alone mean two axes."""
    lengths = {
        name: len(items_of(function, name, value))
        for name, value in values.items()
        if is_sequence(value)
    }
    ranks = set(lengths.values()) or {2}
    if len(ranks) > 1 or not ranks <= set(AXES):
        raise ValueError(
            f"{function}: "
            + " and ".join(f"{name} has {n} values" for name, n in lengths.items())
            + ", but there are 1, 2 or 3 spatial axes, the same for all"
        )
    return ranks.pop()
