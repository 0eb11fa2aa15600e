"""What a repository of an encoder, an embedder or a reranker says of itself."""

from __future__ import annotations

from typing import Any

from models.catalog.embeddings import EMBEDS, LIBRARY_FILES
from models.catalog.parts import GB, TRANSFORMERS_FILES
from models.errors import RepositoryUnsuited
from models.repository import libraries, weights
from models.repository.chat import template_of
from models.repository.copies import Copy
from models.repository.facts import Facts
from models.repository.machine import Machine

_EMBEDDER = "models.embeddings.torch:TorchEmbeddings"
_CROSS_ENCODER = "models.embeddings.cross_encoder:CrossEncoder"
_JUDGE = "models.embeddings.judge:Judge"
_PICKLES = ("pytorch_model*.bin",)
_TIMEOUT_S = 120.0
_WORKING_BYTES = GB // 4  # besides half of the weights: runs grow with the model
_OWN_MODULES = "sentence_transformers."
_SENTENCE_CONFIG = "config_sentence_transformers.json"
_PASSAGE = ("passage", "document", "corpus")
_MOST_TOKENS = 32_768  # of a reranker that reads more: a pair is one part of a run


def is_embedder(copy: Copy, config: dict[str, Any]) -> bool:
    """Whether a repository is a folder of sentence-transformers, or an encoder."""
    architecture = next(iter(config.get("architectures") or ()), "")
    encodes = architecture.endswith(("Model", "ForMaskedLM"))
    return copy.has("modules.json") or (encodes and libraries.encodes(config))


def is_judge(copy: Copy, config: dict[str, Any], name: str, tasks: frozenset[str]) -> bool:
    """Whether a causal language model is a reranker that answers yes or no, as Qwen3's are."""
    if config.get("model_type") != "qwen3":
        return False
    template, _ = template_of(copy)
    kind = copy.json(_SENTENCE_CONFIG).get("model_type")
    by_role = '"query"' in template and '"document"' in template
    return kind == "CrossEncoder" or "rerank" in tasks or by_role or "reranker" in name.lower()


def describe(copy: Copy, config: dict[str, Any], machine: Machine, facts: Facts) -> None:
    """Note what is known of an embedder.

    Raises:
        RepositoryUnsuited: it has no weights, or modules that are code of its own.
    """
    modules = copy.value("modules.json") if copy.has("modules.json") else []
    foreign = [module["type"] for module in modules if not module["type"].startswith(_OWN_MODULES)]
    if foreign and not machine.trusts_code:
        raise RepositoryUnsuited(
            f"modules.json names {foreign[0]}, which is code of the repository; it is not run here "
            "unless TRUST_REMOTE_CODE=1 allows it."
        )
    _say_common(copy, machine, facts, _EMBEDDER, LIBRARY_FILES)
    source = "modules.json" if modules else "config.json: architectures"
    facts.say("tasks", EMBEDS, source)
    facts.say("options.pooling", *_pooling(copy, modules))
    _say_limit(copy, facts)
    _say_prompts(copy, facts)
    if sizes := config.get("matryoshka_dimensions"):
        facts.say("options.dimensions", tuple(sizes), "config.json: matryoshka_dimensions")


def describe_reranker(copy: Copy, config: dict[str, Any], machine: Machine, facts: Facts) -> None:
    """Note what is known of a classifier of pairs.

    Raises:
        RepositoryUnsuited: it has no weights or several classes, or reads from left to right.
    """
    labels = config.get("num_labels") or len(config.get("id2label") or {"0": "", "1": ""})
    if labels != 1:
        raise RepositoryUnsuited(
            f"It is a classifier of {labels} classes; a reranker gives one score (num_labels: 1)."
        )
    if libraries.is_decoder(config) or not libraries.classifies(config):
        raise RepositoryUnsuited(
            f"A classifier of the type {config.get('model_type')!r} is not read here; rerankers "
            "are encoders with one score, or Qwen3-Reranker in its original form."
        )
    if not copy.has("tokenizer.json"):
        raise RepositoryUnsuited("There is no tokenizer.json; save the tokenizer in its fast form.")
    _say_common(copy, machine, facts, _CROSS_ENCODER, TRANSFORMERS_FILES)
    facts.say("tasks", frozenset({"rerank"}), "config.json: one label")
    facts.say("options.max_tokens", _positions(config), "config.json: max_position_embeddings")


def describe_judge(copy: Copy, config: dict[str, Any], machine: Machine, facts: Facts) -> None:
    """Note what is known of a language model that answers yes or no.

    Raises:
        RepositoryUnsuited: it has no weights.
    """
    _say_common(copy, machine, facts, _JUDGE, TRANSFORMERS_FILES)
    facts.say("tasks", frozenset({"rerank"}), "its name, template or modules: a reranker")
    most = min(_MOST_TOKENS, _positions(config))
    facts.say("options.max_tokens", most, "config.json: max_position_embeddings")
    prompts = copy.json(_SENTENCE_CONFIG).get("prompts") or {}
    if instruction := next(iter(prompts.values()), None):
        facts.say("options.instruction", instruction, f"{_SENTENCE_CONFIG}: prompts")


def _say_common(
    copy: Copy, machine: Machine, facts: Facts, engine: str, files: tuple[str, ...]
) -> None:
    weight_files = weights.safetensors(copy)
    if not weight_files and engine == _EMBEDDER:
        weight_files, files = weights.pickles(copy), (*files, *_PICKLES)
    if not weight_files:
        raise weights.refuse_without(copy, "an encoder")
    own = ("*.py", "*/*.py") if machine.trusts_code else ()
    files_bytes = sum(copy.sizes[name] for name in weight_files)
    stored = weights.stored_bytes(copy.json("config.json"))
    loaded_bytes = files_bytes * machine.dtype_bytes // stored
    facts.say("surface", "embeddings", "config.json: architectures")
    facts.say("engine", engine, "config.json: architectures")
    facts.say("files", (*files, *own), "the engine")
    facts.say("timeout_s", _TIMEOUT_S, "ours, for embeddings")
    facts.say("weights_bytes", files_bytes, f"the sizes of {', '.join(weight_files[:2])}")
    working = loaded_bytes // 2 + _WORKING_BYTES
    facts.say("memory_bytes", loaded_bytes + working, f"weights in {machine.dtype}, half as much")


def _pooling(copy: Copy, modules: list[dict[str, Any]]) -> tuple[str, str]:
    """Return how a text's vector is made of its tokens', and where that is said."""
    path = next((module["path"] for module in modules if module["type"].endswith(".Pooling")), None)
    if path is None:
        how = "no modules.json: sentence-transformers' own" if not modules else "modules.json"
        return ("mean" if not modules else "by its modules"), how
    config = copy.json(f"{path}/config.json")
    old = [
        key for key, value in config.items() if key.startswith("pooling_mode_") and value is True
    ]
    mode = config.get("pooling_mode") or "+".join(key.removeprefix("pooling_mode_") for key in old)
    names = {"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max"}
    return names.get(str(mode), str(mode)), f"{path}/config.json"


def _say_limit(copy: Copy, facts: Facts) -> None:
    for name, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
        ("config.json", "max_position_embeddings"),
    ):
        limit = copy.json(name).get(key)
        if isinstance(limit, int) and 0 < limit < 10**7:
            facts.say("options.max_tokens", limit, f"{name}: {key}")
            return


def _say_prompts(copy: Copy, facts: Facts) -> None:
    """Note the texts before an input, by input type; None = of an input without a type."""
    config = copy.json(_SENTENCE_CONFIG)
    prompts = {name.lower(): text for name, text in (config.get("prompts") or {}).items()}
    prefixes: dict[str | None, str] = {}
    if prompts.get("query"):
        prefixes["query"] = prompts["query"]
    if passage := next((prompts[name] for name in _PASSAGE if prompts.get(name)), None):
        prefixes["passage"] = passage
    usual = (config.get("default_prompt_name") or "").lower()
    if prompts.get(usual):
        prefixes[None] = prompts[usual]
    if prefixes:
        facts.say("options.prefixes", prefixes, f"{_SENTENCE_CONFIG}: prompts")


def _positions(config: dict[str, Any]) -> int:
    """Return how many tokens a model reads; RoBERTa's positions begin after its padding token."""
    positions = int(config.get("max_position_embeddings") or 512)
    offset = "roberta" in config.get("model_type", "") or config.get("model_type") == "camembert"
    return positions - (int(config.get("pad_token_id") or 1) + 1 if offset else 0)
