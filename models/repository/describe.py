"""From what the operator names to a row, and where each of its values comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from models.catalog.parts import GB
from models.errors import RepositoryUnsuited
from models.repository import (
    chat,
    copies,
    embeddings,
    images,
    libraries,
    single_file,
    transcribe,
)
from models.repository.address import Address
from models.repository.copies import Copy
from models.repository.facts import Facts
from models.repository.machine import Machine
from models.row import Row
from models.weights import sources
from models.weights.places import Places

_LICENCE = re.compile(r"^license(?:_name)?:\s*[\"']?([^\"'\n]+)", re.MULTILINE)
_FRONT = re.compile(r"\A---\s*\n(.*?)\n---", re.DOTALL)
_UNKNOWN = "not said"


@dataclass(frozen=True)
class Description:
    """A row, the source of each value by name, and what the operator should know."""

    row: Row
    sources: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> tuple[str, str, str]:
        """Three lines for the log of a start."""
        row = self.row
        family = row.options.get("family") or row.options.get("pooling") or "no family"
        tasks = ", ".join(sorted(row.tasks))
        engine = row.engine.rpartition(":")[2]
        return (
            f"{row.slug}: {row.surface} ({tasks}) by {engine}, {family}; licence {row.licence}",
            f"{row.slug}: {sources.shown(row.weights)}, {row.weights_bytes / GB:.2f} GB on disk, "
            f"{row.memory_bytes / GB:.2f} GB of memory; from {self.sources['weights']}",
            f"{row.slug}: " + ("; ".join(self.notes) or "every value comes from its files"),
        )

    def lines(self) -> Iterator[str]:
        """Yield a line for each value: name, value, and its source behind a dash."""
        for name, source in self.sources.items():
            value = shown(_value(self.row, name), name)
            yield f"{name:24} {value}  — {source}"
        for note in self.notes:
            yield f"{'note':24} {note}"


def describe(
    address: Address,
    places: Places,
    machine: Machine,
    *,
    slug: str | None = None,
    tasks: frozenset[str] = frozenset(),
) -> Description:
    """Describe the model at an address by its own files.

    Args:
        address: a repository or folder.
        places: where copies may lie.
        machine: where it will run.
        slug: the name in requests; None = the repository's own.
        tasks: that the operator wants of it; they decide where the files leave a choice.

    Raises:
        RepositoryUnsuited: no engine can serve it.
        WeightsGated, WeightsUnavailable: it cannot be read.
    """
    copy = copies.find(address, places) if address.file is None else None
    facts = Facts()
    facts.say("slug", slug or address.name, "the operator" if slug else "its name")
    names = {address.given, address.repo or "", *((address.name,) if slug else ())}
    if copy is not None:
        facts.say("weights", copy.weights, copy.where)
    facts.say("names", tuple(sorted(names - {"", slug})), "its address")
    try:
        if copy is None:
            hubs, gated = single_file.describe(address, places, machine, facts)
            licence = (hubs, "the hub") if hubs else (_UNKNOWN, "the file says none")
        else:
            _say_kind(copy, machine, facts, tasks)
            licence, gated = _licence(copy), copy.gated
    except RepositoryUnsuited as error:
        raise RepositoryUnsuited(f"{address}: {error.message}") from None
    facts.say("licence", *licence)
    if gated:
        facts.say("gated", True, "the hub")
    return Description(facts.row(), facts.sources, tuple(facts.notes))


def overridden(description: Description, given: Mapping[str, Any], source: str) -> Description:
    """Return a description with values of the operator's, by their names."""
    row, sources = description.row, dict(description.sources)
    for name, value in given.items():
        group, _, rest = name.partition(".")
        row = replace(
            row, **({group: {**getattr(row, group), rest: value}} if rest else {name: value})
        )
        sources[name] = source
    return Description(row, sources, description.notes)


def shown(value: Any, name: str) -> str:
    """Return a value for a person: gigabytes, lists without quotes, long texts cut."""
    if name.endswith("_bytes"):
        return f"{value / GB:.2f} GB"
    if name == "weights":
        return sources.shown(value)
    if isinstance(value, frozenset | tuple | list):
        return ", ".join(map(str, sorted(value) if isinstance(value, frozenset) else value))
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}…"


def _value(row: Row, name: str) -> Any:
    group, _, rest = name.partition(".")
    return getattr(row, group)[rest] if rest else getattr(row, name)


def _say_kind(copy: Copy, machine: Machine, facts: Facts, tasks: frozenset[str]) -> None:
    """Find what kind of model it is, and note what is known of such."""
    if copy.has("model_index.json"):
        return images.describe(copy, machine, facts)
    if transcribe.is_converted(copy):
        return transcribe.describe_converted(copy, machine, facts)
    if not copy.has("config.json"):
        raise _without_config(copy)
    config = copy.json("config.json")
    _check_code(config, machine, facts)
    architecture = next(iter(config.get("architectures") or ()), "")
    if architecture == "WhisperForConditionalGeneration":
        return transcribe.describe(copy, config, machine, facts)
    if embeddings.is_judge(copy, config, facts.values["slug"], tasks):
        return embeddings.describe_judge(copy, config, machine, facts)
    if architecture.endswith("ForSequenceClassification"):
        return embeddings.describe_reranker(copy, config, machine, facts)
    if embeddings.is_embedder(copy, config):
        return embeddings.describe(copy, config, machine, facts)
    if architecture.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")):
        return chat.describe(copy, config, machine, facts)
    raise RepositoryUnsuited(
        f"config.json names {architecture or 'no architecture'}, which no engine here serves: they "
        "serve causal language models, encoders and rerankers, Whisper, and pipelines of diffusers."
    )


def _without_config(copy: Copy) -> RepositoryUnsuited:
    if copy.has("adapter_config.json"):
        base = copy.json("adapter_config.json").get("base_model_name_or_path") or "its base model"
        return RepositoryUnsuited(
            f"It is a LoRA adapter: set MODEL to {base}, and name this one in LORA_ADAPTERS."
        )
    return RepositoryUnsuited(
        "There is no config.json and no model_index.json, which say what the model is; name the "
        "repository or folder that has them."
    )


def _check_code(config: Mapping[str, Any], machine: Machine, facts: Facts) -> None:
    """See whether a model is code of its repository, and whether that is allowed.

    Raises:
        RepositoryUnsuited: it is not.
    """
    code = config.get("auto_map")
    if not code or libraries.is_native(dict(config)):
        return
    if not machine.trusts_code:
        first = next(iter(code.values()))
        raise RepositoryUnsuited(
            f"config.json names {first if isinstance(first, str) else first[0]}, which is code of "
            "the repository; it is not run here unless TRUST_REMOTE_CODE=1 allows it."
        )
    facts.say("options.trust_remote_code", True, "TRUST_REMOTE_CODE")


def _licence(copy: Copy) -> tuple[str, str]:
    if copy.licence is not None:
        return copy.licence, "the hub"
    front = _FRONT.match(copy.text("README.md"))
    licences = _LICENCE.findall(front[1]) if front else []
    # A licence that is "other" has a name beside it.
    named = [item.strip() for item in licences if item.strip() != "other"]
    return (named[0], "README.md") if named else (_UNKNOWN, "README.md names none")
