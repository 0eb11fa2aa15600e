"""What a folder of diffusers says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from models.catalog.images import MEGAPIXEL, PAINTS
from models.catalog.parts import GB
from models.errors import RepositoryUnsuited
from models.images.diffusion.families import FAMILIES
from models.repository import weights
from models.repository.copies import Copy
from models.repository.facts import Facts
from models.repository.machine import Machine

_ENGINE = "models.images.diffusion.engine:DiffusersImages"
_DENOISERS = ("transformer", "unet")
_WORKING_BYTES = 5 * GB  # of a picture of a megapixel: the decoder's, for the most part
_WORKING_LEAST_BYTES = GB // 8
_TIMEOUT_S = 300.0
SMALL_FILES = ("*.json", "*.txt", "*.model", "*/*.json", "*/*.jinja", "*/*.txt", "*/*.model")
_FP16 = ".fp16.safetensors"
_FP16_SHARD = re.compile(r"\.fp16-\d+-of-\d+\.safetensors$")
# Of the variants (bf16, non_ema, …) the one without a name.
_PLAIN = re.compile(r"[\w-]+?(-\d+-of-\d+)?\.safetensors")
_PROMPT_TOKENS = {
    "sdxl": 77,
    "flux2-klein": 512,
    "z-image": 512,
    "flux": 256,
    "flux-dev": 512,
    "qwen-image": 1024,
}
_MOST_MEGAPIXELS = {"sdxl": 2, "qwen-image": 2}
_SIDES = {"qwen-image": 1328}
# Of models that are not distilled, and of those that are.
_USUAL = {"sdxl": (30, 5.0), "flux-dev": (28, 3.5), "qwen-image": (50, 4.0)}
_DISTILLED = {"sdxl": (4, 0.0), "flux": (4, 0.0), "flux2-klein": (4, 1.0), "z-image": (8, 0.0)}


def describe(copy: Copy, machine: Machine, facts: Facts) -> None:
    """Note what is known of a pipeline.

    Raises:
        RepositoryUnsuited: its class has no family here, or is the repository's own code, or its
            weights are missing or stored in a way that is not read here.
    """
    index = copy.json("model_index.json")
    family = family_of(copy, index)
    side = say_family(copy, family, "model_index.json: _class_name", facts)
    _say_sizes(copy, index, side, machine, facts)


def say_family(copy: Copy, family: str, source: str, facts: Facts) -> int:
    """Note what follows from a family, and from a pipeline's configurations.

    Returns:
        The side of a picture whose size no request names, in pixels.
    """
    facts.say("surface", "images", source.partition(":")[0])
    facts.say("tasks", PAINTS, source)
    facts.say("engine", _ENGINE, source)
    facts.say("options.family", family, source)
    facts.say("options.prompt_tokens", _PROMPT_TOKENS[family], f"the family {family}")
    most = _MOST_MEGAPIXELS.get(family, 4) * MEGAPIXEL
    facts.say("options.most_pixels", most, f"the family {family}")
    facts.say("timeout_s", _TIMEOUT_S, "ours, for images")
    return _say_defaults(copy, family, facts)


def family_of(copy: Copy, index: Mapping[str, Any]) -> str:
    """Return the family of a pipeline.

    Raises:
        RepositoryUnsuited: it has none here, or is the repository's own code.
    """
    name = index.get("_class_name")
    if not isinstance(name, str):
        raise RepositoryUnsuited(
            f"model_index.json names {name!r}, which is code of the repository; it is not run here."
        )
    known: dict[str, str] = {}
    for family, each in FAMILIES.items():
        known |= {pipeline: known.get(pipeline, family) for pipeline in each.pipelines.values()}
    if name not in known:
        raise RepositoryUnsuited(
            f"model_index.json names {name}; pipelines that are served: {', '.join(known)}."
        )
    guided = copy.json("transformer/config.json").get("guidance_embeds")
    return "flux-dev" if known[name] == "flux" and guided else known[name]


def _say_defaults(copy: Copy, family: str, facts: Facts) -> int:
    """Note the size, steps and guidance of a request that names none; return the side in pixels."""
    scheduler = "scheduler/scheduler_config.json"
    unet = copy.json("unet/config.json")
    side, source = _SIDES.get(family, 1024), f"the family {family}"
    if unet.get("sample_size"):
        blocks = copy.json("vae/config.json").get("block_out_channels") or [0] * 4
        side = int(unet["sample_size"]) * 2 ** (len(blocks) - 1)
        source = "unet/config.json: sample_size"
    facts.say("defaults.size", f"{side}x{side}", source)
    distilled = family not in _USUAL
    source = f"the family {family}"
    if family == "sdxl" and copy.json(scheduler).get("timestep_spacing") == "trailing":
        distilled, source = True, f"{scheduler}: timestep_spacing"
    steps, guidance = (_DISTILLED if distilled else _USUAL)[family]
    facts.say("defaults.steps", steps, source)
    facts.say("defaults.guidance", guidance, source)
    return side


def _say_sizes(
    copy: Copy, index: Mapping[str, Any], side: int, machine: Machine, facts: Facts
) -> None:
    """Note the files and the memory: of all parts, of the largest, of the one that denoises."""
    parts = {name: part_files(copy, name) for name in weighty(index)}
    chosen = [file for files in parts.values() for file in files]
    half = any(_FP16 in file for file in chosen)
    sizes = {name: sum(copy.sizes[file] for file in files) for name, files in parts.items()}
    source = "the engine" + ("; in half precision where there is such a file" if half else "")
    facts.say("files", (*SMALL_FILES, *chosen), source)
    facts.say("weights_bytes", sum(sizes.values()), "the sizes of the parts' safetensors")
    if max(sizes.values(), default=0) == 0:
        raise weights.refuse_without(copy, "a pipeline")
    wide = 2 if machine.kind == "cpu" and half else 1  # a CPU computes in float32
    say_memory(sizes, wide, side, facts)
    stored = copy.json("transformer/config.json").get("quantization_config")
    if not stored:
        say_quantisable(sizes, facts)


def say_memory(sizes: Mapping[str, int], wide: int, side: int, facts: Facts) -> None:
    """Note the memory of parts, in bytes by name, of which each is ``wide`` times as large here."""
    working = max(_WORKING_LEAST_BYTES, int(_WORKING_BYTES * side * side / MEGAPIXEL))
    total = sum(sizes.values()) * wide
    facts.say("memory_bytes", total + working, f"weights, and a picture of {side}x{side}")
    offloaded = max(sizes.values()) + working
    facts.say("options.offloaded_bytes", offloaded, "the largest part, and a picture")


def say_quantisable(sizes: Mapping[str, int], facts: Facts) -> None:
    """Note the sizes of the parts that can be quantised, and kept in RAM."""
    denoiser = next((sizes[name] for name in _DENOISERS if name in sizes), 0)
    facts.say("options.denoiser_bytes", denoiser, "the size of the part that denoises")
    others = [size for name, size in sizes.items() if name not in _DENOISERS]
    facts.say("options.encoder_bytes", max(others, default=0), "the largest other part")


def weighty(index: Mapping[str, Any]) -> list[str]:
    """Return the parts of a pipeline that have weights."""
    named = {name: part for name, part in index.items() if isinstance(part, list) and part[0]}
    words = ("Tokenizer", "Scheduler", "Processor", "FeatureExtractor")
    return [name for name, part in named.items() if not any(word in part[1] for word in words)]


def part_files(copy: Copy, name: str) -> list[str]:
    """Return the weights' files of a part: in half precision if there are such.

    Raises:
        RepositoryUnsuited: it has none, or they are stored in a way that is not read here.
    """
    stored = copy.json(f"{name}/config.json").get("quantization_config") or {}
    method = stored.get("quant_method")
    if stored and method != "sdnq":
        raise RepositoryUnsuited(
            f"{name} is stored as {method}; of quantised parts, sdnq int8 is read here."
        )
    all_of_it = weights.named(copy, [f"{name}/*.safetensors"])
    half = [file for file in all_of_it if _FP16 in file or _FP16_SHARD.search(file)]
    chosen_files = half or [file for file in all_of_it if _PLAIN.fullmatch(file.rpartition("/")[2])]
    if not chosen_files:
        if weights.named(copy, [f"{name}/*.bin", f"{name}/*.ckpt", f"{name}/*.pt"]):
            raise RepositoryUnsuited(
                f"The weights of {name} are pickles, which can hold code; save them as safetensors."
            )
        raise RepositoryUnsuited(f"The weights of {name} are missing; fetch the repository again.")
    return chosen_files
