"""The benchmark harness: its arithmetic, its adapters and one small run. No time is ever tested."""

import itertools
import json
import os
import re
import sys
from dataclasses import replace
from importlib import util

import numpy as np
import pytest

import convlab
from benchmarks import drawn, libraries, machine, memory, odd_sizes, report, runner, worker
from benchmarks.runner import Measurement, Plan
from benchmarks.suite import LAYOUTS, OPERATIONS, ROWS, Case, parse_row

extras = ("torch", "scipy", "matplotlib", "tqdm")
missing = [name for name in extras if util.find_spec(name) is None]
needs_everything = pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")

# name kind op n g ic oc size kernel s p d e: every setting differs from its default somewhere.
SMALL = {
    row.name: row
    for row in map(
        parse_row,
        (
            "conv2d       dense      conv  2 2 4 6 7x5   3x2   2x1 1   1x2 0",
            "conv1d       1-D        conv  2 1 3 4 12    3     1   2   2   0",
            "conv3d       3-D        conv  1 1 2 3 4x5x3 2x3x1 1   1x1x0 1 0",
            "transposed2d transposed convT 2 2 4 6 3x4   3x2   2   1   1   1",
            "transposed1d transposed convT 1 1 3 2 5     4     2   1   1   0",
            "transposed3d transposed convT 1 1 2 3 2x3x2 2     2   0   1   1",
            "plane        image      conv  1 1 1 1 9x8   3x5   1   1x2 1   0",
        ),
    )
}
MACHINE = machine.Machine(
    "made up",
    {"float32": {1: 100e9, 2: 200e9}, "float64": {1: 50e9, 2: 100e9}},
    {1: 20e9, 2: 30e9},
    "nothing",
)
DENSE = parse_row("dense_row dense conv 1 1 64 64 10x10 3x3 1 0 1 0")
POINTWISE = parse_row("moving_row 1x1 conv 1 1 4 4 100x100 1x1 1 0 1 0")
TINY = parse_row("tiny_row tiny conv 1 1 1 1 4x4 3x3 1 0 1 0")
IMAGE = parse_row("image_row image conv 1 1 1 1 32x32 3x3 1 1 1 0")


def measured(
    row=DENSE, op="forward", dtype="float32", threads=1, extra=None, errors=None, **seconds
):
    """Return a measurement with these times; of each library the best two turns agree."""
    case = Case(row, op, dtype, "channels_first", threads)
    turns = {name.replace("_", "."): [value, value] for name, value in seconds.items()}
    return Measurement(case, turns, extra or {}, errors or {})


def goal(measurements, name):
    """Return the one goal whose name starts so."""
    (found,) = (g for g in report.goals(measurements, MACHINE) if g.name.startswith(name))
    return found


def products_by_loops(row):
    """Products of a weight with a pixel, counted one by one."""
    count = 0
    small, large = (row.size, row.out_size) if row.transposed else (row.out_size, row.size)
    windows = itertools.product(*map(range, small))
    for window, tap in itertools.product(windows, list(itertools.product(*map(range, row.kernel)))):
        axes = zip(window, tap, row.stride, row.padding, row.dilation, large, strict=True)
        count += all(0 <= i * s - p + t * d < size for i, t, s, p, d, size in axes)
    return count * row.n * row.ic * row.oc // row.groups


@pytest.mark.parametrize("name", SMALL)
def test_flops_leave_out_products_with_padding(name):
    """Protects the share of the roofline: 100 % must be what cannot be beaten."""
    assert SMALL[name].flops == 2 * products_by_loops(SMALL[name])


@pytest.mark.parametrize("row", [*SMALL.values(), *ROWS], ids=lambda row: row.name)
def test_shapes_are_convlabs(row):
    """Protects the table of layers from rows whose sizes are not what the library computes."""
    settings = {name: getattr(row, name) for name in ("stride", "padding", "dilation", "groups")}
    if row.transposed:
        settings["output_padding"] = row.output_padding
        shape = convlab.conv_transpose_output_shape(row.x_shape, row.w_shape, **settings)
    else:
        shape = convlab.conv_output_shape(row.x_shape, row.w_shape, **settings)
    assert tuple(shape) == row.y_shape


def test_suite_is_complete():
    """Protects what the suite promises: every kind of layer, and one of each kind in --quick."""
    assert len({row.name for row in ROWS}) == len(ROWS)
    kinds = {row.kind for row in ROWS}
    assert kinds == {
        "dense",
        "1x1",
        "first",
        "depthwise",
        "grouped",
        "dilated",
        "transposed",
        "3-D",
        "1-D",
        "image",
        "lesson",
        "tiny",
    }
    assert {row.kind for row in ROWS if row.quick} == kinds


def test_traffic_counts_each_array_once():
    """Protects the memory side of the roofline."""
    row = replace(POINTWISE, n=3, oc=5)
    x, w, y = 3 * 4 * 100 * 100, 5 * 4, 3 * 5 * 100 * 100
    for op in OPERATIONS:
        assert Case(row, op, "float64", "channels_first", 1).traffic_bytes == 8 * (x + w + y)


def test_request_survives_the_pipe():
    """Protects the protocol: the worker must see the very case that was asked for."""
    case = Case(SMALL["transposed2d"], "dw", "float64", "channels_last", 2)
    request = json.loads(worker.to_request(case, "time", seconds=0.5))
    assert (request["action"], request["seconds"]) == ("time", 0.5)
    assert worker.to_case(request["case"]) == case


def test_best_seconds_is_of_one_call():
    """Protects against dividing by the wrong number of calls: a call cannot take no time at all."""
    calls = []
    seconds = worker.best_seconds(lambda: calls.append(None), 0.0)
    assert 0 < seconds <= 1.0
    assert len(calls) >= 1


@pytest.mark.parametrize(
    ("change", "differs"), [(0.0, False), (1e-7, False), (1e-2, True), (np.nan, True)]
)
def test_difference_sees_wrong_results_only(change, differs):
    """Protects the benchmark from fast wrong answers, NaN among them."""
    case = Case(DENSE, "forward", "float32", "channels_first", 1)
    result = np.ones((2, 3), np.float32)
    other = result.copy()
    other[1, 2] += change
    assert (runner.difference(result, other, case) is not None) == differs
    assert (runner.difference(other, result, case) is not None) == differs


def test_difference_sees_shape_and_dtype():
    """Protects the comparison from broadcasting and from silent promotion."""
    case = Case(DENSE, "forward", "float32", "channels_first", 1)
    result = np.ones((2, 3), np.float32)
    assert runner.difference(result, result[:1], case)
    assert runner.difference(result, result.astype(np.float64), case)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_come_back(name, layout):
    """Protects the comparison: an array put into a layout and taken out of it is the same one."""
    row = SMALL[name]
    arrays = libraries.random_arrays(row, "float32")
    for op, key in {"forward": "dy", "dx": "x", "dw": "w"}.items():
        case = Case(row, op, "float32", layout, 1)
        adapter = libraries.Convlab()
        np.testing.assert_array_equal(
            adapter.canonical(adapter.load(arrays, case)[key], case), arrays[key]
        )


def test_scipy_stands_beside_images_only():
    """Protects the ratios to SciPy, which has planes and one thread, and no dw in ndimage."""
    case = Case(SMALL["plane"], "forward", "float32", "channels_first", 1)
    for library in (libraries.ScipyNdimage, libraries.ScipySignal):
        assert library.supports(case)
        assert not library.supports(replace(case, threads=2))
        assert not library.supports(replace(case, row=SMALL["conv2d"]))
    assert not libraries.ScipyNdimage.supports(replace(case, op="dw"))


def test_ratio_is_their_time_over_ours():
    """Protects the one number that matters, and that it is absent where results differ."""
    assert report.ratio(measured(convlab=2e-3, torch=5e-3)) == 2.5
    assert report.ratio(measured(convlab=2e-3, scipy_signal=1e-3), "scipy.signal") == 0.5
    assert report.ratio(measured(convlab=2e-3)) is None
    for name in ("convlab", "torch"):
        assert report.ratio(measured(convlab=1.0, torch=1.0, errors={name: "differs"})) is None


def test_best_turn_counts():
    """Protects the rule that a disturbed turn makes a case unsteady, never faster or slower."""
    measurement = measured(convlab=1.0, torch=2.0)
    measurement.turns["convlab"] = [3.0, 1.0, 1.04]
    assert measurement.seconds == {"convlab": 1.0, "torch": 2.0}
    assert measurement.steady
    measurement.turns["torch"] = [2.0, 2.2]
    assert not measurement.steady


def test_roofline_is_the_nearer_limit():
    """Protects the share of the roofline on both of its sides, for each thread count and dtype."""
    for dtype, threads in itertools.product(("float32", "float64"), (1, 2)):
        dense = Case(DENSE, "forward", dtype, "channels_first", threads)
        seconds = DENSE.flops / MACHINE.peak_flops[dtype][threads]
        assert report.roofline_seconds(dense, MACHINE) == seconds
        assert not report.memory_bound(dense, MACHINE)
        moving = Case(POINTWISE, "forward", dtype, "channels_first", threads)
        seconds = moving.traffic_bytes / MACHINE.bandwidth[threads]
        assert report.roofline_seconds(moving, MACHINE) == seconds
        assert report.memory_bound(moving, MACHINE)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.34, "12.3 s"), (2e-3, "2.00 ms"), (555e-6, "555 us"), (0.25e-6, "0.250 us"), (None, "-")],
)
def test_duration_has_three_digits(seconds, text):
    """Protects the table's times: a wrong unit would be a factor of a thousand."""
    assert report.duration(seconds) == text


def test_geometric_mean_cancels_reciprocals():
    """Protects the mean of ratios."""
    assert report.geometric_mean([4.0, 0.25]) == pytest.approx(1.0)
    assert report.geometric_mean([2.0, 8.0]) == pytest.approx(4.0)


def test_goal_of_every_case_names_the_slow_ones():
    """Protects the honesty of the summary: a case below 1.0 is listed and the goal is not met."""
    at_peak = DENSE.flops / MACHINE.peak_flops["float32"][1]
    measurements = [
        measured(convlab=1.0, torch=3.0),
        measured(op="dx", convlab=1.0, torch=0.9),
        measured(op="dw", convlab=at_peak / 0.98, torch=at_peak),
    ]
    found = goal(measurements, "float32: every case")
    assert not found.met
    assert found.short == ("dense_row dx float32 channels_first 1 thread: 0.90x",)
    assert "least 0.90x; 2 of 3" in found.reached
    text = report.slower_text(measurements)
    assert "2 of 3" in text
    assert text.index("0.90x") < text.index("0.98x")
    mean = goal(measurements, "float32: geometric mean against")
    assert mean.reached == f"{(3 * 0.9 * 0.98) ** (1 / 3):.2f}x"
    assert goal([measured(dtype="float64", convlab=1.0, torch=1.05)], "float64: every").met is False


def test_goals_of_peak_and_bandwidth():
    """Protects which rows count as dense or as bound by memory, and their shares."""
    at_peak = DENSE.flops / MACHINE.peak_flops["float32"][1]
    moving = Case(POINTWISE, "forward", "float32", "channels_first", 1)
    at_bandwidth = moving.traffic_bytes / MACHINE.bandwidth[1]
    measurements = [
        measured(convlab=at_peak / 0.9),
        measured(op="dx", convlab=at_peak / 0.6),
        measured(row=POINTWISE, convlab=at_bandwidth / 0.8),
    ]
    each = goal(measurements, "float32: dense rows, 32 or more channels, of FMA peak, each")
    assert not each.met
    assert each.reached == "least 60%; 1 of 2"
    mean = goal(measurements, "float32: dense rows, 32 or more channels, of FMA peak, mean")
    assert mean.reached == "75%"
    bandwidth = goal(measurements, "float32: depthwise and 1x1")
    assert bandwidth.met
    assert bandwidth.reached == "least 80%; 1 of 1"


def test_goal_of_two_threads():
    """Protects the pairing of a case with itself on one thread, and the limit of 1 ms."""
    measurements = [
        measured(convlab=2e-3),
        measured(convlab=1e-3, threads=2),
        measured(row=TINY, convlab=1e-6),
        measured(row=TINY, convlab=1e-6, threads=2),
    ]
    found = goal(measurements, "two threads")
    assert found.met
    assert found.reached == "least 2.00x; 1 of 1"


def test_goals_of_images_tiny_problems_and_memory():
    """Protects the goals that concern a few rows only."""
    mib = 2**20
    allowed = 4 * mib + 4 * 64 * 64 * 9
    measurements = [
        measured(row=IMAGE, convlab=1.0, scipy_ndimage=9.0),
        measured(row=TINY, convlab=1.0, torch=6.0),
        measured(extra={"convlab": allowed}, convlab=1.0),
        measured(op="dx", extra={"convlab": allowed + 1}, convlab=1.0),
    ]
    assert not goal(measurements, "images against").met
    assert goal(measurements, "tiny problems").met
    found = goal(measurements, "extra memory")
    assert not found.met
    assert len(found.short) == 1
    assert found.short[0].startswith("dense_row dx")


def test_table_has_a_cell_for_everything():
    """Protects the table: a row that failed is still a row, and errors are told."""
    failed = measured(errors={"convlab": "ValueError: no"})
    line = report.text_row(failed, MACHINE)
    assert "dense_row" in line
    assert "x " not in line.split("channels_first")[1]
    assert "ValueError: no" in report.errors_text([failed])
    assert report.errors_text([measured(convlab=1.0)]) == ""
    markdown = report.as_markdown([failed, measured(convlab=1.0, torch=2.0)], MACHINE, "", None)
    cells = ["dense_row", "forward", "float32", "channels_first", "1", "1.00 s", "2.00 s", "2.00x"]
    assert f"| {' | '.join(cells)} |" in markdown


def test_against_an_earlier_run(tmp_path):
    """Protects the comparison of two runs: paired by case, faster is above 1."""
    path = tmp_path / "earlier.json"
    before = [measured(convlab=3.0, torch=2.0), measured(row=TINY, convlab=1.0)]
    path.write_text(report.as_json(before, MACHINE, ""), encoding="utf-8")
    now = [measured(convlab=1.5, torch=2.0), measured(row=IMAGE, convlab=1.0)]
    text = report.against_markdown(now, path)
    assert "1 common cases: geometric mean 2.00x (PyTorch, which has not changed: 1.00x)" in text
    assert "| dense_row | forward | float32 | channels_first | 1 | 2.00x | 1.00x |" in text


def test_machine_figures_are_positive(monkeypatch):
    """Protects both ways to measure the machine, with and without a C compiler."""
    monkeypatch.setattr(machine, "TRIES", 1)
    monkeypatch.setattr(machine, "PEAK_SECONDS", 1e-3)
    monkeypatch.setattr(machine, "TRIAD_ELEMENTS", 2**12)
    compiled = machine.measure((1, 2), None)
    monkeypatch.setenv("CC", "no-such-compiler")
    estimated = machine.measure((1,), None)
    assert "no C compiler" in estimated.method
    for figures in (compiled, estimated):
        assert min(figures.bandwidth.values()) > 0
        assert min(v for peaks in figures.peak_flops.values() for v in peaks.values()) > 0


def test_best_of_two_measurements():
    """Protects the machine's figures from a busy moment."""
    lower = machine.Machine("made up", {"float32": {1: 90e9}, "float64": {1: 60e9}}, {1: 1e9}, "")
    best = machine.best_of(lower, MACHINE)
    assert best.peak_flops == {"float32": {1: 100e9}, "float64": {1: 60e9}}
    assert best.bandwidth == {1: 20e9}


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_peak_memory_is_above_inputs_and_result():
    """Protects the figure of extra memory: 32 MiB for a while count, the 8 MiB result does not."""
    mib = 2**20

    def call():
        scratch = np.ones(32 * mib, np.uint8)
        return np.full(8 * mib, scratch[-1])

    extra = memory.in_a_fork(lambda: memory.peak_above(call, 8 * mib))
    assert extra == pytest.approx(32 * mib, abs=mib)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_peak_memory_is_what_is_touched():
    """Protects extra memory from huge pages: of 32 MiB a byte is used, and 2 MiB would count."""
    mib = 2**20

    def call():
        scratch = np.empty(32 * mib, np.uint8)  # NumPy asks for huge pages
        scratch[16 * mib] = 1
        return scratch[16 * mib : 16 * mib + 1].copy()

    assert memory.in_a_fork(lambda: memory.peak_above(call, 1)) < mib


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_failure_in_the_fork_is_told():
    """Protects the reason of a failed measurement."""
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        memory.in_a_fork(lambda: 1 // 0)


@needs_everything
def test_libraries_agree_on_every_kind_of_row():
    """Protects the adapters: each library is asked for the same operation, in each layout."""
    small = [
        Case(row, op, dtype, layout, 1)
        for (row, dtype), op, layout in itertools.product(
            zip(SMALL.values(), itertools.cycle(("float32", "float64"))), OPERATIONS, LAYOUTS
        )
    ]
    plan = Plan(rounds=1, most_rounds=1, turn_seconds=0.0, patience_seconds=0.0)
    with runner.Runner(plan) as running:
        for measurement in running.measure(small):
            case = measurement.case
            assert not measurement.errors, report.label(case)
            asked = {name for name, lib in libraries.LIBRARIES.items() if lib.supports(case)}
            assert set(measurement.seconds) == asked


def test_all_of_pytorch_is_held_to_an_instruction_set():
    """MKL multiplies its 1x1 layers: held to AVX2, none may run above AVX2's peak."""
    held = libraries.environment("avx2", 1)
    assert held["CONVLAB_ISA"] == held["ATEN_CPU_CAPABILITY"] == "avx2"
    assert held["ONEDNN_MAX_CPU_ISA"] == held["MKL_ENABLE_INSTRUCTIONS"] == "AVX2"
    assert "CONVLAB_ISA" not in libraries.environment(None, 1).keys() - os.environ.keys()


def test_worker_that_cannot_start_is_told():
    """Protects the user from a run in which every case fails for one and the same reason."""
    with pytest.raises(runner.StartError, match="no such library"):
        runner.WorkerProcess("no such library", libraries.environment(None, 1))


@needs_everything
def test_a_run_writes_its_files(tmp_path, monkeypatch, capsys):
    """Protects the command: options, tables, JSON and pictures of one tiny row."""
    from benchmarks.__main__ import main

    monkeypatch.setattr(machine, "measure", lambda threads, isa: MACHINE)
    row = parse_row("tiny_2d tiny conv 1 1 1 1 8x8 3x3 1 1 1 0")
    earlier = tmp_path / "earlier.json"
    earlier.write_text(report.as_json([measured(row, convlab=1.0)], MACHINE, ""), encoding="utf-8")
    options = ["--rows", "^tiny_2d$", "--ops", "forward", "dx", "--dtype", "float32"]
    options += ["--layout", "channels_first", "--threads", "1", "--rounds", "1"]
    options += ["--against", str(earlier), "--output", str(tmp_path)]
    assert main(options) == 0
    results = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))["results"]
    assert [result["op"] for result in results] == ["forward", "dx"]
    assert all(set(result["seconds"]) == {"convlab", "torch"} for result in results)
    markdown = (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert "Against earlier.json, in 1 common cases" in markdown
    assert (tmp_path / "bench-1-thread.png").stat().st_size > 1000
    assert "geometric mean against PyTorch" in capsys.readouterr().out


@needs_everything
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--rows", "no such row"], "no row of the suite matches"),
        (["--threads", "0"], "not at least 1"),
        (["--against", "no-such-file.json"], "there is no no-such-file.json"),
    ],
)
def test_wrong_options_are_told(options, complaint, capsys):
    """Protects the user from a run of half an hour that ends in a traceback."""
    from benchmarks.__main__ import main

    with pytest.raises(SystemExit):
        main(options)
    assert complaint in capsys.readouterr().err


def test_odd_sizes_prints_its_table(monkeypatch, capsys):
    """Protects the command that compares odd sizes with their neighbours."""
    monkeypatch.setattr(odd_sizes, "CHANNELS", (3,))
    monkeypatch.setattr(odd_sizes, "SIZES", (5,))
    monkeypatch.setattr(odd_sizes, "TURN_SECONDS", 1e-4)
    options = ["odd_sizes", "--dtype", "float32", "--layout", "channels_last"]
    monkeypatch.setattr("sys.argv", options)
    odd_sizes.main()
    header, _, channels, size, _, count = capsys.readouterr().out.splitlines()
    assert header == (
        "| layer | float32 channels_last forward | float32 channels_last dx"
        " | float32 channels_last dw |"
    )
    assert channels.startswith("| 3 channels, 28x28 | ")
    assert size.startswith("| 64 channels, 5x5 | ")
    assert count.endswith(" of 6 below 0.75.")


def test_drawn_cases_are_of_every_kind_and_bounded():
    """Protects the draw: the same seed, the same layers; each with outputs, none too large."""
    cases = list(itertools.islice(drawn.draw_cases(seed=5, threads=1), 300))
    assert cases == list(itertools.islice(drawn.draw_cases(seed=5, threads=1), 300))
    assert {case.row.kind for case in cases} == {kind.name for kind in drawn.KINDS}
    for case in cases:
        assert drawn.FLOPS[0] <= case.row.flops <= drawn.FLOPS[1]
        assert min(case.row.out_size) > 0
        assert case.row.ic % case.row.groups == case.row.oc % case.row.groups == 0


def test_drawn_layers_print_the_lowest(monkeypatch, capsys):
    """Protects the command that measures drawn layers."""
    monkeypatch.setattr(drawn, "FLOPS", (2e3, 2e5))
    monkeypatch.setattr(
        drawn, "PLAN", Plan(rounds=1, most_rounds=1, turn_seconds=1e-4, patience_seconds=1)
    )
    monkeypatch.setattr("sys.argv", ["drawn", "--seed", "3", "--seconds", "0"])
    drawn.main()
    lowest, _, summary = capsys.readouterr().out.splitlines()
    assert re.match(r" *[0-9.]+x +[0-9.]+ ms  (forward|dx|dw) float(32|64) channels_", lowest)
    assert summary.startswith("1 cases, seed 3: ")
