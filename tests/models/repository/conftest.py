"""Folders of models, laid out as their repositories are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support import repositories as made


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each kind, whole."""
    root = tmp_path_factory.mktemp("models")
    for name, build in (("chat", made.chat), ("encoder", made.encoder), ("ranker", made.reranker)):
        (root / name).mkdir()
        build(root / name)
    return root


@pytest.fixture
def folder(models, tmp_path, request) -> Path:
    return Path(shutil.copytree(models / request.param, tmp_path / "model"))
