"""Peak memory of a call above what was there before it, as Linux counts it."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's <malloc.h>
SMALLEST_MAPPING = 64 * 1024
PR_SET_THP_DISABLE = 41  # Linux's <sys/prctl.h>


def kilobytes() -> dict[str, int]:
    """Return the figures of /proc/self/status, in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    sizes = (line.split() for line in lines if line.endswith(" kB"))
    return {fields[0].rstrip(":"): int(fields[1]) for fields in sizes}


def return_freed_memory() -> None:
    """Give freed memory back to the system at once, so that the next call must ask for its own."""
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, SMALLEST_MAPPING)
    libc.mallopt(M_TRIM_THRESHOLD, 0)
    libc.malloc_trim(0)


def use_small_pages() -> None:
    """Keep the system from huge pages, of which 2 MiB would count at the first touch."""
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)


def peak_above(call: Callable[[], Any], result_bytes: int) -> int:
    """Return the bytes that a call holds at its peak, beyond what was there before and its result.

    Pages of program text that the call is the first to touch are not counted.

    Raises
    ------
    OSError
        Where the system does not keep or reset the figures (it is not Linux).
    """
    return_freed_memory()
    use_small_pages()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # peak = now
    before = kilobytes()
    result = call()
    after = kilobytes()
    del result
    growth = after["VmHWM"] - before["VmRSS"] - (after["RssFile"] - before["RssFile"])
    return max(0, growth * 1024 - result_bytes)


def in_a_fork(measure: Callable[[], int]) -> int:
    """Measure in a child process, so that nothing of an earlier measurement counts.

    The parent must never have started threads; a library is imported there, but not called.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = str(measure())
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writer, answer.encode("utf-8"))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer.isdigit():
        raise RuntimeError(answer or "the process that measures memory died")
    return int(answer)
