"""Changes safetensors files: most of them still have a header that can be read."""

from __future__ import annotations

import json
import random
from typing import Any

from benchmarks.fuzz.mutation import change_bytes, change_json

_LENGTH_BYTES = 8
_PARTS = (
    *("transformer.", "text_encoder.", "unet.", "lora_unet_", "lora_te_", "diffusion_model."),
    *("base_model.model.", "layers.0.", "single_blocks_0_", "double_blocks.0.", "img_attn.qkv."),
    *(".lora_A.weight", ".lora_B.weight", ".lora.down.weight", ".lora_up.weight", ".alpha"),
    *(".lora_A.default.weight", ".dora_scale", ".diff_b", ".bias", "__metadata__", "", "\0", "é"),
)
_TYPES = ("F32", "F16", "BF16", "F64", "I8", "U8", "BOOL", "F8_E4M3", "I64", "X", "F4", "C64")


def change_tensors(content: bytes, chance: random.Random) -> bytes:
    """Return a file with a change of its header, or sometimes of its bytes."""
    header, data = _header(content), content[_LENGTH_BYTES:]
    kind = chance.random()
    if header is None or kind < 0.2:
        return change_bytes(content, chance)
    size = int.from_bytes(content[:_LENGTH_BYTES], "little")
    text = json.dumps(header).encode()
    if kind < 0.4:
        text = change_json(text, chance)
    else:
        for _ in range(chance.randint(1, 3)):
            _change(header, chance)
        text = json.dumps(header).encode()
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text + data[size:]


def change_peft(content: bytes, chance: random.Random) -> bytes:
    """Return a configuration, a line, and its safetensors file, with a change of one of them."""
    config, _, tensors = content.partition(b"\n")
    if chance.random() < 0.4:
        return change_json(config, chance) + b"\n" + tensors
    return config + b"\n" + change_tensors(tensors, chance)


def _header(content: bytes) -> dict[str, Any] | None:
    size = int.from_bytes(content[:_LENGTH_BYTES], "little")
    try:
        header = json.loads(content[_LENGTH_BYTES : _LENGTH_BYTES + size])
    except (ValueError, RecursionError):
        return None
    return header if isinstance(header, dict) and header else None


def _change(header: dict[str, Any], chance: random.Random) -> None:
    """Rename a tensor, or change its type, its shape or its place."""
    name = chance.choice(list(header))
    entry, kind = header[name], chance.randrange(5)
    if kind < 2 or not isinstance(entry, dict):
        header[_renamed(name, chance)] = header.pop(name)
    elif kind == 2:
        entry["dtype"] = chance.choice(_TYPES)
    elif kind == 3 and isinstance(entry.get("shape"), list):
        chance.shuffle(entry["shape"])
        entry["shape"] = chance.choice(
            ([*entry["shape"], 1], entry["shape"][1:], entry["shape"], [0], [-1], [2**62, 4], [])
        )
    elif isinstance(entry.get("data_offsets"), list):
        entry["data_offsets"] = [
            chance.choice((0, -1, 2**63, 1e400, end, None)) for end in entry["data_offsets"]
        ]


def _renamed(name: str, chance: random.Random) -> str:
    """Return a name with a part more, a part less, or a part replaced."""
    pieces = name.split(".")
    kind, at = chance.randrange(4), chance.randrange(len(pieces))
    if kind == 0:
        return name + chance.choice(_PARTS)
    if kind == 1:
        return chance.choice(_PARTS) + name
    if kind == 2:
        return ".".join(pieces[:at] + pieces[at + 1 :])
    return ".".join([*pieces[:at], chance.choice(_PARTS).strip("."), *pieces[at + 1 :]])
