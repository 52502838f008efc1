"""Measures every case: libraries in turn, each in its own process, and their results compared."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmarks.libraries import LIBRARIES, environment
from benchmarks.suite import Case
from benchmarks.worker import to_request

PROJECT = Path(__file__).resolve().parent.parent
SETTLE_SECONDS = 0.01  # waiting OpenMP threads spin for some milliseconds after a call
STEADY = 1.05
TOLERANCE = 8  # times eps * sqrt(reduction) * the largest number of the result


@dataclass(frozen=True)
class Plan:
    """How long to measure each case."""

    rounds: int
    most_rounds: int  # while the best two turns of a library still differ
    turn_seconds: float
    patience_seconds: float  # after two rounds, a case that has taken so long is done


@dataclass
class Measurement:
    """What is known of a case, by library: least seconds, extra bytes, what went wrong."""

    case: Case
    turns: dict[str, list[float]] = field(default_factory=dict)
    extra_bytes: dict[str, int] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> dict[str, float]:
        """The best turn of each library."""
        return {name: min(turns) for name, turns in self.turns.items()}

    @property
    def steady(self) -> bool:
        """Whether the best two turns of every library agree, so that a third would not matter."""
        best = [sorted(turns)[:2] for turns in self.turns.values()]
        return all(len(two) == 2 and two[1] <= STEADY * two[0] for two in best)


class WorkerError(RuntimeError):
    """A worker could not do what it was asked for."""


class StartError(RuntimeError):
    """A worker did not start: its library cannot be imported as asked for."""


class WorkerProcess:
    """A worker at the other end of two pipes."""

    def __init__(self, library: str, env: dict[str, str]) -> None:
        """Start the process and wait until its library is imported.

        Raises
        ------
        StartError
            If the import fails; the worker has then told why on the standard error.
        """
        self.library = library
        self.alive = True
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            cwd=PROJECT,
        )
        if not self._process.stdout.readline():
            self.close()
            raise StartError(f"{library} cannot be imported; its process says why above")

    def ask(self, case: Case, action: str, **arguments: Any) -> Any:
        """Send a request and wait for its answer.

        Raises
        ------
        WorkerError
            With the worker's own words, or because it died.
        """
        try:
            self._process.stdin.write(to_request(case, action, **arguments) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.alive = False
            status = self._process.wait()
            raise WorkerError(f"the process of {self.library} ended with status {status}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        """End the process, which ends by itself when its input does."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Runner:
    """Holds the workers of one run: two per library, one for times and one for memory."""

    def __init__(self, plan: Plan, *, isa: str | None = None, max_threads: int = 1) -> None:
        self.plan = plan
        self._env = environment(isa, max_threads)
        self._workers: dict[tuple[str, str], WorkerProcess] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="convlab-bench-")
        self._agreed: dict[tuple, dict[str, str]] = {}

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End the workers and remove their files."""
        for worker in self._workers.values():
            worker.close()
        self._folder.cleanup()

    def start(self) -> None:
        """Start those workers without which there is nothing to compare.

        Raises
        ------
        StartError
            If one of them cannot be started.
        """
        for library in ("convlab", "torch"):
            self._worker(library, "time")

    def measure(self, cases: Iterable[Case]) -> Iterator[Measurement]:
        """Measure case by case."""
        for case in cases:
            measurement = Measurement(case)
            names = [name for name, library in LIBRARIES.items() if library.supports(case)]
            measurement.errors |= self._disagreements(case, names)
            self._time(measurement, names)
            self._measure_memory(measurement, names)
            yield measurement

    def _worker(self, library: str, purpose: str) -> WorkerProcess:
        """Return the worker; start it for its first case, or if a case brought it down."""
        key = (library, purpose)
        if key not in self._workers or not self._workers[key].alive:
            self._workers[key] = WorkerProcess(library, self._env)
        return self._workers[key]

    def _time(self, measurement: Measurement, names: list[str]) -> None:
        """Take turns in rounds, as long as there is patience; the best turn counts."""
        plan, start = self.plan, time.perf_counter()
        for finished in range(plan.most_rounds):
            if finished >= plan.rounds and measurement.steady:
                break
            if finished >= 2 and time.perf_counter() - start > plan.patience_seconds:
                break
            for name in names:
                ask = self._worker(name, "time").ask
                seconds = self._note(measurement, name, ask, "time", seconds=plan.turn_seconds)
                if seconds is not None:
                    measurement.turns.setdefault(name, []).append(seconds)
                if measurement.case.threads > 1:
                    time.sleep(SETTLE_SECONDS)

    def _measure_memory(self, measurement: Measurement, names: list[str]) -> None:
        for name in names:
            ask = self._worker(name, "memory").ask
            extra = self._note(measurement, name, ask, "memory")
            if extra is not None:
                measurement.extra_bytes[name] = extra

    def _disagreements(self, case: Case, names: list[str]) -> dict[str, str]:
        """Return the libraries whose result is not convlab's, each with the difference.

        Compared once for all thread counts.
        """
        key = (case.row, case.op, case.dtype, case.layout)
        if key not in self._agreed:
            self._agreed = {key: self._compare(case, names)}
        return dict(self._agreed[key])

    def _compare(self, case: Case, names: list[str]) -> dict[str, str]:
        paths = {name: Path(self._folder.name) / f"{name}.npy" for name in names}
        complaints: dict[str, str] = {}
        for name, path in paths.items():
            try:
                self._worker(name, "time").ask(case, "result", path=str(path))
            except WorkerError as error:
                complaints[name] = str(error)
        if "convlab" in complaints:
            return complaints
        result = np.load(paths["convlab"])
        for name in set(names[1:]) - set(complaints):
            if reason := difference(result, np.load(paths[name]), case):
                complaints[name] = reason
        return complaints

    @staticmethod
    def _note(measurement: Measurement, name: str, ask: Callable, action: str, **arguments: Any):
        """Return the answer, or None and the reason among the errors."""
        try:
            return ask(measurement.case, action, **arguments)
        except WorkerError as error:
            measurement.errors.setdefault(name, str(error))
            return None


def difference(result: np.ndarray, other: np.ndarray, case: Case) -> str | None:
    """How two libraries' results differ beyond rounding, or None."""
    if result.shape != other.shape or result.dtype != other.dtype:
        return f"{other.shape} {other.dtype}, convlab: {result.shape} {result.dtype}"
    eps = np.finfo(case.dtype).eps
    allowed = TOLERANCE * eps * np.sqrt(case.row.reduction(case.op)) * np.abs(other).max()
    largest = np.abs(result - other).max()
    # Written so that a NaN, which no comparison holds for, is a difference.
    return None if largest <= allowed else f"differs by {largest:.2g} (allowed: {allowed:.2g})"
