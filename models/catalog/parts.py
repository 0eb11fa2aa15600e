"""What rows of several surfaces are made of."""

from __future__ import annotations

GB = 10**9
CPU = frozenset({"cpu"})
GPU = frozenset({"cuda"})
TRANSFORMERS_FILES = ("*.json", "*.jinja", "model*.safetensors", "tokenizer*")
STAND_IN = (
    "{} is a tiny model with random weights: it proves the path, its output means nothing. "
    "Configure {} for real results."
)
