"""What the installed libraries can load: asked of them, not of a list of ours."""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# The tables of vLLM's registry whose models generate text.
_VLLM_TABLES = frozenset({
    "_TEXT_GENERATION_MODELS", "_MULTIMODAL_MODELS", "_TRANSFORMERS_SUPPORTED_MODELS",
})  # fmt: skip


def installed(name: str) -> bool:
    """Whether a library is installed."""
    return find_spec(name) is not None


def chat_refusal(config: dict[str, Any], engine: str) -> str | None:
    """Return why an engine cannot load a causal language model; None if it can.

    Args:
        config: the repository's config.json.
        engine: ``vllm`` or ``transformers``; one that is not installed refuses nothing.
    """
    if not installed(engine):
        return None
    architecture = _architecture(config)
    if engine == "vllm":
        known = vllm_architectures(_package("vllm"))
        # What vllm has not, it runs by transformers' code if that fits its cache.
        if not known or architecture in known or _transformers_refusal(config) is None:
            return None
        return f"vllm has no {architecture}"
    return _transformers_refusal(config)


def _package(name: str) -> Path:
    """Return the folder of an installed library, which is not imported."""
    spec = find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else Path("/nowhere")


def vllm_architectures(package: Path) -> frozenset[str]:
    """Return the architectures in vLLM's registry that generate text.

    Its file is read, and not imported: vLLM reads its environment when it is imported, and the
    engine sets that. Empty if the file is not what it was.
    """
    file = package / "model_executor" / "models" / "registry.py"
    if not file.is_file():
        return frozenset()
    architectures: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        target, value = _assigned(node)
        if target in _VLLM_TABLES and isinstance(value, ast.Dict):
            architectures |= {str(key.value) for key in value.keys if isinstance(key, ast.Constant)}
    return frozenset(architectures)


def _assigned(node: ast.stmt) -> tuple[str, ast.expr | None]:
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, node.value
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, node.value
    return "", None


def _transformers_refusal(config: dict[str, Any]) -> str | None:
    model_type = config.get("model_type")
    known = _names("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES").get(model_type or "")
    if known is None:
        return f"transformers has no causal language model of the type {model_type!r}"
    return None if _batches(known) else f"transformers cannot batch {known}"


def is_native(config: dict[str, Any]) -> bool:
    """Whether transformers has the model without the repository's own code."""
    if not installed("transformers"):
        return False
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return config.get("model_type") in CONFIG_MAPPING_NAMES


def is_decoder(config: dict[str, Any]) -> bool:
    """Whether a model of this type reads from left to right."""
    kind = config.get("model_type", "")
    causal, masked = "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", "MODEL_FOR_MASKED_LM_MAPPING_NAMES"
    return kind in _names(causal) and kind not in _names(masked)


def encodes(config: dict[str, Any]) -> bool:
    """Whether transformers has an encoder, or a decoder, of this type."""
    return config.get("model_type", "") in _names("MODEL_MAPPING_NAMES")


def classifies(config: dict[str, Any]) -> bool:
    """Whether transformers has a classifier of this type."""
    mapping = "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES"
    return config.get("model_type", "") in _names(mapping)


def _names(mapping: str) -> dict[str, Any]:
    if not installed("transformers"):
        return {}
    module = import_module("transformers.models.auto.modeling_auto")
    return dict(getattr(module, mapping))


def _batches(architecture: str | tuple[str, ...]) -> bool:
    """Whether a class computes its attention by the interface that the paged cache needs."""
    import transformers

    name = architecture if isinstance(architecture, str) else architecture[0]
    return bool(getattr(getattr(transformers, name), "_supports_attention_backend", False))


def _architecture(config: dict[str, Any]) -> str:
    return next(iter(config.get("architectures") or ()), "")
