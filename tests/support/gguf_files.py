"""A small Llama as a file of llama.cpp's, with the weights of a model of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def write(model: Any, tokenizer: Any, into: Path) -> None:
    """Write the file; tensors are float32."""
    import gguf

    config = model.config
    writer = gguf.GGUFWriter(into, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    _tokenizer(writer, tokenizer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        values = tensor.float().numpy()
        if ".q_proj." in name:
            values = _interleaved(values, config.num_attention_heads)
        elif ".k_proj." in name:
            values = _interleaved(values, config.num_key_value_heads)
        writer.add_tensor(names.get_name(name, (".weight",)), np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tokenizer(writer: Any, tokenizer: Any) -> None:
    words = sorted(tokenizer.get_vocab().items(), key=lambda one: one[1])
    special = set(tokenizer.added_tokens_decoder)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list([word for word, _ in words])
    writer.add_token_types([3 if token in special else 1 for _, token in words])
    # A vocabulary of single letters: what is merged follows from the scores.
    writer.add_token_scores([0.0] * len(words))
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_chat_template(tokenizer.chat_template)


def _interleaved(weights: Any, heads: int) -> Any:
    """llama.cpp rotates neighbours, transformers halves: rows of a head in the other's order."""
    half = weights.shape[0] // heads // 2
    return weights.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(weights.shape)
