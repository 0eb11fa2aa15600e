"""Load a pipeline of a checkpoint in one file, with the parts that it lacks beside it."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from models.errors import ModelLoadFailed


def load(name: str, folder: Path, file: str, dtype: Any) -> Any:
    """Return a pipeline; nothing is fetched for it.

    Args:
        name: diffusers' class.
        folder: with configurations and tokenizers as a pipeline's, and the parts that the file
            lacks.
        file: the checkpoint's name in the folder, with the tensor names of the model's authors.
        dtype: torch's, of the weights.

    Raises:
        ModelLoadFailed: weights are missing in both.
    """
    import diffusers
    from diffusers.loaders.single_file_utils import SingleFileComponentError

    try:
        pipeline = getattr(diffusers, name).from_single_file(
            str(folder / file),
            config=str(folder),
            local_files_only=True,
            dtype=dtype,
            **_parts(folder, dtype),
        )
    except SingleFileComponentError as error:
        first = str(error).strip().partition("\n")[0]
        raise ModelLoadFailed(f"{file} lacks a part of {name}: {first}") from None
    for part, model in pipeline.components.items():
        empty = [key for key, value in getattr(model, "named_parameters", list)() if value.is_meta]
        if empty:
            raise ModelLoadFailed(f"{file} lacks {len(empty)} weights of {part}, as {empty[0]}.")
    return pipeline


def _parts(folder: Path, dtype: Any) -> dict[str, Any]:
    """Load the parts that have weights of their own in the folder."""
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    loaded: dict[str, Any] = {}
    for part in sorted({file.parent.name for file in folder.glob("*/*.safetensors")}):
        library, name = index[part]
        half = next((folder / part).glob("*.fp16*.safetensors"), None)
        loaded[part] = getattr(import_module(library), name).from_pretrained(
            folder / part,
            dtype=dtype,
            local_files_only=True,
            variant="fp16" if half else None,
        )
    return loaded
