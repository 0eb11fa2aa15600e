"""The operator's own values of rows: a file in TOML or YAML, with a table for each model.

    [[model]]
    slug = "Support"
    weights = "my-org/support-8b@v2"
    memory_gb = 24
    licence = "proprietary"
    names = ["support"]

    [model.defaults]
    temperature = 0.2

A file of one model may leave ``[[model]]`` out, and ``weights`` if MODEL names it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.catalog.parts import GB

_YAML = (".yaml", ".yml")
_GIGABYTES = {"memory_gb": "memory_bytes", "weights_gb": "weights_bytes"}
_LISTS: dict[str, type] = {"tasks": frozenset, "names": tuple, "files": tuple}
_GROUPS = ("options", "defaults")
# What a file may not say: it would choose code, or is the endpoint's own matter.
_FORBIDDEN = frozenset({"engine", "surface", "default_on", "stand_in", "adapters", "mirrors"})
_KINDS: dict[str, tuple[type, ...]] = {
    "slug": (str,), "weights": (str,), "licence": (str,), "notice": (str,), "revision": (str,),
    "memory_gb": (int, float), "weights_gb": (int, float), "timeout_s": (int, float),
    "tasks": (list,), "names": (list,), "files": (list,), "options": (dict,), "defaults": (dict,),
    "gated": (bool,),
}  # fmt: skip


def read(file: Path) -> list[dict[str, Any]]:
    """Return the tables of a file, with the values by the names of ``facts.Facts``.

    Raises:
        ValueError: it cannot be read, or says something that no row has; names it.
    """
    try:
        content = _parsed(file)
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror or 'cannot be read'}") from None
    tables = content.get("model", content)
    tables = [tables] if isinstance(tables, dict) else tables
    if not isinstance(tables, list) or not all(isinstance(item, dict) for item in tables):
        raise ValueError(f"{file}: model must be a table, or a list of tables")
    return [_values(file, table) for table in tables]


def _parsed(file: Path) -> dict[str, Any]:
    text = file.read_text(encoding="utf-8")
    try:
        if file.suffix in _YAML:
            import yaml

            content = yaml.safe_load(text)
        else:
            content = tomllib.loads(text)
    except ImportError:
        raise ValueError(f"{file}: PyYAML is not installed; write it in TOML") from None
    except Exception as error:
        if not isinstance(error, ValueError) and type(error).__module__.split(".")[0] != "yaml":
            raise
        first = str(error).splitlines()[0]
        raise ValueError(f"{file}: {first}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file}: must hold a table")
    return content


def _values(file: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """Check a table, and give its values the names of a row's fields."""
    made: dict[str, Any] = {}
    for name, value in table.items():
        _check(file, name, value)
        if name in _GIGABYTES:
            made[_GIGABYTES[name]] = int(value * GB)
        elif name in _LISTS:
            made[name] = _LISTS[name](value)
        elif name in _GROUPS:
            made |= {f"{name}.{key}": item for key, item in value.items()}
        else:
            made[name] = value
    return made


def _check(file: Path, name: str, value: object) -> None:
    if name in _FORBIDDEN or name not in _KINDS:
        why = "is not the file's to say" if name in _FORBIDDEN else "is no field of a row"
        raise ValueError(f"{file}: {name} {why}; it may say {', '.join(_KINDS)}")
    if not isinstance(value, _KINDS[name]) or (isinstance(value, bool) and name != "gated"):
        kinds = " or ".join(kind.__name__ for kind in _KINDS[name])
        raise ValueError(f"{file}: {name} must be {kinds}; got {value!r}")
