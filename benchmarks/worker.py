"""The process that one library runs in: reads a request a line, answers with a line of JSON.

``python -m benchmarks.worker LIBRARY`` says ``ready`` once the library is imported. A request is a
case and an action:

``time``    the least seconds of one call, over a turn of ``seconds``
``result``  writes the operation's result to ``path``, channels first
``memory``  the bytes at the peak of one call, above inputs and output, measured in a forked child

A worker that measures memory is asked for nothing else (see ``memory.in_a_fork``).
"""

import json
import math
import os
import sys
import time
import timeit
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks import memory
from benchmarks.libraries import LIBRARIES, Arrays, Call, Library, random_arrays
from benchmarks.suite import Case, Row

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
SAMPLE_SECONDS = 1e-3  # enough that reading the clock does not count
WARM_UP = Row("warm_up", "tiny", False, 1, 1, 1, 1, (4, 4), (3, 3), *((1, 1),) * 3, (0, 0))


def to_request(case: Case, action: str, **arguments: Any) -> str:
    """Return a request as a line of text."""
    return json.dumps({"case": asdict(case), "action": action} | arguments)


def to_case(fields: dict[str, Any]) -> Case:
    """Return the case that a request was made of; JSON has turned its tuples into lists."""
    row = {key: tuple(v) if isinstance(v, list) else v for key, v in fields.pop("row").items()}
    return Case(Row(**row), **fields)


def sample(call: Call, number: int) -> float:
    """Seconds of so many calls, with Python's garbage collector off."""
    return timeit.Timer(call).timeit(number)


def best_seconds(call: Call, turn_seconds: float) -> float:
    """Return the least seconds of one call, of as many samples as fit into a turn."""
    deadline = time.perf_counter() + turn_seconds
    number = 1
    while (elapsed := sample(call, number)) < SAMPLE_SECONDS:
        growth = SAMPLE_SECONDS / elapsed if elapsed > 0 else 10
        number = math.ceil(number * min(10, max(2, growth)))
    best = elapsed / number
    while time.perf_counter() < deadline:
        best = min(best, sample(call, number) / number)
    return best


def stay_on_cores(count: int) -> None:
    """Keep to the last so many cores, where the system lets a process choose.

    Libraries then meet the same ones, and the same neighbours on them.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, CORES[-count:])


class Worker:
    """Answers requests about one library, and keeps the arrays of the last case."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._key: tuple[Row, str, str] | None = None
        self._arrays: Arrays = {}

    def answer(self, request: dict[str, Any]) -> Any:
        """Do what a request asks for."""
        case, action = to_case(request["case"]), request["action"]
        if action == "memory":
            return memory.in_a_fork(lambda: self.memory(case))
        self.library.set_threads(case.threads)
        stay_on_cores(case.threads)
        if action == "result":
            result = self.library.canonical(self.call(case)(), case)
            return np.save(request["path"], result)
        return best_seconds(self.call(case), request["seconds"])

    def call(self, case: Case) -> Call:
        """Return the case's operation on its arrays."""
        key = (case.row, case.dtype, case.layout)
        if key != self._key:
            self._arrays = {}
            self._arrays = self.library.load(random_arrays(case.row, case.dtype), case)
            self._key = key
        return self.library.prepare(self._arrays, case)

    def memory(self, case: Case) -> int:
        """Peak bytes of one call; a tiny one goes first, for what a library sets up only once."""
        self.library.set_threads(case.threads)
        warm_up = Case(WARM_UP, "forward", case.dtype, "channels_first", case.threads)
        self.call(warm_up)()
        result_bytes = case.itemsize * case.row.output_elements(case.op)
        return memory.peak_above(self.call(case), result_bytes)


def main() -> None:
    """Serve requests until the input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    worker = Worker(LIBRARIES[sys.argv[1]]())
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = {"value": worker.answer(json.loads(line))}
        except Exception as error:  # the report lists it, and the run goes on
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
