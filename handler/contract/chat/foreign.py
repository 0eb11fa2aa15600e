"""Fields of other servers of text: vLLM's, RunPod's worker, llama.cpp's, Ollama's, SGLang's, TGI's.

A field is one of ours by another name, is put into our words, changes no answer, or is refused by
name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handler.contract.translation import Translate, Translation
from handler.contract.unsupported import Unsupported, alike, is_left_out
from models.errors import InvalidValue, UnsupportedParameter

_FORMS = "send response_format, guided_json, guided_regex or guided_choice"

ALIASES = {
    "max_new_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "n_predict": "max_tokens",
    "num_predict": "max_tokens",
    "stop_sequences": "stop",
    "regex": "guided_regex",
    "json_schema": "guided_json",
    "adapter_id": "lora",
    "lora_path": "lora",
}

# They change where or when an answer is made, and not the answer.
INFORMATIONAL = frozenset({
    "batch_size", "batch_size_growth_factor", "cache_prompt", "cache_salt", "id_slot", "keep_alive",
    "max_batch_size", "min_batch_size", "priority", "request_id", "use_openai_format",
})  # fmt: skip

UNSUPPORTED: dict[str, Unsupported] = {
    "allowed_token_ids": Unsupported(instead="send logit_bias"),
    "bad_words": Unsupported(instead="send logit_bias"),
    "include_stop_str_in_output": Unsupported(False),
    "options": Unsupported(instead="send its fields beside messages"),
    "prompt_logprobs": Unsupported(),
    "repeat_penalty": Unsupported(1, instead="send repetition_penalty"),
    "return_token_ids": Unsupported(False),
    "return_tokens_as_token_ids": Unsupported(False),
    "skip_special_tokens": Unsupported(True),
    "spaces_between_special_tokens": Unsupported(True, False),
    "stop_token_ids": Unsupported(instead="send stop"),
    "thinking": Unsupported(),
    "truncate_prompt_tokens": Unsupported(instead="send less"),
    "truncation": Unsupported("disabled", False, instead="send less"),
    **alike(("ebnf", "grammar", "guided_grammar"), _FORMS),
    **alike(
        ("custom_params", "kv_transfer_params", "mm_processor_kwargs", "vllm_xargs"), "leave it out"
    ),
    # Samplers of others, each with the value that switches it off.
    **alike(("early_stopping", "use_beam_search", "logits_processors"), "leave it out", False),
    **alike(
        (
            "dry_multiplier", "dynatemp_range", "epsilon_cutoff", "eta_cutoff", "mirostat",
            "mirostat_mode", "no_repeat_ngram_size", "smoothing_factor", "top_a", "xtc_probability",
        ),
        "leave it out",
        0,
    ),
    **alike(
        ("encoder_repetition_penalty", "length_penalty", "num_beams", "tfs_z", "typical_p"),
        "leave it out",
        1,
    ),
    "samplers": Unsupported(),
    "top_n_sigma": Unsupported(-1, 0),
}  # fmt: skip

_LENGTHS = ("max_tokens", *(alias for alias, name in ALIASES.items() if name == "max_tokens"))


# Fields that are put into our words.
TRANSLATED = frozenset({"enable_thinking", "format", "sampling_params", "structured_outputs"})


def translated(given: Mapping[str, Any]) -> Translation:
    """Put other servers' fields into our words.

    Raises:
        InvalidValue: a field contradicts another one, or is not of the form that it should have.
        UnsupportedParameter: a part of one cannot be honoured.
    """
    made = Translation(given)
    _add_parameters(made)
    for name in _LENGTHS:
        if made.body.get(name) in (-1, -2) and not isinstance(made.body[name], bool):
            del made.body[name]  # llama.cpp and others: as many as there is room for
    made.apply(_TABLE)
    return made


def _add_parameters(made: Translation) -> None:
    """Put the fields of ``sampling_params``, as RunPod's worker has them, beside the others."""
    inside = made.body.pop("sampling_params", None)
    if is_left_out(inside):
        return
    if not isinstance(inside, dict):
        raise InvalidValue("sampling_params must be an object.", param="sampling_params")
    for name, value in inside.items():
        if not is_left_out(value):
            made.add(name, value, f"sampling_params.{name}")


def _response_format(name: str, value: Any) -> dict[str, Any]:
    """Put a form's schema where OpenAI has it.

    ``{"type": "json_object", "schema"}`` is Together's and llama.cpp's, a schema beside the type
    ``json_schema`` Fireworks', ``{"type": "json", "value"}`` TGI's.
    """
    if not isinstance(value, dict):
        return {name: value}
    kind = value.get("type")
    if kind == "regex" and isinstance(value.get("value"), str):
        return {"guided_regex": value["value"]}
    schema = value.get("value") if kind == "json" else value.get("schema")
    if kind in ("json", "json_object", "json_schema") and isinstance(schema, dict):
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        return {name: form}
    inner = value.get("json_schema")
    if kind == "json_schema" and isinstance(inner, dict) and "name" not in inner:
        return {name: {**value, "json_schema": {"name": "answer", **inner}}}
    return {name: value}


def _format(name: str, value: Any) -> dict[str, Any]:
    """Ollama's: the word ``json``, or a schema."""
    if value == "json":
        return {"response_format": {"type": "json_object"}}
    if isinstance(value, dict):
        return {"guided_json": value}
    raise InvalidValue(f'{name} must be "json" or a JSON Schema.', param=name)


_STRUCTURED = {"json": "guided_json", "regex": "guided_regex", "choice": "guided_choice"}


def _structured_outputs(name: str, value: Any) -> dict[str, Any]:
    """VLLM's, one of whose fields says how the form is written."""
    if not isinstance(value, dict):
        raise InvalidValue(f"{name} must be an object.", param=name)
    forms = {
        kind: form for kind, form in value.items() if form is not False and not is_left_out(form)
    }
    if forms.pop("json_object", None):
        return {"response_format": {"type": "json_object"}}
    unknown = sorted(forms.keys() - _STRUCTURED.keys())
    if unknown:
        param = f"{name}.{unknown[0]}"
        raise UnsupportedParameter(f"{param} is not supported; {_FORMS}.", param=param)
    return {_STRUCTURED[kind]: form for kind, form in forms.items()}


def _enable_thinking(name: str, value: Any) -> dict[str, Any]:
    """DashScope's and SGLang's: a variable of the chat template."""
    return {"chat_template_kwargs": {"enable_thinking": value}}


_TABLE: dict[str, Translate] = {
    "response_format": _response_format,
    "format": _format,
    "structured_outputs": _structured_outputs,
    "enable_thinking": _enable_thinking,
}
