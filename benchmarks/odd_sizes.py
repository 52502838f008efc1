"""``python -m benchmarks.odd_sizes``: what sizes that do not fill vectors and tiles cost.

A 3x3 layer of an odd number of channels stands beside its two even neighbours, and one of odd
images beside theirs: the speed of each is its products with pixels per second, and the figure is
the odd one's over the mean of the two.
"""

import argparse
from collections.abc import Iterator

from benchmarks.libraries import LIBRARIES, random_arrays
from benchmarks.suite import DTYPES, LAYOUTS, OPERATIONS, Case, Row
from benchmarks.worker import best_seconds

CHANNELS = (13, 17, 31, 63)
SIZES = (5, 7, 9, 11, 13, 15)
ROUNDS = 3
TURN_SECONDS = 0.02
WORTH_NAMING = 0.75


def layer(channels: int, size: int) -> Row:
    """Return a 3x3 layer of so many channels in and out, on square images."""
    ones = (1, 1)
    name = f"{channels} channels, {size}x{size}"
    return Row(
        name, "odd", False, 8, 1, channels, channels, (size, size), (3, 3), ones, ones, ones, (0, 0)
    )


def trios() -> Iterator[tuple[Row, Row, Row]]:
    """Yield the layers: an odd size between its even neighbours."""
    for channels in CHANNELS:
        yield layer(channels - 1, 28), layer(channels, 28), layer(channels + 1, 28)
    for size in SIZES:
        yield layer(64, size - 1), layer(64, size), layer(64, size + 1)


def relative_speed(rows: tuple[Row, Row, Row], op: str, dtype: str, layout: str) -> float:
    """Return the speed of the second layer over the mean of the others', best of some turns."""
    library = LIBRARIES["convlab"]()
    library.set_threads(1)
    cases = [Case(row, op, dtype, layout, 1) for row in rows]
    calls = [
        library.prepare(library.load(random_arrays(case.row, dtype), case), case) for case in cases
    ]
    best = [float("inf")] * len(calls)
    for _ in range(ROUNDS):
        for i, call in enumerate(calls):
            best[i] = min(best[i], best_seconds(call, TURN_SECONDS))
    below, odd, above = (row.flops / seconds for row, seconds in zip(rows, best, strict=True))
    return odd / ((below + above) / 2)


def main() -> None:
    """Print the table, and how many of its figures are below the goal."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.odd_sizes",
        description="Measures odd sizes beside their even neighbours.",
    )
    options.add_argument("--dtype", nargs="+", choices=DTYPES, default=DTYPES)
    options.add_argument("--layout", nargs="+", choices=LAYOUTS, default=LAYOUTS)
    chosen = options.parse_args()
    columns = [(d, lay, op) for d in chosen.dtype for lay in chosen.layout for op in OPERATIONS]
    print("| layer |", " | ".join(f"{d} {lay} {op}" for d, lay, op in columns), "|")
    print("| --- |", " | ".join("---" for _ in columns), "|")
    figures = []
    for rows in trios():
        row = [relative_speed(rows, op, dtype, layout) for dtype, layout, op in columns]
        print(f"| {rows[1].name} |", " | ".join(f"{value:.2f}" for value in row), "|", flush=True)
        figures += row
    low = sum(value < WORTH_NAMING for value in figures)
    print(f"\n{low} of {len(figures)} below {WORTH_NAMING}.")


if __name__ == "__main__":
    main()
