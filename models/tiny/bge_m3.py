"""XLM-RoBERTa with CLS pooling, normalisation and two more heads, as BGE-M3 is published."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from models.tiny.vocabulary import unigram_characters


def build(into: Path) -> None:
    """Write a sentence-transformers folder, and the sparse and ColBERT heads beside it."""
    write(into, *parts())


def write(into: Path, tokenizer: Any, config: Any) -> None:
    """Write the folder for a tokenizer and a configuration of any size."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import XLMRobertaModel

    with TemporaryDirectory() as scratch:
        XLMRobertaModel(config).save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        body = Transformer(scratch, max_seq_length=8192)
        modules = [body, Pooling(config.hidden_size, pooling_mode="cls"), Normalize()]
        SentenceTransformer(modules=modules).save(str(into), create_model_card=False)
    for name, width in (("sparse", 1), ("colbert", config.hidden_size)):
        head = torch.nn.Linear(config.hidden_size, width)
        torch.save(head.state_dict(), into / f"{name}_linear.pt")


def parts(**changes: Any) -> tuple[Any, Any]:
    """Return a tokenizer and a configuration for 8,192 tokens; ``changes`` override its fields."""
    from transformers import XLMRobertaConfig, XLMRobertaTokenizerFast

    vocab = unigram_characters(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer = XLMRobertaTokenizerFast(vocab=[*vocab, ("<mask>", 0.0)], model_max_length=8192)
    tiny = {
        "vocab_size": len(vocab) + 1,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    config = XLMRobertaConfig(
        **{**tiny, **changes}, max_position_embeddings=8194, type_vocab_size=1
    )
    return tokenizer, config
