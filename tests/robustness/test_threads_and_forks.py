"""Threads, forks, signals and another library beside: the right answer, and no endless wait.

What could hang or end a process runs in one of its own, with a time limit.
"""

import subprocess
import sys

import pytest
from robustness.limits import limited

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="fork and signals")

PROLOGUE = """
import gc, itertools, os, signal, sys, threading, time
import numpy as np
import convlab

convlab.set_num_threads(2)
generator = np.random.default_rng(1)
x = generator.standard_normal((4, 24, 20, 20), "float32")
w = generator.standard_normal((32, 24, 3, 3), "float32")
dy = generator.standard_normal((4, 32, 20, 20), "float32")

def compute():
    y = convlab.conv2d(x, w, padding=1)
    back = convlab.conv_transpose2d(dy, w, padding=1)
    return y, back, *convlab.conv2d_backward(dy, x, w, padding=1)

def same(one, other):
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))

expected = compute()
"""

PROGRAMS = {
    "16 threads, and the number of kernel threads changed meanwhile": """
stop, wrong, done = threading.Event(), [], itertools.count()

def work():
    while not stop.is_set():
        if not same(compute(), expected):
            wrong.append(1)
        next(done)

def change():
    for n in itertools.cycle((1, 2, 3, 7)):
        if stop.is_set():
            break
        convlab.set_num_threads(n)
        with convlab.num_threads(n + 1):
            pass

threads = [threading.Thread(target=work) for _ in range(16)] + [threading.Thread(target=change)]
for thread in threads:
    thread.start()
while next(done) < 200:
    time.sleep(0.01)
stop.set()
for thread in threads:
    thread.join()
assert not wrong
""",
    "a fork while another thread computes": """
stop = threading.Event()

def work():
    while not stop.is_set():
        compute()

thread = threading.Thread(target=work)
thread.start()
for i in range(10):
    time.sleep(0.003 * i)
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        os._exit(0 if same(compute(), expected) and same(compute(), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
thread.join()
assert same(compute(), expected)
""",
    "a fork before the first use, and a fork of the fork": """
def fork_and(act):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        ok = act()
        os._exit(0 if ok else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

assert fork_and(lambda: same(compute(), expected) and fork_and(lambda: same(compute(), expected)))
assert same(compute(), expected)
""",
    "workers of multiprocessing": """
import multiprocessing

context = multiprocessing.get_context("fork")
with context.Pool(2) as pool:
    assert all(pool.map(lambda_free, range(6)))
""",
    "arrays whose last name goes while they are in use": """
def drop(box, started):
    started.wait()
    box.clear()
    gc.collect()
    rubbish = [np.full_like(x, np.nan) for _ in range(8)]
    return len(rubbish)

for _ in range(20):
    box, started = [x.copy(), w.copy()], threading.Event()
    thread = threading.Thread(target=drop, args=(box, started))
    thread.start()
    started.set()
    try:
        y = convlab.conv2d(*box, padding=1)
    except TypeError:  # gone before the call
        continue
    finally:
        thread.join()
    assert same([y], expected[:1])
""",
    # resize(refcheck=False) frees the memory whoever uses it: NumPy leaves that to its caller.
    "arrays that another thread resizes": """
own_x, own_w, own_out = x.copy(), w.copy(), np.empty_like(expected[0])
stop, refused = threading.Event(), itertools.count()

def resize():
    while not stop.is_set():
        for array in (own_x, own_w, own_out):
            try:
                array.resize((1, 1))
            except ValueError:
                next(refused)

thread = threading.Thread(target=resize)
thread.start()
for _ in range(30):
    convlab.conv2d(own_x, own_w, padding=1, out=own_out)
    assert same([own_out], expected[:1])
while next(refused) < 10:
    time.sleep(0.001)
stop.set()
thread.join()
""",
    "arrays whose shape another thread changes": """
own_x = x.copy()
stop = threading.Event()

def reshape():
    for shape in itertools.cycle(((2, 24, 40, 20), (4, 24, 20, 20), (4, 24, 400, 1))):
        if stop.is_set():
            break
        own_x.shape = shape

thread = threading.Thread(target=reshape)
thread.start()
for _ in range(300):
    try:
        convlab.conv2d(own_x, w, padding=1)
        convlab.conv2d_grad_weight(dy, own_x, 3, padding=1)
    except ValueError:
        pass
stop.set()
thread.join()
assert same(compute(), expected)
""",
    "a gradient whose shape another thread changes": """
sys.setswitchinterval(1e-6)
own = dy.copy()
stop = threading.Event()

def reshape():
    for shape in itertools.cycle(((own.size,), dy.shape)):
        if stop.is_set():
            break
        own.shape = shape

thread = threading.Thread(target=reshape)
thread.start()
try:
    for _ in range(1000):
        for needs in (("input", "bias"), ("weight", "bias")):
            try:
                found = convlab.conv2d_backward(own, x, w, padding=1, needs=needs)
            except ValueError as error:
                assert "dy" in str(error) or "db" in str(error), error
            else:
                assert all(a is None or same([a], [b]) for a, b in zip(found, expected[2:]))
finally:
    stop.set()
    thread.join()
""",
    "torch and convlab by turns": """
import torch

torch.set_num_threads(2)
tx, tw = torch.tensor(x), torch.tensor(w)

def other():
    return [torch.nn.functional.conv2d(tx, tw, padding=1).numpy().copy()]

theirs = other()
assert np.allclose(theirs[0], expected[0], atol=1e-3)
for i in range(20):
    convlab.set_num_threads(1 + i % 3)
    torch.set_num_threads(1 + i % 2)
    assert same(compute(), expected)
    assert np.allclose(other()[0], theirs[0], atol=1e-3)
both = [threading.Thread(target=lambda: [compute() for _ in range(10)]) for _ in range(2)]
both += [threading.Thread(target=lambda: [other() for _ in range(10)]) for _ in range(2)]
for thread in both:
    thread.start()
for thread in both:
    thread.join()
assert same(compute(), expected)
""",
    "KeyboardInterrupt": """
# A shell has its background jobs ignore the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)
interrupts = 0
for i in range(10):
    timer = threading.Timer(0.005 * i, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        timer.start()
        while True:
            compute()
    except KeyboardInterrupt:
        interrupts += 1
    timer.join()
    assert convlab.get_num_threads() == 2
    assert same(compute(), expected)
assert interrupts == 10
try:
    with convlab.num_threads(3):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
except KeyboardInterrupt:
    pass
assert convlab.get_num_threads() == 2
""",
    "a signal every millisecond": """
handled = itertools.count()
signal.signal(signal.SIGALRM, lambda *_: next(handled))
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
end = time.monotonic() + 2
while time.monotonic() < end:
    assert same(compute(), expected)
signal.setitimer(signal.ITIMER_REAL, 0)
assert next(handled) > 10
""",
    "a handler that computes": """
wrong = []
signal.signal(signal.SIGALRM, lambda *_: same(compute(), expected) or wrong.append(1))
for _ in range(20):
    signal.setitimer(signal.ITIMER_REAL, 0.002)
    assert same(compute(), expected)
signal.setitimer(signal.ITIMER_REAL, 0)
assert not wrong
""",
    "more kernel threads than the system gives": limited(
        """
many = np.ones((2000, 16, 16, 16), "float32")
kernel = np.ones((64, 16, 3, 3), "float32")
alone = convlab.conv2d(many, kernel)
for n in (1000, 100_000, 2**31 - 1):
    convlab.set_num_threads(n)
    assert convlab.conv2d(many, kernel).tobytes() == alone.tobytes()
""",
        3,
    ),
    "threads that the system does not give": """
import resource

many = np.ones((64, 24, 40, 40), "float32")
convlab.set_num_threads(1)
alone = convlab.conv2d(many, w)
with open("/proc/self/statm") as file:
    mapped = int(file.read().split()[0]) * resource.getpagesize()
limit = mapped + alone.nbytes + (20 << 20)  # room for the stacks of a thread or two
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
convlab.set_num_threads(16)
y = convlab.conv2d(many, w)
assert len(os.listdir("/proc/self/task")) < 16, "the system gave them"
resource.setrlimit(resource.RLIMIT_AS, before)
assert same([y], [alone])
""",
    "memory for fewer threads than are asked for": """
import resource

many = np.ones((16, 64, 96, 96), "float32")
kernel = generator.standard_normal((64, 64, 3, 3), "float32")
convlab.set_num_threads(1)
alone = convlab.conv2d(many, kernel, padding=1)
convlab.set_num_threads(16)
assert same([convlab.conv2d(many, kernel, padding=1)], [alone])  # all threads have begun
y = np.empty_like(alone)
with open("/proc/self/statm") as file:
    mapped = int(file.read().split()[0]) * resource.getpagesize()
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (mapped + (12 << 20), before[1]))  # of 16 times 1 to 2 MiB
convlab.conv2d(many, kernel, padding=1, out=y)
resource.setrlimit(resource.RLIMIT_AS, before)
assert same([y], [alone])
""",
    "a call that the interpreter's end interrupts": """
def work():
    while True:
        compute()

for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
""",
}
PROGRAMS["workers of multiprocessing"] = (
    "def lambda_free(_):\n    return same(compute(), expected)\n"
    + PROGRAMS["workers of multiprocessing"]
)


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_in_a_process_of_its_own(program, clean_environment):
    """The program ends by itself, in order, and every result in it has the bits it has alone."""
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + program],
        capture_output=True,
        text=True,
        timeout=180,
        env=clean_environment,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stderr}"
