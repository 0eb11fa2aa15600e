"""XLM-RoBERTa with one score, as bge-reranker-v2-m3 is published."""

from __future__ import annotations

from pathlib import Path

from models.tiny.bge_m3 import parts


def build(into: Path) -> None:
    """Write a transformers folder."""
    from transformers import XLMRobertaForSequenceClassification

    tokenizer, config = parts(num_labels=1)
    XLMRobertaForSequenceClassification(config).save_pretrained(into)
    tokenizer.save_pretrained(into)
