"""Limits on the memory of a process, which AddressSanitizer must set itself.

Its shadow is larger than any limit of the address range, and what is freed stays with it for a
while. It can refuse allocations and end a process that holds too much, and it can keep nothing: the
tests of memory run under it with these options, and so they mean there what they mean without it.
"""

import os

SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")


def limited(program: str, gib: int) -> str:
    """Return the program, which may map so much memory."""
    if SANITIZED:
        return program
    limit = f"resource.setrlimit(resource.RLIMIT_AS, ({gib} << 30, {gib} << 30))"
    return f"import resource\n{limit}\n{program}"


def limits(environment: dict[str, str], gib: int) -> dict[str, str]:
    """Return the environment of a process that may hold so much."""
    options = f"hard_rss_limit_mb={gib << 10}:max_allocation_size_mb={gib << 10}"
    return _with_options(environment, options)


def keeping_nothing(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of a process whose freed memory is free."""
    return _with_options(environment, "quarantine_size_mb=0:thread_local_quarantine_size_kb=0")


def _with_options(environment: dict[str, str], options: str) -> dict[str, str]:
    if not SANITIZED:
        return environment
    own = environment.get("ASAN_OPTIONS", "")
    return environment | {"ASAN_OPTIONS": f"{own}:{options}"}
