"""Models with int8 weights: layers that a checkpoint stores in eight bits stay in eight bits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import WeightsUnavailable
from models.weights.layout import SDNQ, Layout

if TYPE_CHECKING:
    import torch

_ACTIVATIONS = (".input_scale", ".output_scale", ".comfy_quant")  # suffixes that are ignored

# SDNQ's options that change what the weights mean, with the values that change nothing.
_PLAIN = {
    "group_size": 0, "use_svd": False, "use_hadamard": False, "use_codebook": False,
    "is_unsigned": False, "quant_conv": False, "quant_embedding": False, "zero_point_dtype": None,
}  # fmt: skip


def fill(
    model: Any, weights: Mapping[str, torch.Tensor], layout: Layout | None, dtype: torch.dtype
) -> Any:
    """Load weights into a model; layers that are stored in eight bits become ``Int8Linear``.

    Args:
        model: with meta tensors, or with weights that are replaced.
        weights: by the model's own parameter names, with the layout's suffixes.
        layout: as ``models.weights.layout.layout_of`` returns it.
        dtype: of everything that is not stored in eight bits.

    Raises:
        WeightsUnavailable: some weights are missing or unexpected; the message names them.
    """
    from models.pipelines.int8 import Int8Linear

    left = {name: value for name, value in weights.items() if not name.endswith(_ACTIVATIONS)}
    if layout is not None:
        suffix = layout.scale
        for stem in [name.removesuffix(suffix) for name in left if name.endswith(suffix)]:
            weight, scale = left.pop(f"{stem}{layout.weight}"), left.pop(f"{stem}{suffix}")
            bias = left.pop(f"{stem}.bias", None)
            scale = scale.float().reshape(-1, 1).expand(len(weight), 1).contiguous()
            bias = None if bias is None else bias.to(dtype)
            model.set_submodule(stem, Int8Linear(weight, scale, bias))
    floats = {name: value.to(dtype) for name, value in left.items()}
    missing, unexpected = model.load_state_dict(floats, strict=False, assign=True)
    missing = [name for name in missing if not isinstance(_owner(model, name), Int8Linear)]
    if missing or unexpected:
        raise WeightsUnavailable(
            f"The checkpoint is of another model: missing {_some(missing)}; unexpected "
            f"{_some(unexpected)}."
        )
    return model.eval().requires_grad_(False)


def empty(model_class: Any, library: str, config: dict[str, Any]) -> Any:
    """Return a model whose parameters are meta tensors; its buffers are real.

    Args:
        model_class: of transformers or diffusers.
        library: ``transformers`` or ``diffusers``.
        config: as the model's config.json holds it.
    """
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        if library == "transformers":
            return model_class(model_class.config_class(**config))
        return model_class.from_config(config)


def parts(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """Load the parts of a pipeline's folder that SDNQ has stored in eight bits, by name.

    Raises:
        ValueError: a part uses quantisation options that are not supported.
        WeightsUnavailable: some weights are missing or unexpected.
    """
    index = json.loads((folder / "model_index.json").read_text())
    loaded = {}
    for name, value in index.items():
        if not isinstance(value, list):
            continue
        library, class_name = value
        path = folder / name / "config.json"
        config = json.loads(path.read_text()) if path.is_file() else {}
        quantization = config.pop("quantization_config", None)
        if quantization is not None:
            _check(name, quantization)
            model = empty(getattr(import_module(library), class_name), library, config)
            loaded[name] = fill(model, _weights(folder / name), SDNQ, dtype)
    return loaded


def _check(name: str, quantization: dict[str, Any]) -> None:
    method, kind = quantization.get("quant_method"), quantization.get("weights_dtype")
    if (method, kind) != ("sdnq", "int8"):
        raise ValueError(f"{name} is stored as {method} {kind}; of such, sdnq int8 is read")
    for option, plain in _PLAIN.items():
        if quantization.get(option, plain) != plain:
            raise ValueError(f"{name} is stored with {option} = {quantization[option]}")


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    weights: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights |= load_file(file)
    return weights


def _owner(model: Any, name: str) -> Any:
    return model.get_submodule(name.rpartition(".")[0])


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "nothing"
