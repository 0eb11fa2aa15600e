"""The variables that name the endpoint's models."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

from handler.contract import SURFACES
from handler.settings.variable import split, variable

_IMAGE_TAG = re.compile(r"(hf|gh)://[\w.-]+/[\w.-]+@[\w./-]+(#.+)?")


class ModelVariables(BaseModel):
    """Which surfaces and models the endpoint serves."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    surface: tuple[str, ...] = variable(
        "SURFACE",
        f"The surfaces to serve, comma-separated: {', '.join(SURFACES)}. Unset or `all`: the "
        "configured model's surface, else all of them.",
        (),
    )
    model_slug: str | None = variable("MODEL_SLUG", "The model that this endpoint serves.")
    model: str | None = variable(
        "MODEL",
        "The model to serve: a slug of the catalog, `owner/name`, `owner/name@revision`, "
        "`hf://owner/name@revision`, `file:///folder`, `s3://bucket/folder`, `https://host/folder` "
        "or, for images, one `.safetensors` file. A model that the catalog does not have is "
        "described by its own files.",
    )
    model_revision: str | None = variable(
        "MODEL_REVISION",
        "The branch, tag or commit of MODEL, if MODEL names none. Unset: the main branch, "
        "resolved to its commit once, at the start.",
        pattern=r"^[\w./-]+$",
    )
    models: str | None = variable(
        "MODELS",
        "Several models, comma-separated: `slug=owner/name@revision`, `slug=file:///folder` or an "
        "address alone. The first of each task is its default.",
    )
    model_row: Path | None = variable(
        "MODEL_ROW",
        "A file in TOML or YAML with values of the models' rows, which replace what their files "
        "say.",
    )
    model_base: str | None = variable(
        "MODEL_BASE",
        "The pipeline, `owner/name@revision` or `file:///folder`, with the configuration and the "
        "parts that a single file of MODEL lacks. Unset: the catalog's SDXL or Flux.",
    )
    model_folders: tuple[Path, ...] = variable(
        "MODEL_FOLDERS",
        "The folders that `file://` addresses may be in, comma-separated. Unset: any.",
        (),
    )
    trust_remote_code: bool = variable(
        "TRUST_REMOTE_CODE",
        "Run the code of the repositories that MODEL and MODELS name, if a model needs it.",
        False,
    )
    baked_model: str | None = variable(
        "BAKED_MODEL",
        "The model whose weights are in the image. The image sets it from the build argument "
        "MODEL. It is its surface's default unless another variable names a model.",
    )
    model_tasks: tuple[str, ...] = variable(
        "MODEL_TASKS", "The model's tasks, comma-separated (txt2img, txt2embedding, …).", ()
    )
    model_huggingface_model: str | None = variable(
        "MODEL_HUGGINGFACE_MODEL",
        "The model's repository id; names the model if MODEL_SLUG is unset.",
    )
    huggingface_model: str | None = variable(
        "HUGGINGFACE_MODEL", "The older name of MODEL_HUGGINGFACE_MODEL."
    )
    model_open_source_repo: str | None = variable(
        "MODEL_OPEN_SOURCE_REPO", "The repository id of the pinned weights."
    )
    model_open_source_revision: str | None = variable(
        "MODEL_OPEN_SOURCE_REVISION",
        "The revision to serve, if the repository is the catalog's.",
        pattern=r"^[\w./-]+$",
    )
    model_open_source_image_tag: str | None = variable(
        "MODEL_OPEN_SOURCE_IMAGE_TAG",
        "Repository and revision: `hf://repo@revision#file` or `gh://repo@tag#file`.",
    )
    max_batch_size: int = variable(
        "MODEL_MAX_BATCH_SIZE",
        "The largest number of jobs in one run; 1 = jobs never share a run.",
        256,
        ge=1,
    )
    device: Literal["auto", "cuda", "cpu"] = variable(
        "DEVICE", "Where models run; auto = the GPU if there is one.", "auto"
    )
    dtype: Literal["bfloat16", "float16", "float32"] | None = variable(
        "DTYPE",
        "The type that chat and embeddings compute in. Unset: bfloat16 if the GPU or CPU has "
        "it, else float16 on a GPU and float32 on a CPU.",
    )

    @field_validator("surface", "model_tasks", "model_folders", mode="before")
    @classmethod
    def _lists_of_models(cls, value: object) -> object:
        return split(value)

    @field_validator("model_open_source_image_tag")
    @classmethod
    def _tag(cls, value: str) -> str:
        if not _IMAGE_TAG.fullmatch(value):
            raise ValueError("must be hf://repo@revision#file or gh://repo@tag#file")
        return value

    def model_names(self) -> Iterable[str]:
        """Every name under which the environment speaks of the endpoint's model."""
        tag = self.model_open_source_image_tag or ""
        names = (
            self.model_slug,
            self.model_open_source_repo,
            tag.partition("://")[2].partition("@")[0],
            self.model_huggingface_model,
            self.huggingface_model,
        )
        return list(dict.fromkeys(name for name in names if name))

    def pin(self) -> tuple[str | None, str | None]:
        """The revision that the environment pins, and of which repo; None where it says nothing."""
        tag = self.model_open_source_image_tag or ""
        address, _, rest = tag.partition("://")[2].partition("@")
        revision = self.model_open_source_revision or rest.partition("#")[0]
        return revision or None, self.model_open_source_repo or address or None
