"""``python -m benchmarks``: measure, print, and write the tables and pictures."""

import argparse
import platform
import re
import sys
from dataclasses import replace
from importlib import metadata, util
from pathlib import Path

from benchmarks import machine, report
from benchmarks.libraries import HELD_TO
from benchmarks.runner import Measurement, Plan, Runner, StartError
from benchmarks.suite import DTYPES, LAYOUTS, OPERATIONS, ROWS, Case, Row, cases

NEEDED = ("convlab", "torch", "scipy", "matplotlib", "tqdm")
FULL = Plan(rounds=4, most_rounds=12, turn_seconds=0.02, patience_seconds=1.5)
QUICK = Plan(rounds=2, most_rounds=6, turn_seconds=0.01, patience_seconds=0.3)


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measures convlab beside PyTorch and SciPy."
    )
    add = options.add_argument
    add("--quick", action="store_true", help="a row of each kind, one thread: a minute or two")
    add("--rows", metavar="REGEX", default="", help="only rows whose name or kind matches")
    add("--ops", nargs="+", choices=OPERATIONS, default=OPERATIONS)
    add("--dtype", nargs="+", choices=DTYPES, default=DTYPES)
    add("--layout", nargs="+", choices=LAYOUTS, default=LAYOUTS)
    add("--threads", nargs="+", type=positive, help="thread counts (default 1 2, quick: 1)")
    add("--isa", choices=tuple(HELD_TO), help="hold convlab and PyTorch to an instruction set")
    add("--rounds", type=positive, help="turns of each library on a case (default 4 to 12)")
    add("--against", type=Path, metavar="FILE", help="compare with the JSON of an earlier run")
    add("--output", type=Path, metavar="DIR", default=Path("out"), help="where the files go")
    return options


def positive(text: str) -> int:
    """Return an int of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def chosen_rows(pattern: str, quick: bool) -> tuple[Row, ...]:
    """Return the rows that the options ask for."""
    wanted = re.compile(pattern)
    return tuple(
        row
        for row in ROWS
        if (row.quick or not quick) and (wanted.search(row.name) or wanted.search(row.kind))
    )


def chosen_plan(quick: bool, rounds: int | None) -> Plan:
    """How long to measure; rounds that were asked for are all run."""
    plan = QUICK if quick else FULL
    if rounds is None:
        return plan
    return replace(plan, rounds=rounds, most_rounds=rounds, patience_seconds=float("inf"))


def versions(isa: str | None) -> str:
    """Return the versions of everything that was measured, and what it was held to."""
    parts = [f"Python {platform.python_version()}"]
    for name in ("convlab", "numpy", "torch", "scipy"):
        try:
            parts.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:  # run from the source tree, not installed
            parts.append(f"{name} (source tree)")
    return ", ".join(parts) + (f"; held to {isa}." if isa else ".")


def run(chosen: list[Case], runner: Runner, figures: machine.Machine) -> list[Measurement]:
    """Measure the cases under a progress bar, and print each as it is done."""
    from tqdm import tqdm

    measurements = []
    print(report.text_heading())
    with tqdm(total=len(chosen), unit="case", disable=None) as bar:
        for measurement in runner.measure(chosen):
            measurements.append(measurement)
            with bar.external_write_mode(file=sys.stdout):
                print(report.text_row(measurement, figures), flush=True)
            bar.update()
    return measurements


def write(
    measurements: list[Measurement],
    figures: machine.Machine,
    measured: str,
    folder: Path,
    against: Path | None,
) -> list[Path]:
    """Write the report, the figures and a picture per thread count; the paths written."""
    from benchmarks.picture import draw

    # Made before anything is written: `against` may be the file that is about to be replaced.
    markdown = report.as_markdown(measurements, figures, measured, against)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "bench.md", folder / "bench.json"]
    paths[0].write_text(markdown, encoding="utf-8")
    paths[1].write_text(report.as_json(measurements, figures, measured), encoding="utf-8")
    for threads in dict.fromkeys(m.case.threads for m in measurements):
        path = folder / f"bench-{threads}-thread{'s' * (threads > 1)}.png"
        draw([m for m in measurements if m.case.threads == threads], path)
        paths.append(path)
    return paths


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 1 if a library failed or results differ, whatever the times."""
    options = parser()
    args = options.parse_args(arguments)
    if missing := [name for name in NEEDED if util.find_spec(name) is None]:
        options.error(f"needs {', '.join(missing)}: pip install 'convlab[bench]'")
    if args.against and not args.against.exists():
        options.error(f"--against: there is no {args.against}")
    threads = tuple(args.threads or ((1,) if args.quick else (1, 2)))
    rows = chosen_rows(args.rows, args.quick)
    if not rows:
        options.error(f"--rows: no row of the suite matches {args.rows!r}")
    chosen = list(cases(rows, tuple(args.ops), tuple(args.dtype), tuple(args.layout), threads))

    print(versions(args.isa), flush=True)
    plan = chosen_plan(args.quick, args.rounds)
    with Runner(plan, isa=args.isa, max_threads=max(threads)) as runner:
        try:
            runner.start()
        except StartError as error:
            options.error(str(error))
        # Only now: convlab refuses an instruction set that is not there, the probe would crash.
        figures = machine.measure(threads, args.isa)
        print(report.machine_text(figures))
        measurements = run(chosen, runner, figures)
    figures = machine.best_of(figures, machine.measure(threads, args.isa))

    paths = write(measurements, figures, versions(args.isa), args.output, args.against)
    errors = report.errors_text(measurements)
    summary = [
        report.LEGEND,
        report.goals_text(report.goals(measurements, figures)),
        report.slower_text(measurements),
        report.noise_text(measurements),
        errors,
        "Written: " + ", ".join(str(path) for path in paths),
    ]
    print("\n" + "\n\n".join(part for part in summary if part))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
