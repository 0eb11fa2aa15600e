"""The LoRA adapter that a request chooses: one of the model's, or one that it brings."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence

from handler.contract.base import Call
from handler.contract.chat.generation_request import GenerationRequest
from models.chat.request import Adapter
from models.errors import InvalidValue, UnsupportedParameter, shorten
from models.leniency import LeftOut, Leniency

_MOST_CONFIG_BYTES = 1_000_000


async def adapter_of(call: Call) -> tuple[str | Adapter | None, Sequence[LeftOut]]:
    """Return the adapter that a request chooses, fetched if it brings one; and warnings.

    ``model: slug:owner/name`` and ``lora: owner/name`` mean the same.

    Raises:
        UnsupportedParameter: adapters are not allowed, or the engine takes none.
        InvalidValue: two are named, or it is nowhere.
        MediaError: its host does not give it.
    """
    request: GenerationRequest = call.request
    of_model = call.adapter or call.row.brought(request.model)
    if request.lora is not None and of_model not in (None, request.lora):
        raise InvalidValue(
            f"lora and model name two adapters, {shorten(request.lora)} and "
            f"{shorten(of_model or '')}; send one of them.",
            param="lora",
        )
    name, param = request.lora or of_model, "model" if request.lora is None else "lora"
    if name is None or name in call.row.adapters:
        return name, ()
    if call.loras is None:
        raise TypeError("this worker has no place for adapters")
    call.loras.check(name, param)
    if not call.row.options.get("loras"):
        raise UnsupportedParameter(
            f"{param}: {call.row.slug} takes no adapters of requests here; they need the vllm "
            "engine, and CHAT_LORAS above 0.",
            param=param,
            code="lora_not_allowed",
        )
    adapter = Adapter(name, await call.loras.fetch_folder(name, param, call.door), param)
    leniency = Leniency(request.strict)
    made_for = await asyncio.to_thread(_base, adapter)
    if made_for and not _is_of(call, made_for):
        leniency.adapt(param, f"the adapter was made for {shorten(made_for, 100)}")
    return adapter, leniency.left_out


def _base(adapter: Adapter) -> str | None:
    """The model that an adapter says it is for; what is no configuration is refused later."""
    file = adapter.folder / "adapter_config.json"
    try:
        config = json.loads(file.read_bytes()) if file.stat().st_size < _MOST_CONFIG_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    return base if isinstance(base, str) else None


def _is_of(call: Call, base: str) -> bool:
    """Whether a model's name, without its owner, is one of the row's: ``unsloth/`` has copies."""
    row = call.row
    known = {_plain(name) for name in (row.slug, row.repo or "", *row.names) if name}
    return _plain(base) in known


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.rstrip("/").rpartition("/")[2].lower())
