"""What a repository of a Whisper model says of itself: of ctranslate2's form, or transformers'."""

from __future__ import annotations

from typing import Any

from models.catalog.parts import GB
from models.errors import RepositoryUnsuited
from models.repository import weights
from models.repository.copies import Copy
from models.repository.facts import Facts
from models.repository.machine import Machine

_ENGINE = "models.transcribe.whisper.engine:FasterWhisper"
_FILES = ("model.bin", "vocabulary.*", "config.json", "tokenizer.json", "preprocessor_config.json")
_WINDOWS = {"cuda": 16, "cpu": 4}  # of a run; see the engine
_WINDOW_SHARE = 1 / 12  # of the weights, for each of them: a quarter of a GB for large-v3
_BASE_BYTES = GB // 4
_TIMEOUT_S = 240.0
_MULTILINGUAL_TOKENS = 51_865  # of the vocabulary; English-only models have one less
_CONVERT = "convert=whisper-ct2"


def is_converted(copy: Copy) -> bool:
    """Whether a repository has a model of ctranslate2's with a vocabulary."""
    return copy.has("model.bin") and bool(weights.named(copy, ["vocabulary.*"]))


def describe_converted(copy: Copy, machine: Machine, facts: Facts) -> None:
    """Note what is known of a model in ctranslate2's form.

    Raises:
        RepositoryUnsuited: it is not Whisper's.
    """
    config = copy.json("config.json")
    if "suppress_ids" not in config and "lang_ids" not in config:
        raise RepositoryUnsuited(
            "It is a model of ctranslate2's and not Whisper's (config.json has no suppress_ids)."
        )
    _say_common(copy, machine, facts, copy.sizes["model.bin"], 2)
    facts.say("files", _FILES, "the engine")
    languages = "lang_ids" in config and len(config["lang_ids"]) > 1
    _say_tasks(facts, languages, "config.json: lang_ids", _is_distilled(facts.values["slug"]))


def describe(copy: Copy, config: dict[str, Any], machine: Machine, facts: Facts) -> None:
    """Note what is known of a model in transformers' form, which is converted once.

    Raises:
        RepositoryUnsuited: it has no weights in one safetensors file.
    """
    if not weights.safetensors(copy):
        raise weights.refuse_without(copy, "a Whisper")
    if not copy.has("model.safetensors"):
        raise RepositoryUnsuited(
            "Its weights are in several files, and the conversion reads one model.safetensors."
        )
    if not copy.has("tokenizer.json"):
        raise RepositoryUnsuited("There is no tokenizer.json; add the one of the base model.")
    stored = weights.stored_bytes(config)
    _say_common(copy, machine, facts, copy.sizes["model.safetensors"], stored)
    facts.say("files", ("*.json", "*.txt", "model.safetensors"), "the conversion")
    # Behind the version of a bucket's or a web server's files.
    mark = "&" if "#" in copy.weights else "?"
    facts.say(
        "weights", f"{copy.weights}{mark}{_CONVERT}", f"{facts.sources['weights']}; converted once"
    )
    layers = (config.get("encoder_layers"), config.get("decoder_layers"))
    distilled = layers[0] != layers[1]
    languages = int(config.get("vocab_size") or 0) >= _MULTILINGUAL_TOKENS
    _say_tasks(facts, languages, "config.json: vocab_size, layers", distilled)


def _say_common(copy: Copy, machine: Machine, facts: Facts, files_bytes: int, stored: int) -> None:
    facts.say("surface", "transcribe", "its files")
    facts.say("engine", _ENGINE, "its files")
    facts.say("timeout_s", _TIMEOUT_S, "ours, for transcription")
    facts.say("weights_bytes", files_bytes, "the size of the weights' file")
    half_bytes = files_bytes * 2 // stored
    windows = int(half_bytes * _WINDOW_SHARE * _WINDOWS[machine.kind])
    how = f"weights in half precision, {_WINDOWS[machine.kind]} windows of sound"
    facts.say("memory_bytes", half_bytes + windows + _BASE_BYTES, how)


def _say_tasks(facts: Facts, languages: bool, source: str, distilled: bool) -> None:
    """Note the tasks; a distilled model, or one of English alone, translates nothing."""
    tasks = {"transcribe", "vid2txt"}
    if languages and not distilled:
        tasks.add("translate")
    elif distilled:
        facts.notes.append("translations: the decoder is cut, and such models make none")
    facts.say("tasks", frozenset(tasks), source)


def _is_distilled(slug: str) -> bool:
    """Whether a name says so: a converted model's files do not."""
    return any(word in slug.lower() for word in ("turbo", "distil"))
