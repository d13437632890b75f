"""The pool of processes: who gets which answer, and what happens to those that die."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from operator import methodcaller
from pathlib import Path

import pytest
from odd import Odd, refused

from sfvgen_plan.errors import UserError
from sfvgen_plan.pool import LocalPool, Lost, ProcessPool, open_pool

COUNT = methodcaller("count")


@pytest.fixture(scope="module")
def shared():
    """Two slots in two processes, which no test kills."""
    pool = open_pool(Odd, 2, 3)
    yield pool
    pool.close()


def answers(pool, slot, *methods):
    for method in methods:
        pool.submit(slot, methodcaller(method))
    found = []
    while len(found) < len(methods):
        found += [answer for _, answer in pool.wait()]
    return found


def test_every_slot_has_an_object_and_a_process_of_its_own(shared):
    assert answers(shared, 0, "count", "count") == [1, 2]
    assert answers(shared, 1, "count") == [1]
    assert len({os.getpid(), *answers(shared, 0, "process"), *answers(shared, 1, "process")}) == 3
    assert shared.wait(block=False) == []
    local = open_pool(Odd, 1)
    assert answers(local, 0, "count", "count", "process") == [1, 2, os.getpid()]
    assert local.wait(block=False) == []
    # Threads are set before anything reads them, torch stays out, and signals of a terminal are left to the parent.
    assert answers(shared, 0, "threads", "interrupt") == [({"3"}, False), None]
    assert answers(shared, 0, "process")[0] > 0


@pytest.mark.parametrize("processes", [1, 2])
def test_bad_input_is_an_error_of_its_own_and_all_else_comes_with_its_traceback(shared, processes):
    pool = shared if processes == 2 else LocalPool(Odd)
    bad, failed, count = answers(pool, 0, "refuse", "fail", "count")
    assert isinstance(bad, UserError) and str(bad) == "odd=1 is not even; give 2"
    assert isinstance(failed, RuntimeError) and re.search(r"odd\.py.*\n.*\n.*ZeroDivisionError", str(failed))
    assert count > 0
    (unmade,) = answers(LocalPool(refused), 0, "count")
    assert isinstance(unmade, UserError) and "odd=3" in str(unmade)


@pytest.mark.parametrize(("method", "code"), [("end", -9), ("tear", 3)])
def test_a_process_that_dies_is_replaced(method, code):
    before = set(multiprocessing.active_children())
    pool = ProcessPool(Odd, 2)
    assert [*answers(pool, 0, "count"), *answers(pool, 1, "count")] == [1, 1]
    pool.submit(0, methodcaller(method))
    pool.submit(0, COUNT)
    assert pool.wait() == [(0, Lost(f"its process ended with exit code {code}"))] * 2
    assert [*answers(pool, 0, "count"), *answers(pool, 1, "count")] == [1, 2]  # what it held is gone
    pool.close()
    pool.close()
    assert set(multiprocessing.active_children()) <= before


def test_objects_are_closed():
    made = Odd()
    pool = LocalPool(lambda: made)
    answers(pool, 0, "count")
    pool.close()
    assert made.calls == -1


def test_no_process_outlives_a_parent_that_was_killed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "from operator import methodcaller\n"
        "from odd import Odd\n"
        "from sfvgen_plan.pool import ProcessPool\n"
        "if __name__ == '__main__':\n"
        "    pool = ProcessPool(Odd, 2)\n"
        "    for slot in range(2):\n"
        "        pool.submit(slot, methodcaller('process'))\n"
        "    found = [*pool.wait()]\n"
        "    found += pool.wait() if len(found) < 2 else []\n"
        "    print(*(answer for _, answer in found), flush=True)\n"
        "    input()\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    parent = subprocess.Popen([sys.executable, str(program)], env={**os.environ, "PYTHONPATH": path}, **pipes)
    assert parent.stdout is not None
    children = [int(word) for word in parent.stdout.readline().split()]
    assert len(children) == 2
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{child}").exists() for child in children)
