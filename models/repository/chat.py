"""What a repository of a causal language model says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from models.catalog.parts import GB, TRANSFORMERS_FILES
from models.chat.families import FAMILIES
from models.chat.share import Steps, token_bytes, working_bytes
from models.errors import RepositoryUnsuited
from models.repository import libraries, weights
from models.repository.copies import Copy
from models.repository.facts import Facts
from models.repository.machine import Machine

ENGINE = "models.chat.in_process.engine:TransformersChat"
_STEPS = Steps(2048, 128)  # the smallest that the engines take on a GPU
_CACHE_TOKENS = 16_384  # of all conversations, at least, where the model reads so many
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
_CONTEXT = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")
_TIMEOUT_S = 600.0
# Forms of calls that are not read here.
_OTHER_FORMS = ("<function=", "<arg_key>", "[TOOL_CALLS]", "<|channel|>", "<|tool_call>")
_ON_GPUS = frozenset({"fp8", "fbgemm_fp8"})
# What transformers reads quantised weights with, by quant_method.
_LIBRARIES = {
    "awq": "gptqmodel",
    "gptq": "gptqmodel",
    "compressed-tensors": "compressed_tensors",
    "bitsandbytes": "bitsandbytes",
}


def describe(copy: Copy, config: dict[str, Any], machine: Machine, facts: Facts) -> None:
    """Note what is known of a model of chat.

    Raises:
        RepositoryUnsuited: it has no weights, no tokenizer or no template, or its context length is
            not known, or no engine here loads it.
    """
    if refusal := libraries.chat_refusal(config, machine.chat_engine):
        raise RepositoryUnsuited(f"{refusal}; the engine of chat here is {machine.chat_engine}.")
    if refusal := _quantisation_refusal(config, machine):
        raise RepositoryUnsuited(refusal)
    if not weights.safetensors(copy):
        raise weights.refuse_without(copy, "a language model")
    if not weights.named(copy, ["tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json"]):
        raise RepositoryUnsuited("There is no tokenizer (tokenizer.json); add the base model's.")
    text = {**config, **(config.get("text_config") or {})}
    facts.say("surface", "chat", "config.json: architectures")
    facts.say("tasks", frozenset({"chat"}), "config.json: architectures")
    facts.say("engine", ENGINE, "the surface; on a GPU vllm, if it is installed")
    facts.say("files", _files(machine), "the engine")
    facts.say("timeout_s", _TIMEOUT_S, "ours, for chat")
    _say_context(text, machine, facts)
    _say_family(copy, machine, facts)
    _say_sampling(copy, facts)
    _say_memory(copy, text, machine, facts)


def _quantisation_refusal(config: Mapping[str, Any], machine: Machine) -> str | None:
    """Return why weights cannot be read as they are stored; vllm reads all of these."""
    method = (config.get("quantization_config") or {}).get("quant_method")
    if method is None or machine.chat_engine == "vllm":
        return None
    if method in _ON_GPUS and machine.kind == "cpu":
        return f"Its weights are stored as {method}, which needs a GPU; use the image with vllm."
    library = _LIBRARIES.get(method)
    if library is not None and not libraries.installed(library):
        return (
            f"Its weights are stored as {method}, which transformers reads with {library}, not "
            "installed here; use the image with vllm, or the model's plain weights."
        )
    return None


def _files(machine: Machine) -> tuple[str, ...]:
    return (*TRANSFORMERS_FILES, *(("*.py",) if machine.trusts_code else ()))


def _say_context(text: Mapping[str, Any], machine: Machine, facts: Facts) -> None:
    name = next((name for name in _CONTEXT if text.get(name)), None)
    if name is not None:
        facts.say("options.context", int(text[name]), f"config.json: {name}")
    elif machine.context_tokens is not None:
        facts.say("options.context", machine.context_tokens, "CHAT_CONTEXT_TOKENS")
    else:
        raise RepositoryUnsuited(
            "config.json says no context length (max_position_embeddings); set CHAT_CONTEXT_TOKENS."
        )


def _say_family(copy: Copy, machine: Machine, facts: Facts) -> None:
    """Find the template, and from it how the model calls tools and thinks."""
    if machine.chat_template is not None:
        template, source = machine.chat_template, "CHAT_TEMPLATE"
        facts.say("options.chat_template", template, source)
    else:
        template, source = template_of(copy)
    if not template:
        raise RepositoryUnsuited(
            "There is no chat template (chat_template.jinja, or in tokenizer_config.json): this is "
            "a base model, or its template is kept elsewhere; set CHAT_TEMPLATE to a file with one."
        )
    family = family_of(template)
    if family is None:
        facts.notes.append("tools and thoughts: the template has no format that is read here")
        return
    facts.say("options.family", family, source)
    if not FAMILIES[family].calls:
        facts.notes.append("tools: the template has no format that is read here; thoughts are read")


def template_of(copy: Copy) -> tuple[str, str]:
    """Return a repository's chat template, empty if there is none, and the file that has it."""
    if copy.has("chat_template.jinja"):
        return copy.text("chat_template.jinja"), "chat_template.jinja"
    for name in ("chat_template.json", "tokenizer_config.json"):
        template = copy.json(name).get("chat_template")
        if isinstance(template, list):  # several, by name
            named = {entry.get("name"): entry.get("template") for entry in template}
            template = named.get("default") or next(iter(named.values()), None)
        if template:
            return str(template), name
    return "", ""


def family_of(template: str) -> str | None:
    """Return the family whose form of calls and thoughts a template has; None for other forms."""
    tools = re.search(r"\btools\b", template) is not None
    if "<｜Assistant｜>" in template:
        return _family_of_deepseek(template, tools)
    if "<|channel|>analysis<|message|>" in template:
        return "harmony"
    if "[TOOL_CALLS]" in template and tools:
        return "mistral-named" if "[ARGS]" in template else "mistral"
    if any(mark in template for mark in _OTHER_FORMS):
        return None
    if "<|start_header_id|>" in template:
        return "llama3.1" if "tools" in template and '"parameters"' in template else "llama3"
    if "<tool_call>" in template and "arguments" in template and tools:
        return "hermes"
    if "<|tool|>" in template and "<|assistant|>" in template:
        return "phi4"
    if "<start_of_turn>" in template and not tools:
        return "gemma"
    return None


def _family_of_deepseek(template: str, tools: bool) -> str | None:
    """Templates of the distills show calls made earlier, and tell of no tools."""
    if "<｜tool▁calls▁begin｜>" in template and tools:
        return "deepseek-v3" if "```json" in template else "deepseek-v3.1"
    return "deepseek-r1" if "</think>" in template else None


def _say_sampling(copy: Copy, facts: Facts) -> None:
    given = copy.json("generation_config.json")
    for name in _SAMPLING:
        value = given.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            facts.say(f"defaults.{name}", value, f"generation_config.json: {name}")


def _say_memory(copy: Copy, text: Mapping[str, Any], machine: Machine, facts: Facts) -> None:
    files_bytes = weights.size_bytes(copy, ["model*.safetensors"])
    quantised = text.get("quantization_config")
    stored = weights.stored_bytes(text)
    loaded_bytes = files_bytes
    if quantised:
        method = quantised.get("quant_method") or "an unnamed method"
        facts.say("options.quantized", method, "config.json: quantization_config")
    else:
        loaded_bytes = files_bytes * machine.dtype_bytes // stored
    context = int(facts.values["options.context"])
    cached = (token_bytes(text, machine.dtype_bytes) or 0) * min(context, _CACHE_TOKENS)
    working = working_bytes(text, _STEPS) if machine.kind == "cuda" else GB // 4
    facts.say("weights_bytes", files_bytes, "the sizes of model*.safetensors")
    how = f"weights in {machine.dtype}, cache of {min(context, _CACHE_TOKENS)} tokens, one step"
    facts.say("memory_bytes", loaded_bytes + cached + working, how)
