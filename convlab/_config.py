"""Threads and instruction sets: what the environment asks for, and what the user sets."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from convlab import _arguments, _core


def set_num_threads(n: int) -> None:
    """Set the number of threads that convlab's kernels may use, for the whole process.

    Results are the same bit for bit whatever the number. Problems too small to gain from more stay
    on the caller's thread.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    ValueError
        If n is smaller than 1.
    TypeError
        If n is not an int.

    Examples
    --------
    >>> before = get_num_threads()
    >>> set_num_threads(2)
    >>> get_num_threads()
    2
    >>> set_num_threads(before)
    """
    _core.set_num_threads(_arguments.integer("set_num_threads", "n", n, 1))


def get_num_threads() -> int:
    """Return the number of threads that convlab's kernels may use.

    At import it is ``CONVLAB_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the number of cores this
    process may run on.

    Returns
    -------
    int
        At least 1.

    Examples
    --------
    >>> get_num_threads() >= 1
    True
    """
    return _core.get_num_threads()


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Set the number of threads within a ``with`` block, and restore it afterwards.

    The number belongs to the process: other Python threads see it too.

    Parameters
    ----------
    n : int
        At least 1.

    Returns
    -------
    context manager
        Its block runs with n threads.

    Raises
    ------
    ValueError
        If n is smaller than 1.
    TypeError
        If n is not an int.

    Examples
    --------
    >>> with num_threads(1):
    ...     get_num_threads()
    1
    """
    n = _arguments.integer("num_threads", "n", n, 1)
    before = _core.get_num_threads()
    _core.set_num_threads(n)
    try:
        yield
    finally:
        _core.set_num_threads(before)


def show_config() -> None:
    """Print the version, the instruction sets, the number of threads and the compiler.

    Examples
    --------
    >>> show_config()  # doctest: +ELLIPSIS
    convlab ...
    """
    import convlab

    build = _core.config()
    print(
        f"convlab {convlab.__version__}",
        f"instruction set  {build['isa']}",
        f"  built          {', '.join(build['built'])}",
        f"  on this CPU    {', '.join(build['available'])}",
        f"threads          {get_num_threads()}" + ("" if build["openmp"] else " (no OpenMP)"),
        f"compiler         {build['compiler']}",
        sep="\n",
    )


def configure(environment: Mapping[str, str] = os.environ) -> None:
    """Apply ``CONVLAB_ISA`` and the thread variables; called once, at import."""
    _select_isa(environment.get("CONVLAB_ISA") or None)
    _core.set_num_threads(_default_threads(environment))


def _select_isa(name: str | None) -> None:
    available = _core.config()["available"]
    if (name is not None and name not in available) or not _core.select_isa(name):
        raise ImportError(
            f"CONVLAB_ISA={name} is not available here; choose among {', '.join(available)}"
        )


def _default_threads(environment: Mapping[str, str]) -> int:
    wanted = environment.get("CONVLAB_NUM_THREADS", "").strip()
    if wanted:
        if not wanted.isdecimal() or not 1 <= int(wanted) < 2**31:
            raise ImportError(f"CONVLAB_NUM_THREADS must be a whole number >= 1, got {wanted!r}")
        return int(wanted)
    # OpenMP allows a list, one number per nesting level; only the outermost is ours.
    outermost = environment.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if outermost.isdecimal() and 1 <= int(outermost) < 2**31:
        return int(outermost)
    return _usable_cores()


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
