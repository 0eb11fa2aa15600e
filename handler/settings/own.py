"""The rows of the models that the operator names and the catalog may not have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from handler.settings.variable import SettingsError
from handler.settings.variables import Settings
from models.device.hardware import Device
from models.errors import RepositoryUnsuited
from models.operator import chat_engine
from models.repository.address import is_address, parse
from models.repository.machine import Machine
from models.repository.rows import Wanted, from_file, held, listed, rows
from models.row import Catalog, Row

_LONGEST_PATH = 4096


def own_rows(settings: Settings, catalog: Catalog, device: Device) -> list[Row]:
    """Return a row for each model that the environment names, of the catalog or described.

    Models of the catalog that only the gateway's variables name are left to the endpoint.

    Raises:
        SettingsError: one cannot be served.
    """
    try:
        wanted = list(_wanted(settings, catalog))
        if not wanted:
            return []  # the operator's template need not be read for them
        machine = _machine(settings, device)
        return rows(wanted, catalog, settings.places(), machine, settings.model_folders)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def chat_template(settings: Settings) -> str | None:
    """Return the operator's chat template: of a file, or as it is written.

    Raises:
        SettingsError: the file cannot be read.
    """
    given = settings.chat_template
    if given is None or "{{" in given or "{%" in given:
        return given
    try:
        return Path(given[:_LONGEST_PATH]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise SettingsError(f"CHAT_TEMPLATE: {given:.200}: {why}") from None


def _wanted(settings: Settings, catalog: Catalog) -> Iterator[Wanted]:
    tasks = frozenset(settings.model_tasks)
    several = list(listed(settings.models or "", "MODELS"))
    if settings.model is not None and several:
        raise ValueError("MODEL: MODELS names several; set one of the two")
    first = None
    if settings.model is not None:
        first = Wanted(settings.model, None, settings.model_revision, tasks)
    elif not several:
        first = _of_the_gateway(settings, catalog, tasks)
    if settings.model_row is not None:
        yield from from_file(settings.model_row, first)
    elif first is not None:
        yield first
    baked = settings.baked_model
    nothing = first is None and not several and settings.model_row is None
    if nothing and baked is not None and is_address(baked) and not held(Wanted(baked), catalog):
        yield Wanted(baked, tasks=tasks, variable="BAKED_MODEL")
    yield from several


def _of_the_gateway(settings: Settings, catalog: Catalog, tasks: frozenset[str]) -> Wanted | None:
    """Return the model that the gateway's variables name, if no row answers to any of its names."""
    names = list(settings.model_names())
    if any(held(Wanted(name), catalog) for name in names):
        return None
    repo = next((name for name in names if "/" in name), None)
    if repo is None or f"gh://{repo}@" in (settings.model_open_source_image_tag or ""):
        return None  # GitHub's repositories are not the hub's
    revision, pinned = settings.pin()
    slug = settings.model_slug if settings.model_slug != repo else None
    mine = pinned is None or pinned == repo
    return Wanted(repo, slug, revision if mine else None, tasks, variable="MODEL_SLUG")


def _machine(settings: Settings, device: Device) -> Machine:
    engine = settings.chat_engine
    if engine == "auto":
        engine, _ = chat_engine(engine, device.kind)
    return Machine(
        kind=device.kind,
        dtype=device.dtype,
        chat_engine=engine,
        trusts_code=settings.trust_remote_code,
        chat_template=chat_template(settings),
        context_tokens=settings.chat_context_tokens,
        base=_base(settings),
    )


def _base(settings: Settings) -> str | None:
    """Return the pipeline for single files, where one is named.

    Raises:
        ValueError: it is no address, or a folder that is not allowed.
    """
    if settings.model_base is not None:
        try:
            parse(settings.model_base, folders=settings.model_folders)
        except RepositoryUnsuited as error:
            raise ValueError(f"MODEL_BASE: {error.message}") from None
    return settings.model_base
