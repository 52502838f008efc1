"""What the machine itself can do: multiply-adds a second, and bytes a second from memory.

Both come from a few lines of C, compiled for this machine when the benchmark starts and run on as
many threads as asked for. Without a C compiler the estimates are NumPy's matrix product and NumPy's
copy, and the report names them so.
"""

import ctypes
import math
import os
import platform
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SOURCE = r"""
#include <stddef.h>
#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define CHAINS 12 /* independent sums: more than latency times units, fewer than registers */

/* 2 * CHAINS * lanes operations a step. The sums tend to add / (1 - factor): none is denormal. */
#define DEFINE_FMA_PEAK(type)                                                                     \
    type fma_peak_##type(ptrdiff_t steps, type factor, type add) {                                \
        typedef type vec __attribute__((vector_size(VECTOR_BYTES)));                              \
        vec sums[CHAINS], total = {0}, factors = factor - (vec){0}, adds = add - (vec){0};        \
        for (int i = 0; i < CHAINS; i++)                                                          \
            sums[i] = adds * (type)i;                                                             \
        for (ptrdiff_t step = 0; step < steps; step++)                                            \
            for (int i = 0; i < CHAINS; i++)                                                      \
                sums[i] = sums[i] * factors + adds;                                               \
        for (int i = 0; i < CHAINS; i++)                                                          \
            total += sums[i];                                                                     \
        return total[0] + total[1];                                                               \
    }
DEFINE_FMA_PEAK(float)
DEFINE_FMA_PEAK(double)

ptrdiff_t vector_bytes(void) { return VECTOR_BYTES; }

void triad(double *restrict a, const double *restrict b, const double *restrict c, double factor,
           ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++)
        a[i] = b[i] + factor * c[i];
}
"""
CHAINS = 12
ISA_FLAGS = {
    "generic": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mfma", "-mprefer-vector-width=512"],
    "neon": [],
}
NATIVE_FLAGS = ["-march=native"]
C_TYPES = {"float32": ("float", ctypes.c_float), "float64": ("double", ctypes.c_double)}
PEAK_SECONDS = 0.01  # of one try
TRIES = 30
TRIAD_ELEMENTS = 8 * 2**20  # of each of three arrays: 64 MiB each, more than a cache


@dataclass
class Machine:
    """Peaks by thread count (and dtype): operations and bytes per second."""

    processor: str
    peak_flops: dict[str, dict[int, float]]
    bandwidth: dict[int, float]
    method: str


def measure(threads: tuple[int, ...], isa: str | None) -> Machine:
    """Measure the peaks for these numbers of threads."""
    with tempfile.TemporaryDirectory(prefix="convlab-bench-") as folder:
        probe = compiled_probe(Path(folder), NATIVE_FLAGS if isa is None else ISA_FLAGS[isa])
        peak, bandwidth = (fma_peak, triad) if probe else (matmul_peak, copy_bandwidth)
        return Machine(
            processor_name(),
            {dtype: {n: peak(probe, dtype, n) for n in threads} for dtype in C_TYPES},
            {n: bandwidth(probe, n) for n in threads},
            "C loops" if probe else "no C compiler: NumPy's matrix product and copy",
        )


def best_of(first: Machine, second: Machine) -> Machine:
    """Return the higher of two measurements of each figure: a busy moment can only lower one."""
    peaks = {
        dtype: {n: max(value, second.peak_flops[dtype][n]) for n, value in by_threads.items()}
        for dtype, by_threads in first.peak_flops.items()
    }
    bandwidth = {n: max(value, second.bandwidth[n]) for n, value in first.bandwidth.items()}
    return Machine(first.processor, peaks, bandwidth, first.method)


def processor_name() -> str:
    """Return what the system calls the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def compiled_probe(folder: Path, flags: list[str]) -> ctypes.CDLL | None:
    """Return the C loops as a library, or None where there is no compiler for them."""
    source, library = folder / "probe.c", folder / "probe.so"
    source.write_text(SOURCE, encoding="ascii")
    command = [os.environ.get("CC", "cc"), "-O3", "-ffp-contract=fast", *flags]
    command += ["-shared", "-fPIC", str(source), "-o", str(library)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    probe = ctypes.CDLL(str(library))
    for name, number in C_TYPES.values():
        function = getattr(probe, f"fma_peak_{name}")
        function.argtypes, function.restype = [ctypes.c_ssize_t, number, number], number
    pointer = ctypes.c_void_p
    probe.triad.argtypes = [pointer, pointer, pointer, ctypes.c_double, ctypes.c_ssize_t]
    probe.triad.restype = None
    return probe


def together(work: Callable[[int], object], threads: int) -> float:
    """Seconds until all threads have done their work (ctypes and NumPy let go of the GIL)."""
    barrier = threading.Barrier(threads + 1)

    def run(index: int) -> None:
        barrier.wait()
        work(index)

    pool = [threading.Thread(target=run, args=(index,)) for index in range(threads)]
    for thread in pool:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    for thread in pool:
        thread.join()
    return time.perf_counter() - start


def fma_peak(probe: ctypes.CDLL, dtype: str, threads: int) -> float:
    """Operations per second of independent multiply-adds in registers, over all threads."""
    function = getattr(probe, f"fma_peak_{C_TYPES[dtype][0]}")
    lanes = probe.vector_bytes() // np.dtype(dtype).itemsize

    def seconds(steps: int) -> float:
        return together(lambda _: function(steps, 0.5, 1.0), threads)

    steps = 10**5
    while (elapsed := seconds(steps)) < PEAK_SECONDS:
        steps = math.ceil(steps * min(10, 1.2 * PEAK_SECONDS / elapsed))
    best = min(seconds(steps) for _ in range(TRIES))
    return 2 * CHAINS * lanes * steps * threads / best


def triad(probe: ctypes.CDLL, threads: int) -> float:
    """Bytes per second of a = b + factor * c; a's lines are counted once, as STREAM counts."""
    arrays = [np.ones(TRIAD_ELEMENTS) for _ in range(3)]
    share = TRIAD_ELEMENTS // threads
    addresses = [array.ctypes.data for array in arrays]

    def work(index: int) -> None:
        offset = index * share * arrays[0].itemsize
        probe.triad(*(address + offset for address in addresses), 3.0, share)

    best = min(together(work, threads) for _ in range(TRIES))
    return 3 * share * threads * arrays[0].itemsize / best


def matmul_peak(_probe: None, dtype: str, threads: int) -> float:
    """Operations per second of NumPy's matrix product, one in each thread."""
    n = 768
    factors = [np.ones((n, n), dtype) for _ in range(threads)]
    best = min(together(lambda i: factors[i] @ factors[i], threads) for _ in range(TRIES))
    return 2 * n**3 * threads / best


def copy_bandwidth(_probe: None, threads: int) -> float:
    """Bytes per second of NumPy's copy, read and written."""
    source, target = np.ones(TRIAD_ELEMENTS), np.ones(TRIAD_ELEMENTS)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    best = min(together(lambda i: np.copyto(*parts[i]), threads) for _ in range(TRIES))
    return 2 * source.nbytes / best
