"""Tiny random models, laid out as their repositories are, in a cache of the hub's form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

COMMIT = "a1" * 20
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HERMES = "{% if tools %}<tool_call>{'name': …, 'arguments': …}</tool_call>{% endif %}" + CHATML
_SMALL = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512,
}  # fmt: skip
CHAT = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": {"sliding_window": None},
    "phi3": {"pad_token_id": 0},
    "granite": {},
    "olmo2": {},
    "smollm3": {},
    "gemma3_text": {"sliding_window": 64},
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 64},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
}
_ENCODER = {**_SMALL, "num_labels": 1}
ENCODERS = {
    "bert": {},
    "xlm-roberta": {"type_vocab_size": 1, "pad_token_id": 1},
    "mpnet": {},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "modernbert": {
        "global_attn_every_n_layers": 1,
        "pad_token_id": 0,
        "cls_token_id": 1,
        "sep_token_id": 2,
    },
}


def snapshot(home: Path, repo: str, commit: str = COMMIT) -> Path:
    """Make an empty snapshot of a repository, on its main branch, in a home of the hub's."""
    root = home / "hub" / f"models--{repo.replace('/', '--')}"
    folder = root / "snapshots" / commit
    folder.mkdir(parents=True)
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / "main").write_text(commit)
    return folder


def write(folder: Path, name: str, content: Any) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def words(pair: bool = False, end: bool = False) -> Any:
    """A tokenizer of bytes with the special tokens of BERT and of ChatML."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    from models.tiny.vocabulary import byte_alphabet

    pieces = [
        "[PAD]",
        "[CLS]",
        "[SEP]",
        "<|im_start|>",
        "<|im_end|>",
        "yes",
        "no",
        *byte_alphabet(),
    ]
    backend = Tokenizer(models.BPE({piece: at for at, piece in enumerate(pieces)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(pieces[:5])
    if pair:
        backend.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    if end:
        backend.post_processor = processors.TemplateProcessing(
            single="$A <|im_end|>", special_tokens=[("<|im_end|>", 4)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        eos_token="<|im_end|>", model_max_length=512,
    )  # fmt: skip


def config(model_type: str, given: dict[str, Any], tokenizer: Any) -> Any:
    from transformers import AutoConfig

    ends = {"eos_token_id": 4, "bos_token_id": 3}
    return AutoConfig.for_model(
        model_type, **{"vocab_size": len(tokenizer), "pad_token_id": 0, **ends, **given}
    )


def chat(
    folder: Path,
    model_type: str = "llama",
    template: str | None = CHATML,
    tokenizer: Any = None,
    **changes: Any,
) -> Any:
    """Write a causal language model; returns transformers' own."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = tokenizer or words()
    tokenizer.chat_template = template
    torch.manual_seed(7)
    made = config(model_type, {**_SMALL, **CHAT.get(model_type, {}), **changes}, tokenizer)
    model = AutoModelForCausalLM.from_config(made, dtype=torch.float32)
    for weight in model.parameters():
        weight.data.mul_(3)  # scores that are told apart
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write(folder, "README.md", "---\nlicense: apache-2.0\n---\n# Mine\n")
    return model.eval()


def encoder(folder: Path, model_type: str = "bert") -> None:
    """Write an encoder as transformers does."""
    import torch
    from transformers import AutoModel

    tokenizer = words(pair=True)
    torch.manual_seed(7)
    made = config(model_type, {**_SMALL, **ENCODERS[model_type]}, tokenizer)
    AutoModel.from_config(made, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def reranker(folder: Path, model_type: str = "bert", labels: int = 1) -> None:
    """Write a classifier of pairs."""
    import torch
    from transformers import AutoModelForSequenceClassification

    tokenizer = words(pair=True)
    torch.manual_seed(7)
    given = {**_ENCODER, **ENCODERS[model_type], "num_labels": labels}
    made = config(model_type, given, tokenizer)
    AutoModelForSequenceClassification.from_config(made, dtype=torch.float32).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)


def last_token_embedder(folder: Path) -> None:
    """Write a folder of sentence-transformers as Qwen3-Embedding is published."""
    import torch
    from transformers import AutoModel

    tokenizer = words(end=True)
    torch.manual_seed(7)
    made = config("qwen3", _SMALL, tokenizer)
    made.architectures = ["Qwen3ForCausalLM"]
    AutoModel.from_config(made, dtype=torch.float32).save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text())
    write(folder, "config.json", {**saved, "architectures": ["Qwen3ForCausalLM"]})
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(folder)
    kinds = ("Transformer", "Pooling", "Normalize")
    write(folder, "modules.json", [
        {"idx": at, "name": str(at), "path": "" if at == 0 else f"{at}_{kind}",
         "type": f"sentence_transformers.models.{kind}"} for at, kind in enumerate(kinds)
    ])  # fmt: skip
    write(folder, "1_Pooling/config.json", {
        "word_embedding_dimension": 32, "pooling_mode_lasttoken": True, "include_prompt": True,
    })  # fmt: skip
    (folder / "2_Normalize").mkdir()
    write(folder, "config_sentence_transformers.json", {
        "prompts": {"query": "Instruct: find\nQuery:", "document": ""},
        "default_prompt_name": None, "similarity_fn_name": "cosine",
    })  # fmt: skip


def judge(folder: Path) -> Any:
    """Write a language model that says yes or no, as Qwen3-Reranker; returns transformers' own."""
    return chat(folder, "qwen3", template=HERMES)
