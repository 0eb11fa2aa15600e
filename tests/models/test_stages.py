"""What a start spends its time on: by stages, in the log and in the metrics."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from handler.doors.metrics import Metrics
from models import fake
from models.device import hardware
from models.device.trial import is_broken
from models.row import Row
from models.stages import NAMES, line, recording, spent, stage
from models.warm.loader import Loader
from models.warm.pool import Pool
from tests.conftest import CPU, row

ROW = replace(next(one for one in fake.rows() if one.surface == "embeddings"), memory_bytes=1)


def test_what_an_inner_stage_spends_is_its_own():
    with recording() as stages:
        with stage("load"):
            time.sleep(0.02)
            with stage("warm"):
                time.sleep(0.05)
            spent("compile", 0.01)
        with stage("load"):
            time.sleep(0.02)
    assert set(stages.seconds) == set(NAMES)
    assert 0.05 <= stages.seconds["warm"] < 0.09
    assert 0.02 <= stages.seconds["load"] < 0.07
    assert stages.seconds["compile"] == 0.01


def test_where_nobody_records_a_stage_is_nothing():
    with stage("load"):
        spent("read", 1.0)


def test_a_line_names_every_stage():
    said = line({"load": 3.14, "warm": 0.66})
    assert said == "download 0.0 s, read 0.0 s, load 3.1 s, compile 0.0 s, warm 0.7 s"


@pytest.mark.anyio
async def test_the_log_and_the_metrics_say_what_a_load_has_spent(caplog):
    def load(row: Row) -> Any:
        with stage("download"):
            time.sleep(0.15)
        with stage("load"):
            spent("compile", 2.5)
        return fake.FakeEmbeddings(row)

    pool = Pool(load, 10, 8)
    with caplog.at_level("INFO"):
        async with pool.lease(ROW):
            pass
    [said] = [one for one in map(str, caplog.messages) if " warm after " in one]
    assert "(download 0.2 s, read 0.0 s, load " in said or "(download 0.1 s, " in said
    assert "compile 2.5 s, warm 0.0 s)" in said
    exposed = Metrics(pool).expose().decode()
    assert f'quartet_model_start_seconds{{model="{ROW.slug}",stage="compile"}} 2.5' in exposed


@pytest.mark.anyio
async def test_a_worker_says_it_once_more_with_the_rehearsal(make_worker, caplog):
    worker = make_worker(SURFACE="embeddings")
    with caplog.at_level("INFO"):
        await worker.warm()
    [said] = [one for one in caplog.messages if ": its start took download " in one]
    [model] = worker.dispatcher.pool.models()
    assert said.endswith(line(model.start.seconds))
    assert model.start.seconds["warm"] > 0


def test_an_engines_load_is_divided(store):
    """Of embeddings a part is the measured size of runs; reading ahead is told beside it."""
    loader = Loader(store, CPU)
    model = row("Tiny_BGE_M3")
    loader.prefetch(model)
    with recording() as stages:
        engine = loader(model)
    engine.close()
    assert stages.seconds["load"] > 0
    assert stages.seconds["warm"] > 0
    assert stages.seconds["download"] < 0.5


# A device that cannot say why -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "broken"),
    [("import sys; sys.exit(0)", False), ("import sys; sys.exit(3)", True),
     ("import sys; sys.exit(1)", False), ("import time; time.sleep(60)", True)],
)  # fmt: skip
def test_a_trial_says_whether_the_gpu_is_broken(program, broken):
    import sys

    assert is_broken((sys.executable, "-c", program), timeout_s=5) == broken


def test_without_a_gpu_the_trial_itself_finds_it_lost():
    """As on a host whose GPU is gone; where torch has no CUDA at all, there is nothing to lose."""
    import torch

    if hardware.detect().kind == "cuda":
        pytest.skip("there is one")
    assert is_broken() == (torch.version.cuda is not None)
