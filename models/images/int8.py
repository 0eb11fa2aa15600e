"""Weights of eight bits: linear layers with a scale for each row.

As SDNQ writes them without its further options: ``X.weight`` in int8, ``X.scale`` of shape (out,
1), and the bias as it was (github.com/Disty0/sdnq). What is not a linear layer is plain.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

# Options that would have the weights mean something else, and what they are where nothing is done.
_PLAIN = {
    "group_size": 0, "use_svd": False, "use_hadamard": False, "use_codebook": False,
    "is_unsigned": False, "quant_conv": False, "quant_embedding": False, "zero_point_dtype": None,
}  # fmt: skip


class Int8Linear(nn.Linear):  # type: ignore[misc]  # torch is not read by mypy
    """A linear layer whose weights are made whole for each use.

    Args:
        weight: int8, shape (out, in).
        scale: float32, shape (out, 1).
        bias: shape (out,), None without one.
    """

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: Any = None) -> None:
        nn.Module.__init__(self)  # a layer that adapters know, without the weights that it makes
        self.out_features, self.in_features = weight.shape
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.register_buffer("scale", scale)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (…, in) to (…, out)."""
        weight = (self.weight.to(self.scale.dtype) * self.scale).to(x.dtype)
        return nn.functional.linear(x, weight, self.bias)


def quantise(model: Any) -> None:
    """Store the linear layers of a model in eight bits, each row by its largest weight."""
    for name, layer in [one for one in model.named_modules() if type(one[1]) is nn.Linear]:
        weight = layer.weight.detach()
        scale = weight.float().abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
        rounded = (weight.float() / scale).round().to(torch.int8)
        bias = None if layer.bias is None else layer.bias.detach()
        model.set_submodule(name, Int8Linear(rounded, scale, bias))


def parts(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """The parts of a pipeline's folder that are stored in eight bits, by their names.

    Raises:
        ValueError: they are stored in another way than this.
    """
    index = json.loads((folder / "model_index.json").read_text())
    found = {}
    for name, (library, made) in (item for item in index.items() if isinstance(item[1], list)):
        path = folder / name / "config.json"
        config = json.loads(path.read_text()) if path.is_file() else {}
        quantised = config.pop("quantization_config", None)
        if quantised is not None:
            _check(name, quantised)
            empty = _empty(getattr(import_module(library), made), library, config)
            found[name] = _filled(empty, folder / name, dtype)
    return found


def _check(name: str, quantised: dict[str, Any]) -> None:
    method, kind = quantised.get("quant_method"), quantised.get("weights_dtype")
    if (method, kind) != ("sdnq", "int8"):
        raise ValueError(f"{name} is stored as {method} {kind}; of such, sdnq int8 is read")
    for option, plain in _PLAIN.items():
        if quantised.get(option, plain) != plain:
            raise ValueError(f"{name} is stored with {option} = {quantised[option]}")


def _empty(made: Any, library: str, config: dict[str, Any]) -> Any:
    """A model without weights; its buffers are there."""
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        if library == "transformers":
            return made(made.config_class(**config))
        return made.from_config(config)


def _filled(model: Any, folder: Path, dtype: torch.dtype) -> Any:
    from safetensors.torch import load_file

    weights: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights |= load_file(file)
    for name in [key.removesuffix(".scale") for key in weights if key.endswith(".scale")]:
        weight, scale = weights.pop(f"{name}.weight"), weights.pop(f"{name}.scale").float()
        bias = weights.pop(f"{name}.bias", None)
        if weight.dtype != torch.int8 or scale.shape != (len(weight), 1):
            raise ValueError(f"{name} is {weight.dtype} with a scale of {tuple(scale.shape)}")
        bias = None if bias is None else bias.to(dtype)
        model.set_submodule(name, Int8Linear(weight, scale, bias))
    whole = {name: value.to(dtype) for name, value in weights.items()}
    missing, unexpected = model.load_state_dict(whole, strict=False, assign=True)
    missing = [name for name in missing if not isinstance(_owner(model, name), Int8Linear)]
    if missing or unexpected:
        raise ValueError(f"missing: {missing[:5]}; unexpected: {unexpected[:5]}")
    return model.eval().requires_grad_(False)


def _owner(model: Any, name: str) -> Any:
    return model.get_submodule(name.rpartition(".")[0])
