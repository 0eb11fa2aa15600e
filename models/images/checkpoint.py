"""In which way a checkpoint's weights are stored, told from its header, and how they are read.

plain     floating point throughout
sdnq      ``X.weight`` in int8 and ``X.scale`` of shape (out, 1) (github.com/Disty0/sdnq)
quanto    ``X.weight._data`` in int8 and ``X.weight._scale`` (optimum-quanto's qint8)
comfy     ``X.weight`` in int8 and ``X.weight_scale`` (ComfyUI's int8; one scale, or one a row)

Of what is stored in other ways, the way is named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import WeightsUnavailable
from models.weights.header import Header, read_header

if TYPE_CHECKING:
    import torch

_FLOATS = frozenset({"F16", "BF16", "F32", "F64"})
_FLOAT8 = frozenset({"F8_E4M3", "F8_E5M2"})


@dataclass(frozen=True)
class Layout:
    """A way to store a linear layer: what is behind its name for the weight and for its scale."""

    name: str
    weight: str
    scale: str

    def scale_of(self, name: str) -> str | None:
        """The name of the scale that belongs to a weight's; None where it is not this layout's."""
        stem = name.removesuffix(self.weight)
        return None if stem == name else stem + self.scale


SDNQ = Layout("sdnq", ".weight", ".scale")
QUANTO = Layout("quanto", ".weight._data", ".weight._scale")
COMFY = Layout("comfy", ".weight", ".weight_scale")
_BESIDE = (".input_scale", ".output_scale", ".comfy_quant")  # of activations


def layout_of(header: Header) -> Layout | None:
    """How the file's linear layers are stored; None = plainly.

    Raises:
        WeightsUnavailable: in a way that is not read here; the message names it.
    """
    eight = [name for name, one in header.tensors.items() if one.dtype == "I8"]
    if not eight:
        _check_plain(header)
        return None
    for layout in (QUANTO, SDNQ, COMFY):
        if all(layout.scale_of(name) in header.tensors for name in eight):
            if layout is COMFY and _is_rotated(header):
                raise _refused("ComfyUI's int8 with rotated weights (convrot)")
            return layout
    raise _refused(f"int8 of an unknown kind ({eight[0]})")


def _check_plain(header: Header) -> None:
    types = {one.dtype for one in header.tensors.values()}
    if types & _FLOAT8:
        raise _refused("fp8")
    packed = [
        name for name, one in header.tensors.items() if one.dtype == "U8" and len(one.shape) > 1
    ]
    if packed:
        raise _refused(f"four bits, or another packed form ({packed[0]})")
    if not types & _FLOATS:
        raise _refused(f"{', '.join(sorted(types)) or 'nothing'}")


def _is_rotated(header: Header) -> bool:
    said = " ".join(str(one) for one in header.metadata.values())
    return "convrot" in said or any("convrot" in name for name in header.tensors)


def _refused(way: str) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"The checkpoint is stored as {way}; plain floats and the int8 of quanto, SDNQ and ComfyUI "
        "are read."
    )


def fill(
    model: Any, weights: Mapping[str, torch.Tensor], layout: Layout | None, dtype: torch.dtype
) -> Any:
    """Give a model its weights; layers that are stored in eight bits stay so.

    Args:
        model: without weights of its own, or with others.
        weights: by the model's own names, in the layout's way.
        layout: as ``layout_of`` says.
        dtype: what is not stored in eight bits is computed in.

    Raises:
        WeightsUnavailable: some are missing, or belong to nothing; the message names them.
    """
    from models.images.int8 import Int8Linear

    left = {name: one for name, one in weights.items() if not name.endswith(_BESIDE)}
    if layout is not None:
        suffix = layout.scale
        for stem in [name.removesuffix(suffix) for name in left if name.endswith(suffix)]:
            weight, scale = left.pop(f"{stem}{layout.weight}"), left.pop(f"{stem}{suffix}")
            bias = left.pop(f"{stem}.bias", None)
            scale = scale.float().reshape(-1, 1).expand(len(weight), 1).contiguous()
            bias = None if bias is None else bias.to(dtype)
            model.set_submodule(stem, Int8Linear(weight, scale, bias))
    whole = {name: one.to(dtype) for name, one in left.items()}
    missing, unexpected = model.load_state_dict(whole, strict=False, assign=True)
    missing = [one for one in missing if not isinstance(_owner(model, one), Int8Linear)]
    if missing or unexpected:
        raise WeightsUnavailable(
            f"The checkpoint is of another model: missing {_some(missing)}; unexpected "
            f"{_some(unexpected)}."
        )
    return model.eval().requires_grad_(False)


# LTX-2.3's names and diffusers', the longer ones first: a name may hold another.
_LTX_PREFIX = "model.diffusion_model."
_LTX_NAMES = {
    "av_ca_video_scale_shift_adaln_single": "av_cross_attn_video_scale_shift",
    "av_ca_audio_scale_shift_adaln_single": "av_cross_attn_audio_scale_shift",
    "av_ca_a2v_gate_adaln_single": "av_cross_attn_video_a2v_gate",
    "av_ca_v2a_gate_adaln_single": "av_cross_attn_audio_v2a_gate",
    "scale_shift_table_a2v_ca_video": "video_a2v_cross_attn_scale_shift_table",
    "scale_shift_table_a2v_ca_audio": "audio_a2v_cross_attn_scale_shift_table",
    "prompt_adaln_single": "prompt_adaln",  # of both modalities, as the next one
    "adaln_single": "time_embed",
    "patchify_proj": "proj_in",
    "q_norm": "norm_q",
    "k_norm": "norm_k",
}
_LTX_OTHERS = ("video_embeddings_connector.", "audio_embeddings_connector.")


def ltx_transformer(file: Path, folder: Path, dtype: torch.dtype) -> Any:
    """The transformer of an LTX-2.3 checkpoint in one file; its other parts are left alone.

    Args:
        file: in Lightricks' names, stored in any of the ways above.
        folder: a pipeline's, with the transformer's configuration.
        dtype: what is not stored in eight bits is computed in.

    Raises:
        WeightsUnavailable: the file is broken, of another model, or stored in another way.
    """
    from diffusers import LTX2VideoTransformer3DModel
    from safetensors import safe_open

    layout = layout_of(read_header(file))
    config = json.loads((folder / "transformer/config.json").read_text())
    weights: dict[str, torch.Tensor] = {}
    with safe_open(file, framework="pt") as stored:
        names = list(stored.keys())
        prefix = _LTX_PREFIX if any(one.startswith(_LTX_PREFIX) for one in names) else ""
        for name in names:
            own = name.removeprefix(prefix)
            if name.startswith(prefix) and not own.startswith(_LTX_OTHERS):
                weights[_renamed(own)] = stored.get_tensor(name)
    return fill(_empty(LTX2VideoTransformer3DModel, "diffusers", config), weights, layout, dtype)


def _renamed(name: str) -> str:
    for theirs, ours in _LTX_NAMES.items():
        name = name.replace(theirs, ours)
    return name


# Options that would have the weights mean something else, and what they are where nothing is done.
_PLAIN = {
    "group_size": 0, "use_svd": False, "use_hadamard": False, "use_codebook": False,
    "is_unsigned": False, "quant_conv": False, "quant_embedding": False, "zero_point_dtype": None,
}  # fmt: skip


def parts(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """The parts of a pipeline's folder that SDNQ has stored in eight bits, by their names.

    Raises:
        ValueError: with options that are not read here.
        WeightsUnavailable: some are missing, or belong to nothing.
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
            found[name] = fill(empty, _read(folder / name), SDNQ, dtype)
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


def _read(folder: Path) -> dict[str, torch.Tensor]:
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
