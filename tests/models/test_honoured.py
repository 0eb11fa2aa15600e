"""What a model is said to honour, against what its engine does with it."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from handler.contract import SURFACES
from models.catalog import CATALOG
from models.errors import InvalidValue, UnsupportedParameter
from models.images.request import ImageRequest, Video
from models.warm.loader import differences
from tests.conftest import row, tiny
from tests.support.driving import prepare

MODELS = {
    "flux": row("Tiny_Flux"),
    "flux2-klein": tiny("Flux_2_Klein_4B_BF16", "flux2-klein"),
    "z-image": tiny("ZImageTurbo_INT8", "z-image"),
    "sdxl": tiny("SDXL", "sdxl"),
    "ltx2": row("Tiny_Ltx2"),
    "esrgan": row("Tiny_ESRGAN"),
    "ben2": row("Tiny_Ben2"),
}


def picture(mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (128, 128), 255 if mode == "L" else (200, 90, 40)).save(buffer, "PNG")
    return buffer.getvalue()


ASKED: dict[str, dict[str, Any]] = {
    "negative_prompt": {"negative_prompt": "blur"},
    "guidance": {"guidance": 3.5, "negative_prompt": "blur"},
    "steps": {"steps": 3},
    "scheduler": {"scheduler": "euler"},
    "strength": {"strength": 0.5, "images": (picture(),), "mask": picture("L")},
    "mask": {"images": (picture(),), "mask": picture("L")},
    "scale": {"scale": 2.0},
    "background": {"background": "transparent"},
}


@pytest.mark.parametrize("field", ASKED)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_honours_what_it_says_and_nothing_else(load, name, field):
    """A strict request for it is refused where, and only where, the model does not honour it."""
    model = replace(MODELS[name], slug=f"honours {name}")
    if name in {"flux2-klein", "z-image", "sdxl"}:
        model = replace(model, defaults={**model.defaults, "size": "128x128"})
    honoured = differences(model).get(field, {}) is not None
    request = ImageRequest("a fox", given=frozenset({field}), strict=True, **ASKED[field])
    if name == "ltx2":
        request = replace(request, video=Video())
    elif name in {"esrgan", "ben2"}:
        request = replace(request, images=(picture(),))
    engine = load(model)
    if honoured:
        prepare(engine, request)
        return
    with pytest.raises((UnsupportedParameter, InvalidValue)) as refused:
        prepare(engine, request)
    # What must go with the field may be what is refused.
    assert refused.value.param in {field, "negative_prompt", "mask"}


@pytest.mark.parametrize("slug", [one.slug for one in CATALOG.rows if one.surface in SURFACES])
def test_every_model_tells_its_fields_before_it_is_loaded(slug):
    fields = SURFACES[row(slug).surface].offered(row(slug))
    assert len(fields) > 3
    for name, told in fields.items():
        assert told.get("type") or name == "input", name
        if "default" in told and "minimum" in told:
            assert told["default"] >= told["minimum"], name
        if "default" in told and "enum" in told:
            assert told["default"] in told["enum"], name


def test_limits_and_defaults_are_those_of_the_request_and_the_model():
    fields = SURFACES["images"].offered(row("SDXL"))
    assert fields["steps"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 30}
    assert fields["strength"] == {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
    assert "euler_a" in fields["scheduler"]["enum"]
    assert fields["output_format"]["enum"] == ["png", "jpeg", "webp"]
    assert "frames" not in fields
    assert fields["image"] == {"type": "string"}
    several = SURFACES["images"].offered(row("Flux_2_Klein_4B_BF16"))
    assert several["image"] == {"type": ["string", "array"]}
    assert "model" not in fields
    videos = SURFACES["images"].offered(row("Ltx2_3_22B_Dist_INT8"))
    assert videos["frames"]["default"] == 97
    assert videos["output_format"] == {"type": "string", "enum": ["mp4"]}
    assert not {"steps", "negative_prompt", "n"} & set(videos)
