"""How each library is called: what its users write, with the arrays in the form it likes.

No library is given an output to write into: PyTorch's functions take none, so every call
allocates its result, in convlab as elsewhere. Settings at their defaults are left out of the call.
PyTorch's gradients are one call each of the function that autograd calls, without the rest of
autograd. Inputs become a library's own arrays (its own allocator, its own alignment) before the
clock starts.

PyTorch has no channels-last format in 1-D. There it gets the same layer as a 2-D one of height 1,
in ``torch.channels_last``: the same memory as convlab's (N, W, C).
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.suite import Case, Row

Arrays = dict[str, Any]
Call = Callable[[], Any]


def random_arrays(row: Row, dtype: str) -> dict[str, np.ndarray]:
    """Return the same x, w and dy in every process: channels first, uniform in [-0.5, 0.5)."""
    rng = np.random.default_rng(20240229)
    shapes = {"x": row.x_shape, "w": row.w_shape, "dy": row.y_shape}
    return {name: rng.random(shape, dtype=dtype) - 0.5 for name, shape in shapes.items()}


def plain(values: tuple[int, ...]) -> int | tuple[int, ...]:
    """One int where all axes agree, as people write it."""
    return values[0] if len(set(values)) == 1 else values


def changed_settings(row: Row, *names: str) -> dict[str, Any]:
    """Those of the named settings that differ from the default."""
    defaults = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
    settings = {name: plain(getattr(row, name)) for name in names}
    settings = {name: value for name, value in settings.items() if value != defaults[name]}
    return settings if row.groups == 1 else settings | {"groups": row.groups}


class Library(ABC):
    """One library: knows how its arrays look and how its operations are called."""

    name: str

    @classmethod
    def supports(cls, case: Case) -> bool:
        """Whether the library has this operation, so that it is worth starting."""
        return True

    @abstractmethod
    def set_threads(self, threads: int) -> None:
        """Use so many threads from now on."""

    @abstractmethod
    def load(self, arrays: dict[str, np.ndarray], case: Case) -> Arrays:
        """Return the library's own copies of x, w and dy, in the case's layout."""

    @abstractmethod
    def prepare(self, arrays: Arrays, case: Case) -> Call:
        """Return the operation as a function of nothing."""

    @abstractmethod
    def canonical(self, result: Any, case: Case) -> np.ndarray:
        """Return the result as a channels-first NumPy array, for comparison."""


class Convlab(Library):
    """convlab, through its public functions."""

    name = "convlab"

    def __init__(self) -> None:
        import convlab

        self.module = convlab

    def set_threads(self, threads: int) -> None:
        """See `Library`."""
        self.module.set_num_threads(threads)

    def load(self, arrays: dict[str, np.ndarray], case: Case) -> Arrays:
        """See `Library`."""
        if case.layout == "channels_first":
            return {name: array.copy() for name, array in arrays.items()}
        return {
            name: np.ascontiguousarray(array.transpose(self._to_last(name, case.row)))
            for name, array in arrays.items()
        }

    def prepare(self, arrays: Arrays, case: Case) -> Call:
        """See `Library`."""
        row, op = case.row, case.op
        stem = f"conv_transpose{row.nd}d" if row.transposed else f"conv{row.nd}d"
        names = ["stride", "padding", "dilation"]
        if row.transposed:
            names.append("output_padding")
        settings = changed_settings(row, *names)
        if case.layout == "channels_last":
            settings["layout"] = "channels_last"
        x, w, dy = arrays["x"], arrays["w"], arrays["dy"]
        if op == "forward":
            return partial(getattr(self.module, stem), x, w, **settings)
        if op == "dw":
            function = getattr(self.module, f"{stem}_grad_weight")
            return partial(function, dy, x, row.kernel, **settings)
        shape = () if row.transposed else (x.shape,)
        return partial(getattr(self.module, f"{stem}_grad_input"), dy, w, *shape, **settings)

    def canonical(self, result: Any, case: Case) -> np.ndarray:
        """See `Library`."""
        if case.layout == "channels_first":
            return result
        output = {"forward": "dy", "dx": "x", "dw": "w"}[case.op]
        return result.transpose(np.argsort(self._to_last(output, case.row)))

    @staticmethod
    def _to_last(name: str, row: Row) -> tuple[int, ...]:
        """Return the axes of channels-first data or weights in the order of channels-last."""
        spatial = tuple(range(2, row.nd + 2))
        if name != "w":
            return (0, *spatial, 1)
        return (*spatial, 0, 1) if row.transposed else (*spatial, 1, 0)


class Torch(Library):
    """PyTorch on the CPU (its float32 convolutions are oneDNN's)."""

    name = "torch"

    def __init__(self) -> None:
        import torch

        self.torch = torch
        torch.set_grad_enabled(False)

    def set_threads(self, threads: int) -> None:
        """See `Library`."""
        self.torch.set_num_threads(threads)

    def load(self, arrays: dict[str, np.ndarray], case: Case) -> Arrays:
        """See `Library`."""
        torch = self.torch
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if case.layout == "channels_first":
            return {name: tensor.clone() for name, tensor in tensors.items()}
        if case.row.nd == 1:
            tensors = {name: tensor.unsqueeze(2) for name, tensor in tensors.items()}
        form = torch.channels_last_3d if case.row.nd == 3 else torch.channels_last
        return {name: t.clone(memory_format=form) for name, t in tensors.items()}

    def prepare(self, arrays: Arrays, case: Case) -> Call:
        """See `Library`."""
        row = self._as_run(case)
        x, w, dy = arrays["x"], arrays["w"], arrays["dy"]
        if case.op != "forward":
            wanted = [case.op == "dx", case.op == "dw", False]
            return partial(
                self.torch.ops.aten.convolution_backward,
                dy,
                x,
                w,
                None,
                row.stride,
                row.padding,
                row.dilation,
                row.transposed,
                row.output_padding,
                row.groups,
                wanted,
            )
        functions = self.torch.nn.functional
        if row.transposed:
            names = ("stride", "padding", "dilation", "output_padding")
            function = getattr(functions, f"conv_transpose{row.nd}d")
        else:
            names = ("stride", "padding", "dilation")
            function = getattr(functions, f"conv{row.nd}d")
        return partial(function, x, w, **changed_settings(row, *names))

    def canonical(self, result: Any, case: Case) -> np.ndarray:
        """See `Library`."""
        tensor = {"forward": lambda: result, "dx": lambda: result[0], "dw": lambda: result[1]}
        array = tensor[case.op]().numpy()
        return array.squeeze(2) if case.row.nd == 1 and array.ndim == 4 else array

    @staticmethod
    def _as_run(case: Case) -> Row:
        """Return the row, or its 2-D form of height 1 where 1-D has no channels-last format."""
        row = case.row
        if row.nd > 1 or case.layout == "channels_first":
            return row
        leading = {"size": 1, "kernel": 1, "stride": 1, "padding": 0, "dilation": 1}
        leading["output_padding"] = 0
        return replace(row, **{name: (v, *getattr(row, name)) for name, v in leading.items()})


class ScipyLibrary(Library):
    """What SciPy's two modules share: planes, one thread, odd filters over a border of zeros."""

    operations: tuple[str, ...]

    @classmethod
    def supports(cls, case: Case) -> bool:
        """See `Library`."""
        return (
            case.row.kind == "image"
            and case.threads == 1
            and case.layout == "channels_first"
            and case.op in cls.operations
        )

    def set_threads(self, threads: int) -> None:
        """Do nothing: there is one thread."""

    def load(self, arrays: dict[str, np.ndarray], case: Case) -> Arrays:
        """See `Library`."""
        return {name: array[0, 0].copy() for name, array in arrays.items()}

    def canonical(self, result: Any, case: Case) -> np.ndarray:
        """See `Library`."""
        return result[np.newaxis, np.newaxis]


class ScipyNdimage(ScipyLibrary):
    """``scipy.ndimage``: direct sums. It has no weight gradient."""

    name = "scipy.ndimage"
    operations = ("forward", "dx")

    def __init__(self) -> None:
        from scipy import ndimage

        self.module = ndimage

    def prepare(self, arrays: Arrays, case: Case) -> Call:
        """See `Library`."""
        if case.op == "forward":
            return partial(self.module.correlate, arrays["x"], arrays["w"], mode="constant")
        return partial(self.module.convolve, arrays["dy"], arrays["w"], mode="constant")


class ScipySignal(ScipyLibrary):
    """``scipy.signal``: chooses by itself between direct sums and an FFT."""

    name = "scipy.signal"
    operations = ("forward", "dx", "dw")

    def __init__(self) -> None:
        from scipy import signal

        self.module = signal

    def prepare(self, arrays: Arrays, case: Case) -> Call:
        """See `Library`."""
        x, w, dy = arrays["x"], arrays["w"], arrays["dy"]
        if case.op == "forward":
            return partial(self.module.correlate, x, w, mode="same")
        if case.op == "dx":
            return partial(self.module.convolve, dy, w, mode="same")
        margins = [(p, p) for p in case.row.padding]
        return lambda: self.module.correlate(np.pad(x, margins), dy, mode="valid")


LIBRARIES: dict[str, type[Library]] = {
    library.name: library for library in (Convlab, Torch, ScipyNdimage, ScipySignal)
}
# What holds PyTorch to an instruction set: oneDNN, MKL (for its 1x1 layers), and its own code.
_HOLDS = ("ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY")
HELD_TO = {
    "generic": dict(zip(_HOLDS, ("SSE41", "SSE4_2", "default"), strict=True)),
    "avx2": dict(zip(_HOLDS, ("AVX2", "AVX2", "avx2"), strict=True)),
    "avx512": dict(zip(_HOLDS, ("AVX512_CORE", "AVX512", "avx512"), strict=True)),
    "neon": {},
}


def environment(isa: str | None, threads: int) -> dict[str, str]:
    """Return a worker's environment: room for so many threads, all libraries held to one ISA."""
    variables = dict(os.environ, OMP_NUM_THREADS=str(threads))
    variables.pop("CONVLAB_NUM_THREADS", None)
    if isa is not None:
        variables |= {"CONVLAB_ISA": isa, **HELD_TO[isa]}
    return variables
