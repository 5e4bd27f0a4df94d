"""A pool process does not outlive its worker, also where the worker is killed while the process starts."""

import subprocess
import sys

#: The worker forks as a pool does; what it does then, and what the child waits for, is the test's.
FORKED = """
import os, time
from dbstorage.application import end_orphan
worker = os.getpid()
if os.fork():
    {worker_does}
    os._exit(0)
while {child_waits_while}:
    time.sleep(0.01)
end_orphan(worker)
print("goes on")
"""
OWN_POOL = "import os; from dbstorage.application import end_orphan; end_orphan(os.getpid()); print('goes on')"


def output(program: str) -> str:
    """What the program and its child say, when both have ended."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60).stdout


def test_a_pool_process_ends_when_its_worker_is_gone():
    assert output(FORKED.format(worker_does="pass", child_waits_while="os.getppid() == worker")) == ""


def test_a_pool_process_goes_on_while_its_worker_lives():
    assert output(FORKED.format(worker_does="os.wait()", child_waits_while="False")) == "goes on\n"


def test_a_worker_that_is_its_own_pool_goes_on():
    assert output(OWN_POOL) == "goes on\n"
