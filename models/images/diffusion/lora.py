"""LoRA adapters of one request: switched on for it, and off after it."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from models.errors import InvalidValue
from models.images.request import Adapter

# Of a layer's pair of matrices, in the two ways that adapters are written.
PAIRS = {".lora_A.weight": ".lora_B.weight", ".lora.down.weight": ".lora.up.weight"}


class Adapters:
    """The adapters of a pipeline; those used last stay loaded.

    Args:
        pipeline: that they are of; its parts are what every task shares.
        slug: the model's, for errors.
        kept_bytes: how large those that stay may be together.
    """

    def __init__(self, pipeline: Any, slug: str, kept_bytes: int) -> None:
        self._pipeline = pipeline
        self._slug = slug
        self._kept_bytes = kept_bytes
        self._loaded: OrderedDict[str, int] = OrderedDict()  # their bytes, by their names here

    @contextmanager
    def on(self, adapters: Sequence[Adapter]) -> Iterator[None]:
        """Switch adapters on in the block; after it the model is what it was, bit by bit.

        Raises:
            InvalidValue: one of them is none, or of another model.
        """
        if not adapters:
            yield
            return
        try:
            scales = {self._ready(one): one.scale for one in adapters}
            self._pipeline.enable_lora()
            self._pipeline.set_adapters(list(scales), list(scales.values()))
            yield
        finally:
            if self._loaded:  # one that is loaded is on
                self._pipeline.disable_lora()
            self._forget(len(adapters))

    def _ready(self, adapter: Adapter) -> str:
        """Its name here, once it is loaded."""
        name = f"lora_{sha256(adapter.name.encode()).hexdigest()[:16]}"
        if name not in self._loaded:
            weights = self._read(adapter)
            try:
                with warnings.catch_warnings():  # peft's, of every adapter beside another
                    warnings.simplefilter("ignore", UserWarning)
                    self._pipeline.load_lora_weights(weights, adapter_name=name)
            except (KeyError, RuntimeError, ValueError) as error:
                self._pipeline.unload_lora_weights()  # and whatever it has done half
                self._loaded.clear()
                raise self._unfit(adapter) from error
            self._loaded[name] = sum(one.nbytes for one in weights.values())
        self._loaded.move_to_end(name)
        return name

    def _forget(self, used: int) -> None:
        """Let the least recently used ones go; those just used stay."""
        while len(self._loaded) > used and sum(self._loaded.values()) > self._kept_bytes:
            name, _ = self._loaded.popitem(last=False)
            self._pipeline.delete_adapters([name])

    def _read(self, adapter: Adapter) -> dict[str, Any]:
        """Its weights, known to fit."""
        return self._known(adapter)[0]

    def _known(self, adapter: Adapter) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Its weights as they are, as diffusers names them, and what scales which of them.

        They are known to fit: diffusers would change the model for some that do not.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            weights: dict[str, Any] = load_file(adapter.path)
        except (SafetensorError, OSError) as error:
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
        """Whether there is a layer of its shape for each pair of matrices, and nothing else."""
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
        """Of the weights of a layer; empty where there is none."""
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
