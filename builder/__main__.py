"""``python -m builder``: fetch weights, build tiny models, inspect a checkpoint.

python -m builder fetch --surface embeddings --model BGE_Large --to /models
python -m builder fetch --surface transcribe --model openai/whisper-large-v3 --revision … --to /v
python -m builder fetch --surface chat --model my-org/my-llama --to /models
python -m builder describe my-org/my-llama
python -m builder tiny
python -m builder defaults
python -m builder check
python -m builder warm
python -m builder inspect ltx-2.3-22b-distilled_qint8.safetensors
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.bucket import object_store
from models import tiny
from models.catalog import CATALOG
from models.device import hardware
from models.environ import tidied
from models.errors import QuartetError, WeightsUnavailable
from models.operator import chat_engine
from models.row import Catalog, Row
from models.weights.places import Places
from models.weights.sources import shown
from models.weights.store import WeightsStore

if TYPE_CHECKING:
    from models.repository.describe import Description

log = logging.getLogger("builder")
_SOME_MISSING = 3
_ENV = tidied(os.environ)
_CACHE = Path(_ENV.get("QUARTET_CACHE", "~/.cache/quartet")).expanduser()


def main() -> int:
    """Run a command; return the exit status."""
    if sys.argv[1:2] in (["check"], ["warm"]):
        # The worker's own check of its configuration, or its start.
        flag = f"--{sys.argv[1]}"
        os.execv(sys.executable, [sys.executable, "-m", "handler", flag, *sys.argv[2:]])  # noqa: S606
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    arguments = _arguments()
    try:
        if arguments.command == "inspect":
            # Imported here: an image fetches weights before it has the engines' modules.
            from builder.inspect import inspected

            print("\n".join(inspected(arguments.file)))
            return 0
        if arguments.command == "describe":
            return _describe(arguments)
        store = WeightsStore(_places(arguments.to))
        if arguments.command == "defaults":
            return _fetch_defaults(store, arguments.to)
        rows = _tiny_rows(arguments.names) if arguments.command == "tiny" else [_row(arguments)]
        for row in rows:
            _fetch(store, row, arguments.to)
    except QuartetError as error:
        log.error("builder: %s", error.message)
        return 1
    except OSError as error:
        log.error("builder: %s: %s", arguments.to, error.strerror)
        return 1
    return 0


def _describe(arguments: argparse.Namespace) -> int:
    """Print the row of a model that the catalog does not have, with the source of each value."""
    found = _described(arguments.model, arguments.revision, _own_places())
    print("\n".join(found.lines()))
    return 0


def _described(model: str, revision: str | None, places: Places) -> Description:
    # Not above: a fetch of a catalog's model needs none of it.
    from models.repository import address
    from models.repository.describe import describe
    from models.repository.machine import Machine

    device = hardware.detect()
    trusts = _ENV.get("TRUST_REMOTE_CODE", "").lower() in ("1", "true", "yes", "on")
    machine = Machine(
        device.kind, device.dtype, chat_engine("auto", device.kind)[0], trusts,
        context_tokens=int(_ENV["CHAT_CONTEXT_TOKENS"]) if "CHAT_CONTEXT_TOKENS" in _ENV else None,
        base=_ENV.get("MODEL_BASE"),
    )  # fmt: skip
    return describe(address.parse(model, revision), places, machine)


def _fetch(store: WeightsStore, row: Row, into: Path) -> None:
    start = time.monotonic()
    path = store.fetch(row, into)
    log.info("%s: %s (%.1f s)", row.slug, path, time.monotonic() - start)


def _fetch_defaults(store: WeightsStore, into: Path) -> int:
    """Fetch the default models of a machine without a GPU, and build all tiny models.

    Returns:
        The exit status: 3 if a model could not be fetched, whose stand-in then serves.
    """
    missing = []
    for row in _tiny_rows([]):
        _fetch(store, row, into)
    for row in CATALOG.rows:
        if "cpu" not in row.default_on or row.weights.startswith("tiny://"):
            continue
        try:
            _fetch(store, row, into)
        except WeightsUnavailable as error:
            log.warning("%s", error.message)
            missing.append(row)
    for row in missing:
        instead = "nothing stands in for it"
        if row.stand_in is not None:
            instead = f"{row.stand_in} stands in for it, with random weights"
        log.warning("%s could not be fetched: %s.", row.slug, instead)
    return _SOME_MISSING if missing else 0


def _arguments() -> argparse.Namespace:
    surfaces = sorted({row.surface for row in CATALOG.rows})
    parser = argparse.ArgumentParser(prog="python -m builder", description="Prepare weights.")
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("fetch", help="fetch and verify a model's weights")
    fetch.add_argument("--surface", required=True, choices=[*surfaces, "all"])
    fetch.add_argument("--model", help="slug or repo id; default: the surface's default model")
    fetch.add_argument("--revision", help="revision of the repository")
    build = commands.add_parser("tiny", help="build tiny models with random weights")
    build.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(tiny.RECIPES)}")
    defaults = commands.add_parser(
        "defaults", help="fetch the small default models, and build the tiny ones"
    )
    commands.add_parser("check", help="check whether this endpoint can start; --json for JSON")
    commands.add_parser(
        "warm", help="load and warm up the endpoint's models, so that compiled code is kept"
    )
    describe = commands.add_parser(
        "describe", help="say what a repository's files say: its row, and where each value is from"
    )
    describe.add_argument(
        "model", metavar="MODEL", help="owner/name, hf://…, file:///…, s3://… or https://…"
    )
    describe.add_argument("--revision", help="a branch, a tag or a commit")
    inspect = commands.add_parser("inspect", help="say what a safetensors file holds")
    inspect.add_argument("file", type=Path, metavar="FILE")
    for command in (fetch, build, defaults):
        command.add_argument("--to", type=Path, default=_CACHE, help="folder; default: the cache")
    return parser.parse_args()


def _row(arguments: argparse.Namespace) -> Row:
    held = CATALOG if arguments.surface == "all" else CATALOG.of(arguments.surface)
    if arguments.model:
        if _is_own(held, arguments.model):
            return _own_row(arguments)
        row = held.find(arguments.model)
        if not arguments.revision:
            return row
        repo = arguments.model if "/" in arguments.model else row.repo
        try:
            return row.at(repo or "", arguments.revision)
        except ValueError as error:
            raise QuartetError(str(error)) from None
    if arguments.surface == "all":
        raise QuartetError("--surface all needs --model")
    return held.default(arguments.surface, hardware.detect().kind)


def _is_own(held: Catalog, model: str) -> bool:
    """Whether a model is a repository that the catalog does not have."""
    return "/" in model and not any(row.answers_to(model) for row in held.rows)


def _own_row(arguments: argparse.Namespace) -> Row:
    """The row of a repository at the commit that it has now.

    Raises:
        QuartetError: it serves another surface than the image, or cannot be served.
    """
    row = _described(arguments.model, arguments.revision, _places(arguments.to)).row
    if arguments.surface not in ("all", row.surface):
        raise QuartetError(f"{row.slug} serves {row.surface}, --surface says {arguments.surface}")
    log.info("%s: %s", row.slug, shown(row.weights))
    return row


def _tiny_rows(names: list[str]) -> list[Row]:
    """Return the rows of tiny models: those named, or those of the catalog."""
    rows = {
        row.weights.removeprefix("tiny://"): row for row in CATALOG.rows if "tiny://" in row.weights
    }
    unknown = set(names) - set(tiny.RECIPES)
    if unknown:
        raise QuartetError(f"there is no tiny model {', '.join(sorted(unknown))}")
    return [rows.get(name) or _recipe_row(name) for name in names or rows]


def _recipe_row(name: str) -> Row:
    return Row(
        slug=f"tiny {name}",
        surface="",
        tasks=frozenset(),
        weights=f"tiny://{name}",
        engine="",
        memory_bytes=0,
        licence="Apache-2.0",
    )


def _own_places() -> Places:
    """Where a copy may lie, as for a worker."""
    volume = Path(_ENV.get("VOLUME_DIR", "/runpod-volume"))
    home = Path(_ENV.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    return replace(
        _places(_CACHE),
        hub_caches=(volume / "huggingface-cache" / "hub", home / "hub"),
        baked=Path(_ENV.get("WEIGHTS_DIR", "/models")),
        volume=volume / "quartet" if volume.is_dir() else None,
    )


def _places(to: Path) -> Places:
    return Places(
        hub_caches=(),
        baked=to,
        volume=None,
        cache=to,
        token=_ENV.get("HF_TOKEN"),
        endpoint=_ENV.get("HF_ENDPOINT"),
        store=object_store(_ENV),
    )


if __name__ == "__main__":
    sys.exit(main())
