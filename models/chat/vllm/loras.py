"""The LoRA adapters of a running vLLM: the operator's, and those that requests bring."""

from __future__ import annotations

import itertools
import logging
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path
from typing import Any

from models.chat.adapters import AdapterCheck
from models.chat.request import Adapter
from models.chat.vllm.running import Alive, adapters_of
from models.errors import DeviceLost, InvalidValue, UnsupportedParameter, shorten
from models.row import Row

log = logging.getLogger(__name__)


class Loras:
    """Loads adapters, and unloads those that were not used for longest.

    Args:
        engine: vLLM's client.
        row: whose options have the operator's adapters, how many more are held (``loras``), and
            their largest rank (``lora_rank``).
        folder: of the model's weights.
    """

    def __init__(self, engine: Any, row: Row, folder: Path) -> None:
        self._engine = engine
        self._slug = row.slug
        self._fixed = adapters_of(engine, row)
        self._count = int(row.options.get("loras", 0))
        self._check = AdapterCheck(folder, row.slug, int(row.options.get("lora_rank", 0)))
        self._brought: OrderedDict[Path, Any] = OrderedDict()
        # Never used twice: vLLM keeps the beginnings of prompts by an adapter's name.
        self._numbers = itertools.count(len(self._fixed) + 1)

    def check(self, adapter: Adapter) -> None:
        """Check an adapter that a request brings; takes a thread's time.

        Raises:
            UnsupportedParameter: the engine was started without room for it.
            InvalidValue: it does not fit.
        """
        if not self._count:
            raise UnsupportedParameter(
                f"{adapter.param}: {self._slug} holds no adapters of requests (CHAT_LORAS).",
                param=adapter.param,
                code="lora_not_allowed",
            )
        if adapter.folder not in self._brought:
            self._check.check(adapter)

    def request(
        self, adapter: str | Adapter | None, in_use: Collection[str | Adapter | None]
    ) -> Any:
        """Return vLLM's request for an adapter, which is loaded if it is not; None for none.

        Args:
            adapter: the name of one of the operator's, or one that a request brings.
            in_use: the adapters of all requests, whose adapters stay.

        Raises:
            InvalidValue: vLLM does not load it.
        """
        if not isinstance(adapter, Adapter):
            return self._fixed.get(adapter or "")
        if adapter.folder not in self._brought:
            self._load(adapter)
        self._brought.move_to_end(adapter.folder)
        kept = {used.folder for used in in_use if isinstance(used, Adapter)} | {adapter.folder}
        for folder in [folder for folder in self._brought if folder not in kept]:
            if len(self._brought) <= self._count:
                break
            with Alive():
                self._engine.remove_lora(self._brought.pop(folder).lora_int_id)
        return self._brought[adapter.folder]

    def _load(self, adapter: Adapter) -> None:
        from vllm.lora.request import LoRARequest

        number = next(self._numbers)
        request = LoRARequest(f"{adapter.name}#{number}", number, str(adapter.folder))
        try:
            with Alive():
                self._engine.add_lora(request)
        except DeviceLost:
            raise
        except Exception as error:  # vLLM raises whatever its loader meets
            log.warning("an adapter that passed the checks is not loaded: %s", error)
            raise InvalidValue(
                f"{adapter.param}: the adapter {shorten(adapter.name, 100)} cannot be used: vllm "
                "does not load it; the worker's log says why.",
                param=adapter.param,
                code="lora_invalid",
            ) from error
        self._brought[adapter.folder] = request
