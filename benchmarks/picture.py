"""A picture of the ratios: a bar per operation and row, a panel per dtype and layout."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.report import ratio
from benchmarks.runner import Measurement
from benchmarks.suite import OPERATIONS

COLORS = {"forward": "#4477aa", "dx": "#ccaa33", "dw": "#228866"}
SLOWER = "#bb3333"
GROUP_HEIGHT = 0.8  # of the distance between two rows


def draw(measurements: list[Measurement], path: Path) -> None:
    """Draw the measurements of one thread count and save the picture."""
    panels = list(dict.fromkeys((m.case.dtype, m.case.layout) for m in measurements))
    names = list(dict.fromkeys(m.case.row.name for m in measurements))
    size = (2.6 + 3.4 * len(panels), 1.6 + 0.34 * len(names))
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axes, panel in zip(all_axes, panels, strict=True):
        chosen = [m for m in measurements if (m.case.dtype, m.case.layout) == panel]
        draw_panel(axes, chosen, names)
        axes.set_title(" ".join(panel), fontsize=10)
    threads = measurements[0].case.threads
    plural = "s" if threads > 1 else ""
    title = f"PyTorch's time over convlab's, {threads} thread{plural}"
    figure.suptitle(f"{title}: right of the line convlab is faster")
    handles, labels = all_axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))
    figure.savefig(path)


def draw_panel(axes: Axes, measurements: list[Measurement], names: list[str]) -> None:
    """Bars from 1.0: to the right convlab is faster, to the left (edged in red) it is slower."""
    height = GROUP_HEIGHT / len(OPERATIONS)
    axes.set_xscale("log")
    for index, op in enumerate(OPERATIONS):
        values = {m.case.row.name: ratio(m) for m in measurements if m.case.op == op}
        bars = [(names.index(name), value) for name, value in values.items() if value is not None]
        if not bars:
            continue
        rows, lengths = zip(*bars, strict=True)
        axes.barh(
            [row + (index - 1) * height for row in rows],
            [length - 1 for length in lengths],
            height,
            left=1.0,
            label=op,
            color=COLORS[op],
            edgecolor=[SLOWER if length < 1 else COLORS[op] for length in lengths],
            linewidth=[1.4 if length < 1 else 0.2 for length in lengths],
        )
    axes.axvline(1.0, color="black", linewidth=1.2)
    axes.grid(axis="x", which="both", alpha=0.25)
    axes.set_axisbelow(True)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelsize=8, labelrotation=60, top=True, labeltop=True)
