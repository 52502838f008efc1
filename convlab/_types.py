"""The types of arguments, as users may write them."""

from collections.abc import Collection, Sequence
from typing import Literal, SupportsIndex

# One for all spatial axes, or one per axis.
Ints = SupportsIndex | Sequence[SupportsIndex]
Sizes = Sequence[SupportsIndex]
# The same, a (before, after) pair per axis, or a mode.
Padding = Ints | Sequence[Sequence[SupportsIndex]] | Literal["valid", "same", "same_lower"]
Layout = Literal["channels_first", "channels_last"]
_Gradient = Literal["input", "weight", "bias"]
Needs = tuple[_Gradient, ...] | Collection[_Gradient]  # named, or mypy takes a tuple for one of str
