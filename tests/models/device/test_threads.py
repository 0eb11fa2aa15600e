"""The cores that a worker has, and the threads that it takes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from models.device.threads import share_cores, usable_cores
from tests.conftest import ROOT


def test_threads_are_no_more_than_cores_and_what_the_operator_says_stays():
    env: dict[str, str] = {}
    share_cores(env, cores=0)
    assert env == {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "0"}
    env = {"OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": "7"}
    share_cores(env, cores=0)
    assert env == {"OMP_WAIT_POLICY": "ACTIVE", "OMP_NUM_THREADS": "7"}
    env = {}
    share_cores(env, cores=os.cpu_count())
    assert "OMP_NUM_THREADS" not in env  # the library's own choice leaves hyperthreads out


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, None),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu.max": "nonsense"}, None),
    ],
)
def test_a_control_group_has_its_share_of_the_cores(tmp_path, files, cores):
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    assert usable_cores(tmp_path) == (cores or len(os.sched_getaffinity(0)))


def test_a_worker_shares_its_cores():
    code = (
        "import os, sys; sys.argv = ['x', '--test_input', '{\"input\": {\"input\": \"a\"}}'];"
        "from handler.__main__ import main; main();"
        "print(os.environ['OMP_WAIT_POLICY'], file=sys.stderr)"
    )
    env = {**os.environ, "FAKE_ENGINES": "1", "DEVICE": "cpu"}
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "PASSIVE"
