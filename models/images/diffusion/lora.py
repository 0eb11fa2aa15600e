"""LoRA adapters, switched on for a request and off after it."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from models.errors import InvalidValue, WeightsUnavailable
from models.images.request import Adapter
from models.loading import alone
from models.weights.header import check_adapter_header

# Suffixes of a layer's two matrices, as peft and as diffusers name them.
PAIRS = {".lora_A.weight": ".lora_B.weight", ".lora.down.weight": ".lora.up.weight"}


class Adapters:
    """The adapters of a pipeline; the most recently used ones stay loaded.

    Args:
        pipeline: of any task; all share the same parts.
        slug: the model's, for errors.
        kept_bytes: limit of the adapters that stay loaded, together.
    """

    def __init__(self, pipeline: Any, slug: str, kept_bytes: int) -> None:
        self._pipeline = pipeline
        self._slug = slug
        self._kept_bytes = kept_bytes
        self._loaded: OrderedDict[str, int] = OrderedDict()  # sizes in bytes, by peft's names

    @contextmanager
    def on(self, adapters: Sequence[Adapter]) -> Iterator[None]:
        """Switch adapters on in the block; after it the model computes exactly as before.

        Raises:
            InvalidValue: a file is no LoRA adapter, or is for another model.
        """
        if not adapters:
            yield
            return
        try:
            scales = {self._ready(adapter): adapter.scale for adapter in adapters}
            self._pipeline.enable_lora()
            self._pipeline.set_adapters(list(scales), list(scales.values()))
            yield
        finally:
            if self._loaded:  # a newly loaded adapter is on
                self._pipeline.disable_lora()
            self._forget(len(adapters))

    def _ready(self, adapter: Adapter) -> str:
        """Load an adapter if it is not, and return peft's name for it."""
        name = f"lora_{sha256(adapter.name.encode()).hexdigest()[:16]}"
        if name not in self._loaded:
            weights, _, _ = self._checked(adapter)
            self._load(weights, name, adapter)
            self._loaded[name] = sum(tensor.nbytes for tensor in weights.values())
        self._loaded.move_to_end(name)
        return name

    def _forget(self, used: int) -> None:
        """Unload the least recently used adapters beyond the limit, but not those just used."""
        while len(self._loaded) > used and sum(self._loaded.values()) > self._kept_bytes:
            name, _ = self._loaded.popitem(last=False)
            self._pipeline.delete_adapters([name])

    def _load(self, weights: dict[str, Any], name: str, adapter: Adapter) -> None:
        """Load checked weights by a name; a failure unloads every adapter.

        Raises:
            InvalidValue: they are for another model.
        """
        try:
            with alone(), warnings.catch_warnings():  # peft warns of every second adapter
                warnings.simplefilter("ignore", UserWarning)
                self._pipeline.load_lora_weights(weights, adapter_name=name)
        except (KeyError, RuntimeError, ValueError) as error:
            self._clear()
            raise self._unfit(adapter) from error

    def _clear(self) -> None:
        with alone():
            self._pipeline.unload_lora_weights()  # removes what was half loaded, too
        self._loaded.clear()

    def _checked(self, adapter: Adapter) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Return an adapter's weights as stored, by diffusers' names, and the alphas of its layers.

        They are checked here, because diffusers would change the model for some that do not fit.

        Raises:
            InvalidValue: the file is no LoRA adapter, or is for another model.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            check_adapter_header(adapter.path)
            weights: dict[str, Any] = load_file(adapter.path)
        except (SafetensorError, OSError, WeightsUnavailable) as error:
            raise InvalidValue(
                f"{adapter.param} is no safetensors file.", param=adapter.param, code="lora_invalid"
            ) from error
        try:
            converted = self._pipeline.lora_state_dict(dict(weights))
        except (KeyError, RuntimeError, ValueError) as error:
            raise self._unfit(adapter) from error
        pairs, alphas = converted[:2] if isinstance(converted, tuple) else (converted, None)
        if not self._fits(dict(pairs)):
            raise self._unfit(adapter)
        return weights, pairs, alphas or {}

    def _fits(self, tensors: dict[str, Any]) -> bool:
        """Whether each pair of matrices fits a layer of the model, and nothing is left over."""
        ends = [(name, end) for name in tensors for end in PAIRS if name.endswith(end)]
        for name, end in ends:
            path = name.removesuffix(end)
            down, up = tensors.pop(name), tensors.pop(path + PAIRS[end], None)
            shape = self._shape(path)
            if up is None or len(shape) < 2 or min(down.ndim, up.ndim) < 2:
                return False
            if (up.shape[0], down.shape[1], up.shape[1]) != (*shape[:2], down.shape[0]):
                return False
        return bool(ends) and not tensors

    def _shape(self, path: str) -> Sequence[int]:
        """Return the shape of a layer's weights; empty if there is no such layer."""
        part, _, rest = path.partition(".")
        try:
            layer = getattr(self._pipeline, part).get_submodule(rest)
            shape: Sequence[int] = getattr(layer, "base_layer", layer).weight.shape
        except AttributeError:
            return ()
        return shape

    def _unfit(self, adapter: Adapter) -> InvalidValue:
        return InvalidValue(
            f"{adapter.param} does not fit {self._slug}: it is no LoRA adapter, or one of another "
            "model.",
            param=adapter.param,
            code="lora_invalid",
        )
