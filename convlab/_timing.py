"""How long a call takes."""

import time
from collections.abc import Callable
from typing import Any


def best_time(function: Callable[[], Any], seconds: float) -> float:
    """Return the shortest time of one call, in seconds.

    Parameters
    ----------
    function : callable
        What is timed; called without arguments, at least twice.
    seconds : float
        How long to go on trying.

    Returns
    -------
    float
        The shortest of all times: what disturbs a measurement only ever adds to it.
    """
    times: list[float] = []
    while len(times) < 2 or sum(times) < seconds:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)
