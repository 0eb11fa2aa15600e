"""What a checkpoint in one file says of itself, and the pipeline that has the parts it lacks.

The tensors' names are those of the models' authors (Stability AI's for SDXL, Black Forest Labs' for
Flux), which ComfyUI and others keep. Configurations, tokenizers and parts that the file lacks come
from a pipeline of the same family: MODEL_BASE, or the catalog's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from models.catalog import images as catalog
from models.errors import RepositoryUnsuited, WeightsUnavailable
from models.repository import address as addresses
from models.repository import checkpoints, copies, images
from models.repository.address import Address
from models.repository.checkpoints import Checkpoint
from models.repository.copies import Copy
from models.repository.facts import Facts
from models.repository.machine import Machine
from models.weights.header import Header
from models.weights.layout import layout_of
from models.weights.places import Places

_UNET = "model.diffusion_model."
_FLUX = ("double_blocks.", "single_blocks.", "img_in.", "txt_in.", "time_in.", "vector_in.",
         "guidance_in.", "final_layer.")  # fmt: skip
_VAE = ("first_stage_model.", "vae.")
# The beginnings of the names of each part's tensors.
_PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "sdxl": {
        "unet": (_UNET,),
        "vae": _VAE,
        "text_encoder": ("conditioner.embedders.0.",),
        "text_encoder_2": ("conditioner.embedders.1.",),
    },
    "flux": {
        "transformer": (_UNET, *_FLUX),
        "vae": _VAE,
        "text_encoder": ("text_encoders.clip_l.",),
        "text_encoder_2": ("text_encoders.t5xxl.",),
    },
}
_PARTS["flux-dev"] = _PARTS["flux"]
_FLUX_MARK = "double_blocks.0.img_attn.norm.key_norm.scale"
_SDXL_MARK = "label_emb.0.0.weight"
_OTHERS = {
    "cond_stage_model.": "Stable Diffusion 1 or 2",
    "joint_blocks.": "Stable Diffusion 3",
    "transformer_blocks.": "one part alone, in the form of diffusers",
    "down_blocks.": "one part alone, in the form of diffusers",
    "layers.0.adaLN_modulation.": "Z-Image",
    "distilled_guidance_layer.": "Chroma",
    "single_stream_modulation.": "Flux 2",
}
_LORA = (".lora_down.", ".lora_up.", ".lora_A.", ".lora_B.", "lora_unet_", "lora_te")
_SERVED = "checkpoints of SDXL and of Flux.1 are"
_PICTURE_CHANNELS = {"sdxl": 4, "flux": 64, "flux-dev": 64}  # of what is denoised, and nothing else


def describe(
    address: Address, places: Places, machine: Machine, facts: Facts
) -> tuple[str | None, bool]:
    """Note what is known of a checkpoint in one file.

    Returns:
        Its licence, None if it says none, and whether the hub asks for an accepted one.

    Raises:
        RepositoryUnsuited: it is of no family that is served so, or MODEL_BASE does not fit it.
        WeightsUnavailable, WeightsGated: it, or the pipeline with the other parts, cannot be read.
    """
    checkpoint = checkpoints.find(address, places)
    header = checkpoint.header
    family = family_of(header)
    try:
        if layout_of(header) is not None:
            raise WeightsUnavailable("It is stored in eight bits; only plain floats are read here.")
    except WeightsUnavailable as error:
        raise RepositoryUnsuited(error.message) from None
    base = _base(checkpoint, family, machine, places)
    _check_base(base, family, header)
    side = images.say_family(base, family, "the names of its tensors", facts)
    facts.say("options.checkpoint", checkpoint.name, "its name")
    pinned = checkpoint.weights if checkpoint.together else f"{checkpoint.weights} + {base.weights}"
    facts.say("weights", pinned, f"{checkpoint.where}; other parts: {base.where}")
    _say_sizes(checkpoint, base, _PARTS[family], side, machine, facts)
    return checkpoint.licence, checkpoint.gated or base.gated


def family_of(header: Header) -> str:
    """Return the family of a checkpoint.

    Raises:
        RepositoryUnsuited: it has none here.
    """
    names = header.tensors
    bare = {name.removeprefix(_UNET): name for name in names}
    if any(mark in name for name in names for mark in _LORA):
        raise RepositoryUnsuited(
            "It is a LoRA: set MODEL to its base model, and allow this one in LORA_ALLOW."
        )
    other = next((kind for mark, kind in _OTHERS.items() if _begins(bare, mark)), None)
    first = bare.get("input_blocks.0.0.weight")
    if _FLUX_MARK in bare and other is None:
        family = "flux-dev" if "guidance_in.in_layer.weight" in bare else "flux"
        first = bare.get("img_in.weight")
    elif first is not None and _SDXL_MARK in bare and _begins(names, "conditioner.embedders.1."):
        family = "sdxl"
    else:
        kind = other or ("SDXL's refiner" if _SDXL_MARK in bare else "an unknown model")
        raise RepositoryUnsuited(f"The file is of {kind}; of single files, {_SERVED} served.")
    channels = names[first].shape[1] if first and len(names[first].shape) > 1 else 0
    if channels != _PICTURE_CHANNELS[family]:
        raise RepositoryUnsuited(
            f"The file's model reads {channels} channels, not {_PICTURE_CHANNELS[family]}: it "
            f"fills in or follows pictures; of single files, plain {_SERVED} served."
        )
    if "edm_mean" in names:
        raise RepositoryUnsuited(f"The file is of Playground; of single files, {_SERVED} served.")
    return family


def _begins(names: Mapping[str, object], mark: str) -> bool:
    return any(name.startswith(mark) for name in names)


def _base(checkpoint: Checkpoint, family: str, machine: Machine, places: Places) -> Copy:
    """Return the pipeline that has the configurations and the parts that the file lacks."""
    if checkpoint.together is not None:
        return copies.in_folder(checkpoint.together, "", "put together already")
    given = machine.base
    if given is None:
        row = next(row for row in catalog.ROWS if row.options.get("family") == family)
        given = row.weights
    try:
        return copies.find(addresses.parse(given), places)
    except WeightsUnavailable as error:
        raise type(error)(
            f"The parts that the file lacks come from {given}. {error.message} Or set MODEL_BASE "
            "to a folder with a pipeline of this family."
        ) from None


def _check_base(base: Copy, family: str, header: Header) -> None:
    """See that a pipeline is of a checkpoint's family, and computes as that was trained."""
    index = base.json("model_index.json")
    if not index:
        raise RepositoryUnsuited(f"MODEL_BASE: {base.weights} is no pipeline (model_index.json).")
    theirs = images.family_of(base, index)
    if theirs != family:
        raise RepositoryUnsuited(
            f"The file is of the family {family}, and MODEL_BASE, {base.weights}, of {theirs}."
        )
    trained = base.json("scheduler/scheduler_config.json").get("prediction_type")
    if "v_pred" in header.tensors and trained != "v_prediction":
        raise RepositoryUnsuited(
            "The checkpoint predicts velocities (v_pred): set MODEL_BASE to a pipeline whose "
            "scheduler has the prediction_type v_prediction."
        )


def _say_sizes(
    checkpoint: Checkpoint,
    base: Copy,
    prefixes: Mapping[str, tuple[str, ...]],
    side: int,
    machine: Machine,
    facts: Facts,
) -> None:
    """Note the files and the memory: of the parts in the file, and of those from elsewhere."""
    width = 4 if machine.kind == "cpu" else 2
    sizes: dict[str, int] = {}
    files: list[str] = []
    for part in images.weighty(base.json("model_index.json")):
        own = _loaded_bytes(checkpoint.header, prefixes.get(part, ()), width)
        if own:
            sizes[part] = own
            continue
        named = images.part_files(base, part)
        files += named
        stored = sum(base.sizes[name] for name in named)
        sizes[part] = stored * width // 2  # pipelines are stored in half precision
    if files:
        others = sorted({str(Path(name).parent) for name in files})
        facts.notes.append(f"the file lacks {', '.join(others)}: they come from {base.where}")
    total = checkpoint.header.size_bytes + sum(base.sizes[name] for name in files)
    facts.say("files", (*images.SMALL_FILES, *files, checkpoint.name), "the tensors of the file")
    facts.say("weights_bytes", total, "the size of the file, and of the parts that it lacks")
    images.say_memory(sizes, 1, side, facts)
    images.say_quantisable(sizes, facts)


def _loaded_bytes(header: Header, prefixes: tuple[str, ...], width: int) -> int:
    """Return the memory of the tensors whose names begin in one of some ways."""
    total = 0
    for name, tensor in header.tensors.items():
        if name.startswith(prefixes):
            count = 1
            for side in tensor.shape:
                count *= side
            total += count * width
    return total
