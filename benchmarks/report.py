"""What the measurements mean: ratios, shares of the roofline, goals; as text, Markdown and JSON."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import Machine
from benchmarks.runner import Measurement
from benchmarks.suite import OPERATIONS, Case

MIB = 2**20
NO_VALUE = "-"
UNITS = {"s": 1, "ms": 1e-3, "us": 1e-6}


def ratio(measurement: Measurement, library: str = "torch") -> float | None:
    """How many times faster convlab is; None where it was not measured or the results differ."""
    seconds, errors = measurement.seconds, measurement.errors
    if {"convlab", library} & set(errors) or not {"convlab", library} <= set(seconds):
        return None
    return seconds[library] / seconds["convlab"]


def roofline_seconds(case: Case, machine: Machine) -> float:
    """Return the least time that the machine's FMA peak and memory bandwidth allow."""
    peak = machine.peak_flops[case.dtype][case.threads]
    return max(case.row.flops / peak, case.traffic_bytes / machine.bandwidth[case.threads])


def memory_bound(case: Case, machine: Machine) -> bool:
    """Whether memory, not arithmetic, sets the roofline."""
    return case.row.flops / machine.peak_flops[case.dtype][case.threads] < roofline_seconds(
        case, machine
    )


def peak_share(measurement: Measurement, machine: Machine, library: str = "convlab") -> float:
    """Return the share of the FMA peak that a library reaches."""
    case = measurement.case
    peak = machine.peak_flops[case.dtype][case.threads]
    return case.row.flops / measurement.seconds[library] / peak


def bandwidth_share(measurement: Measurement, machine: Machine) -> float:
    """Return the share of the memory bandwidth that convlab reaches."""
    case = measurement.case
    return case.traffic_bytes / measurement.seconds["convlab"] / machine.bandwidth[case.threads]


def geometric_mean(values: Iterable[float]) -> float:
    """Return the mean for ratios: a row twice as fast and one half as fast cancel."""
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms))


def label(case: Case) -> str:
    """Name a case in one phrase."""
    threads = f"{case.threads} thread" + ("s" if case.threads > 1 else "")
    return f"{case.row.name} {case.op} {case.dtype} {case.layout} {threads}"


# --------------------------------------------------------------------------------- the table


def duration(seconds: float | None) -> str:
    """Write a time with its unit, three digits."""
    if seconds is None:
        return NO_VALUE
    unit = next((unit for unit, size in UNITS.items() if seconds >= size), "us")
    return f"{seconds / UNITS[unit]:#.3g}".rstrip(".") + f" {unit}"


def times(value: float | None) -> str:
    """Write a ratio."""
    return NO_VALUE if value is None else f"{value:.2f}x"


def mebibytes(size: int | None) -> str:
    """Write an amount of memory, without its unit."""
    return NO_VALUE if size is None else f"{size / MIB:.1f}"


@dataclass(frozen=True)
class Column:
    """A column of the table: its heading, its width as text, and the cell of a measurement."""

    heading: str
    width: int
    cell: Callable[[Measurement, Machine], str]


def roofline_cell(measurement: Measurement, machine: Machine) -> str:
    """Return the share of the roofline in percent, with what bounds it."""
    seconds = measurement.seconds.get("convlab")
    if seconds is None:
        return NO_VALUE
    share = roofline_seconds(measurement.case, machine) / seconds
    return f"{share:.0%} {'mem' if memory_bound(measurement.case, machine) else 'fma'}"


def speed_cell(measurement: Measurement, _machine: Machine) -> str:
    """Billions of operations per second."""
    seconds = measurement.seconds.get("convlab")
    return NO_VALUE if seconds is None else f"{measurement.case.row.flops / seconds / 1e9:.1f}"


COLUMNS = (
    Column("row", 26, lambda m, _: m.case.row.name),
    Column("op", 7, lambda m, _: m.case.op),
    Column("dtype", 7, lambda m, _: m.case.dtype),
    Column("layout", 14, lambda m, _: m.case.layout),
    Column("threads", 7, lambda m, _: str(m.case.threads)),
    Column("convlab", 9, lambda m, _: duration(m.seconds.get("convlab"))),
    Column("torch", 9, lambda m, _: duration(m.seconds.get("torch"))),
    Column("ratio", 8, lambda m, _: times(ratio(m))),
    Column("ndimage", 8, lambda m, _: times(ratio(m, "scipy.ndimage"))),
    Column("signal", 8, lambda m, _: times(ratio(m, "scipy.signal"))),
    Column("GFLOP/s", 7, speed_cell),
    Column("roofline", 8, roofline_cell),
    Column("MiB", 6, lambda m, _: mebibytes(m.extra_bytes.get("convlab"))),
    Column("torch MiB", 9, lambda m, _: mebibytes(m.extra_bytes.get("torch"))),
)

LEGEND = """\
ratio: PyTorch's time over convlab's, above 1 convlab is faster; ndimage and signal: scipy.ndimage's
and scipy.signal's. GFLOP/s counts products with pixels, not with padding. roofline: the share that
convlab reaches of what the FMA peak (fma) or the memory bandwidth (mem), whichever is the limit,
allows; above 100 % the data were still in a cache. MiB: memory at the peak of a call beyond inputs
and output."""


def text_line(cells: Iterable[str]) -> str:
    """Cells padded to the columns' widths; the first columns are words, the others are numbers."""
    padded = (
        cell.ljust(column.width) if index < 4 else cell.rjust(column.width)
        for index, (column, cell) in enumerate(zip(COLUMNS, cells, strict=True))
    )
    return "  ".join(padded).rstrip()


def text_row(measurement: Measurement, machine: Machine) -> str:
    """One measurement as a line for the terminal."""
    return text_line(column.cell(measurement, machine) for column in COLUMNS)


def text_heading() -> str:
    """Return the headings for the terminal."""
    return text_line(column.heading for column in COLUMNS)


def markdown_table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    headings = list(headings)
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


# --------------------------------------------------------------------------------- the goals


@dataclass(frozen=True)
class Goal:
    """What is wanted, what was reached, and the cases that fall short."""

    name: str
    wanted: str
    reached: str
    met: bool
    short: tuple[str, ...] = ()


Valued = list[tuple[Measurement, float]]


def least_goal(
    name: str,
    values: Valued,
    least: float | Callable[[Measurement], float],
    wanted: str,
    show: Callable[[float], str] = times,
) -> list[Goal]:
    """Return a goal that every case must reach; none, where no case is concerned."""
    if not values:
        return []
    bound = least if callable(least) else lambda _: least
    values = sorted(values, key=lambda pair: pair[1])
    short = tuple(f"{label(m.case)}: {show(v)}" for m, v in values if v < bound(m))
    reached = f"least {show(values[0][1])}; {len(values) - len(short)} of {len(values)}"
    return [Goal(name, wanted, reached, not short, short)]


def percent(value: float) -> str:
    """Write a share."""
    return f"{value:.0%}"


def ratios(measurements: Iterable[Measurement], library: str = "torch") -> Valued:
    """Return the measurements that have a ratio to a library, with it."""
    pairs = ((m, ratio(m, library)) for m in measurements)
    return [(m, value) for m, value in pairs if value is not None]


def speed_goals(measurements: list[Measurement], machine: Machine, dtype: str) -> list[Goal]:
    """Against PyTorch, for one dtype: every case, and the geometric mean."""
    values = ratios(m for m in measurements if m.case.dtype == dtype)
    if not values:
        return []

    def least(measurement: Measurement) -> float:
        if dtype == "float64":
            return 1.1
        return 0.97 if peak_share(measurement, machine, "torch") > 0.95 else 1.0

    wanted = ">= 1.10x" if dtype == "float64" else ">= 1.00x (0.97x if torch > 95 % of peak)"
    goals = least_goal(f"{dtype}: every case against PyTorch", values, least, wanted)
    mean, mean_wanted = geometric_mean(v for _, v in values), 3 if dtype == "float64" else 2
    name = f"{dtype}: geometric mean against PyTorch"
    goals.append(Goal(name, f">= {mean_wanted}x", times(mean), mean >= mean_wanted))
    for op in OPERATIONS:
        of_op = [v for m, v in values if m.case.op == op]
        if of_op:
            mean = geometric_mean(of_op)
            name = f"{dtype}: geometric mean, {op}"
            goals.append(Goal(name, f">= {mean_wanted}x", times(mean), mean >= mean_wanted))
    return goals


def roofline_goals(measurements: list[Measurement], machine: Machine, dtype: str) -> list[Goal]:
    """Dense rows against the FMA peak, rows bound by memory against the bandwidth."""
    ours = [m for m in measurements if m.case.dtype == dtype and "convlab" in m.seconds]
    bound = {label(m.case): memory_bound(m.case, machine) for m in ours}
    dense = [
        (m, peak_share(m, machine))
        for m in ours
        if not bound[label(m.case)]
        and m.case.row.groups == 1
        and min(m.case.row.ic, m.case.row.oc) >= 32
    ]
    name = f"{dtype}: dense rows, 32 or more channels, of FMA peak"
    goals = least_goal(f"{name}, each", dense, 0.70, ">= 70 %", percent)
    if dense:
        mean = sum(share for _, share in dense) / len(dense)
        goals.append(Goal(f"{name}, mean", ">= 85 %", percent(mean), mean >= 0.85))
    moving = [
        (m, bandwidth_share(m, machine))
        for m in ours
        if bound[label(m.case)] and m.case.row.kind in ("depthwise", "1x1")
    ]
    name = f"{dtype}: depthwise and 1x1 bound by memory, of bandwidth"
    return goals + least_goal(name, moving, 0.70, ">= 70 %", percent)


def thread_values(measurements: list[Measurement]) -> Valued:
    """Cases above 1 ms, with how many times faster two threads are than one."""
    alone = {
        (m.case.row, m.case.op, m.case.dtype, m.case.layout): m.seconds["convlab"]
        for m in measurements
        if m.case.threads == 1 and "convlab" in m.seconds
    }
    values = []
    for m in measurements:
        one = alone.get((m.case.row, m.case.op, m.case.dtype, m.case.layout), 0)
        if m.case.threads == 2 and "convlab" in m.seconds and one > 1e-3:
            values.append((m, one / m.seconds["convlab"]))
    return values


def memory_goals(measurements: list[Measurement]) -> list[Goal]:
    """Extra memory: the weights once more, and 4 MiB a thread."""
    over: list[tuple[float, str]] = []
    ours = [m for m in measurements if "convlab" in m.extra_bytes]
    for m in ours:
        allowed = m.case.itemsize * math.prod(m.case.row.w_shape) + 4 * MIB * m.case.threads
        extra = m.extra_bytes["convlab"]
        if extra > allowed:
            amounts = f"{extra / MIB:.1f} MiB, allowed {allowed / MIB:.1f} MiB"
            over.append((allowed / extra, f"{label(m.case)}: {amounts}"))
    if not ours:
        return []
    most = max(m.extra_bytes["convlab"] for m in ours)
    reached = f"most {most / MIB:.1f} MiB; {len(ours) - len(over)} of {len(ours)}"
    wanted = "<= weights + 4 MiB a thread"
    short = tuple(text for _, text in sorted(over))
    return [Goal("extra memory", wanted, reached, not short, short)]


def goals(measurements: list[Measurement], machine: Machine) -> list[Goal]:
    """Every goal that the measurements say something about."""
    dtypes = list(dict.fromkeys(m.case.dtype for m in measurements))
    result = [goal for dtype in dtypes for goal in speed_goals(measurements, machine, dtype)]
    result += [goal for dtype in dtypes for goal in roofline_goals(measurements, machine, dtype)]
    name = "two threads over one, above 1 ms"
    result += least_goal(name, thread_values(measurements), 1.85, ">= 1.85x")
    images = ratios((m for m in measurements if m.case.op == "forward"), "scipy.ndimage")
    result += least_goal("images against scipy.ndimage.correlate", images, 10, ">= 10x")
    tiny = ratios(m for m in measurements if m.case.row.kind == "tiny")
    result += least_goal("tiny problems against PyTorch", tiny, 5, ">= 5x")
    return result + memory_goals(measurements)


def goals_text(reached: list[Goal]) -> str:
    """Return the goals as lines for the terminal."""
    marks = ("met    " if goal.met else "NOT MET" for goal in reached)
    lines = (
        f"{mark}  {goal.name}: {goal.reached} (wanted {goal.wanted})"
        for mark, goal in zip(marks, reached, strict=True)
    )
    return "\n".join(lines)


def shortfalls_markdown(reached: list[Goal]) -> str:
    """Every case that falls short of a goal, under that goal, the worst first."""
    return "\n\n".join(
        f"### {goal.name}\n\n" + "\n".join(f"- {case}" for case in goal.short)
        for goal in reached
        if goal.short
    )


def slower_text(measurements: list[Measurement]) -> str:
    """Every case where convlab is slower than PyTorch."""
    slower = sorted((v, label(m.case)) for m, v in ratios(measurements) if v < 1)
    if not slower:
        return "No case is slower than PyTorch."
    lines = [f"Slower than PyTorch: {len(slower)} of {len(ratios(measurements))} cases."]
    return "\n".join(lines + [f"- {name}: {times(value)}" for value, name in slower])


def noise_text(measurements: list[Measurement]) -> str:
    """How many cases were disturbed; empty if none was."""
    unsteady = sum(not m.steady for m in measurements)
    if not unsteady:
        return ""
    return (
        f"Noise: in {unsteady} of {len(measurements)} cases the best two turns of a library differ "
        "by more than 5 %. Was the machine busy?"
    )


def errors_text(measurements: list[Measurement]) -> str:
    """Return what failed, or gave another result than convlab; empty if nothing did."""
    lines = [f"- {label(m.case)}, {k}: {v}" for m in measurements for k, v in m.errors.items()]
    heading = "Failed, or results differ (such cases have no ratio):"
    return "\n".join([heading, *lines]) if lines else ""


# --------------------------------------------------------------------------------- an earlier run


def key(case: Case) -> tuple[str, ...]:
    """Return what names a case in a file of an earlier run."""
    return (case.row.name, case.op, case.dtype, case.layout, str(case.threads))


def earlier_seconds(path: Path) -> dict[tuple[str, ...], dict[str, float]]:
    """Return the times of an earlier run by case, from its JSON."""
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    names = ("row", "op", "dtype", "layout", "threads")
    return {tuple(str(result[name]) for name in names): result["seconds"] for result in results}


def against_markdown(measurements: list[Measurement], path: Path) -> str:
    """How many times faster each case is than in an earlier run; PyTorch is the control."""
    earlier = earlier_seconds(path)
    changes: list[tuple[float, float | None, Measurement]] = []
    for m in measurements:
        before = earlier.get(key(m.case), {})
        if "convlab" in before and "convlab" in m.seconds:
            both = "torch" in before and "torch" in m.seconds
            control = before["torch"] / m.seconds["torch"] if both else None
            changes.append((before["convlab"] / m.seconds["convlab"], control, m))
    if not changes:
        return f"No case in common with {path.name}."
    changes.sort(key=lambda change: change[0])
    rows = [[*key(m.case), times(ours), times(control)] for ours, control, m in changes]
    mean = geometric_mean(ours for ours, _, _ in changes)
    controls = [control for _, control, _ in changes if control is not None]
    summary = f"Against {path.name}, in {len(changes)} common cases: geometric mean {times(mean)}"
    if controls:
        summary += f" (PyTorch, which has not changed: {times(geometric_mean(controls))})"
    headings = ["row", "op", "dtype", "layout", "threads", "convlab then/now", "torch then/now"]
    return f"## Then and now\n\n{summary}.\n\n{markdown_table(headings, rows)}"


# --------------------------------------------------------------------------------- the files


def machine_text(machine: Machine) -> str:
    """Return the machine's figures in a few lines."""
    lines = [f"{machine.processor}; measured with {machine.method}:"]
    for threads, bandwidth in machine.bandwidth.items():
        peaks = ", ".join(
            f"{dtype} {by_threads[threads] / 1e9:.1f} GFLOP/s"
            for dtype, by_threads in machine.peak_flops.items()
        )
        plural = "s" if threads > 1 else ""
        lines.append(f"{threads} thread{plural}: {peaks}, memory {bandwidth / 1e9:.1f} GB/s")
    return "\n".join(lines)


def as_markdown(
    measurements: list[Measurement], machine: Machine, versions: str, against: Path | None
) -> str:
    """Return the whole report."""
    reached = goals(measurements, machine)
    goal_rows = [
        [goal.name, goal.wanted, goal.reached, "met" if goal.met else "**not met**"]
        for goal in reached
    ]
    table = markdown_table(
        (column.heading for column in COLUMNS),
        ([column.cell(m, machine) for column in COLUMNS] for m in measurements),
    )
    parts = [
        "# Benchmark",
        versions,
        "\n\n".join(machine_text(machine).splitlines()),
        "## Goals",
        markdown_table(("goal", "wanted", "reached", ""), goal_rows),
        "## Slower than PyTorch",
        slower_text(measurements),
        noise_text(measurements),
        errors_text(measurements),
        "## Short of a goal",
        shortfalls_markdown(reached) or "No case.",
        against_markdown(measurements, against) if against else "",
        "## Every case",
        LEGEND,
        table,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_json(measurements: list[Measurement], machine: Machine, versions: str) -> str:
    """Return what was measured, for programs and for ``--against``."""
    results: list[dict[str, Any]] = [
        {
            "row": m.case.row.name,
            "op": m.case.op,
            "dtype": m.case.dtype,
            "layout": m.case.layout,
            "threads": m.case.threads,
            "flops": m.case.row.flops,
            "traffic_bytes": m.case.traffic_bytes,
            "seconds": m.seconds,
            "turns": m.turns,
            "extra_bytes": m.extra_bytes,
            "errors": m.errors,
        }
        for m in measurements
    ]
    content = {"versions": versions, "machine": asdict(machine), "results": results}
    return json.dumps(content, indent=1) + "\n"
