"""Threads change the time a call takes and nothing else.

Most shapes are so small that the core keeps to one thread. ``make threads`` runs this file on a
build that gives every shape to as many threads as are set.
"""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cases import CASES, Case
from oracle import LAYOUTS, OPERATIONS, Problem, problems, same_bits

import convlab
from convlab import _core

COUNTS = (1, 2, 3, 7)
LARGE = [case for case in CASES if case.name == "large"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bits_do_not_depend_on_the_number_of_threads(case, restore_threads):
    """Every operation, layout and shape: how a sum is split depends on the shape alone."""
    for problem in problems(case):
        for operation in (*OPERATIONS, "backward"):
            results = []
            for count in COUNTS:
                convlab.set_num_threads(count)
                if operation == "backward":
                    results.append(np.concatenate([g.ravel() for g in problem.backward()]))
                else:
                    results.append(problem.compute(operation))
            assert all(same_bits(results[0], other) for other in results[1:]), operation


def _threads_started_by(work) -> int:
    """Count the threads that a caller without any gets: libgomp keeps a pool for each caller."""
    started = []

    def call():
        before = set(os.listdir("/proc/self/task"))
        work()
        started.append(len(set(os.listdir("/proc/self/task")) - before))

    caller = threading.Thread(target=call)
    caller.start()
    caller.join()
    return started[0]


@pytest.mark.skipif(not _core.config()["openmp"], reason="built without OpenMP: one thread")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_large_cases_are_given_to_several_threads(operation, restore_threads):
    """Else the tests of bits above would compare one thread with itself.

    Not all: a weight gradient of one small image is one task, whoever could help.
    """
    convlab.set_num_threads(7)
    all_problems = [problem for case in LARGE for problem in problems(case)]
    shared = [p for p in all_problems if _threads_started_by(lambda p=p: p.compute(operation)) > 0]
    assert len(shared) > 0.75 * len(all_problems)


@pytest.mark.parametrize("window", [{}, {"stride": 2, "padding": 1, "dilation": 2}], ids=str)
def test_bits_of_unfold_and_fold(window, dtype, restore_threads):
    """The sums that fold makes are in one order too."""
    x = np.random.default_rng(3).standard_normal((4, 16, 40, 41)).astype(dtype)
    results = []
    for count in COUNTS:
        convlab.set_num_threads(count)
        columns = convlab.unfold(x, 5, **window)
        results.append((columns, convlab.fold(columns, (40, 41), 5, **window)))
    for columns, folded in results[1:]:
        assert same_bits(columns, results[0][0])
        assert same_bits(folded, results[0][1])


@pytest.mark.parametrize("count", [1, 2])
def test_concurrent_calls_are_separate(count, restore_threads):
    """Calls from many Python threads at once each give the result they give alone."""
    convlab.set_num_threads(count)
    jobs = [
        (Problem(case, "float32", layout), operation)
        for case in LARGE + CASES[::40]
        for layout in LAYOUTS
        for operation in OPERATIONS
    ]
    alone = [problem.compute(operation) for problem, operation in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = pool.map(lambda job: job[0].compute(job[1]), jobs * 2)
        for expected, actual in zip(alone * 2, together, strict=True):
            assert same_bits(expected, actual)


# Results of one task that alternate with another's: two positions of a channel, each of a depth of
# its own; the two taps of a kernel's row.
ALTERNATING = [
    (Case("between", 136, 180, (8, 4, 3), (6, 8, 3), n=4, stride=2, padding=(0, 2, 0)), "forward"),
    (Case("between", 256, 284, (277,), (2,), n=3, groups=4, stride=3, padding=1), "grad_weight"),
]


@pytest.mark.parametrize(("case", "operation"), ALTERNATING, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tasks_leave_what_lies_between_their_results(case, operation, dtype, restore_threads):
    """No task writes back elements of another's, even as they were: many calls, since it is rare.

    On one thread, where there is no second task, results cannot be lost.
    """
    problem = Problem(case, dtype, "channels_first")
    convlab.set_num_threads(1)
    alone = problem.compute(operation)
    convlab.set_num_threads(8)
    assert all(same_bits(alone, problem.compute(operation)) for _ in range(50))


def test_num_threads_may_change_while_others_compute(restore_threads):
    """set_num_threads takes effect for later calls and disturbs none that runs."""
    problem = Problem(LARGE[0], "float32")
    expected = problem.compute("grad_weight")
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(problem.compute, "grad_weight") for _ in range(40)]
        for i in range(200):
            convlab.set_num_threads(1 + i % 5)
        assert all(same_bits(expected, job.result()) for job in running)


FORK = """
import os, signal, sys
import numpy as np
import convlab

convlab.set_num_threads(2)
generator = np.random.default_rng(1)
x = generator.standard_normal((8, 32, 24, 24), "float32")
w = generator.standard_normal((32, 32, 3, 3), "float32")

def compute():
    y = convlab.conv2d(x, w, padding=1)
    return y, *convlab.conv2d_backward(y, x, w, padding=1)

before = compute()
child = os.fork()
if child == 0:
    signal.alarm(60)  # a child that waits for threads it has not got is killed, and fails
    after = compute()
    os._exit(0 if all(np.array_equal(a, b) for a, b in zip(before, after)) else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
after = compute()
assert all(np.array_equal(a, b) for a, b in zip(before, after)), "the parent's results changed"
sys.exit(status)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="fork")
def test_a_forked_child_computes_on(clean_environment):
    """After threads were used, a forked child neither hangs nor computes anything else."""
    done = subprocess.run(
        [sys.executable, "-c", FORK],
        capture_output=True,
        text=True,
        timeout=120,
        env=clean_environment,
    )
    assert done.returncode == 0, done.stderr


def test_num_threads_context_restores(restore_threads):
    """The context manager sets the number inside and puts the old one back, error or none."""
    convlab.set_num_threads(3)
    with convlab.num_threads(2):
        assert convlab.get_num_threads() == 2
    assert convlab.get_num_threads() == 3
    with pytest.raises(RuntimeError), convlab.num_threads(5):
        raise RuntimeError
    assert convlab.get_num_threads() == 3


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CONVLAB_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
    ],
    ids=str,
)
def test_environment_sets_the_default(environment, expected, clean_environment):
    """CONVLAB_NUM_THREADS goes before OMP_NUM_THREADS."""
    done = subprocess.run(
        [sys.executable, "-c", "import convlab; print(convlab.get_num_threads())"],
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environment | environment,
    )
    assert done.stdout.strip() == str(expected), done.stderr
