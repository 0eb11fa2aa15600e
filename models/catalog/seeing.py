"""Models of chat that see pictures or read the text in them."""

from __future__ import annotations

from models.catalog.parts import CPU, GB, STAND_IN, TRANSFORMERS_FILES
from models.row import Row

# How the model's card has it asked: what is said first, and of a picture (nanonets/Nanonets-OCR-s,
# README.md).
NANONETS = {
    "system": "You are a helpful assistant.",
    "prompt": (
        "Extract the text from the above document as if you were reading it naturally. Return the "
        "tables in html format. Return the equations in LaTeX representation. If there is an image "
        "in the document and image caption is not present, add a small description of the image "
        "inside the <img></img> tag; otherwise, add the image caption inside <img></img>. "
        "Watermarks should be wrapped in brackets. Ex: <watermark>OFFICIAL COPY</watermark>. Page "
        "numbers should be wrapped in brackets. Ex: <page_number>14</page_number> or "
        "<page_number>9/22</page_number>. Prefer using ☐ and ☑ for check boxes."
    ),
}

ROWS = (
    Row(
        slug="Qwen2_5_VL_3B_Instruct",
        surface="chat",
        tasks=frozenset({"chat", "img2txt"}),
        weights="hf://Qwen/Qwen2.5-VL-3B-Instruct@66285546d2b821cf421d4f5eb2576359d3770cd3",
        engine="models.chat.in_process.engine:TransformersChat",
        memory_bytes=16 * GB,
        weights_bytes=int(7.6 * GB),
        licence="Qwen Research License",
        files=TRANSFORMERS_FILES,
        options={"context": 32_768},
        defaults={"temperature": 0.000001, "repetition_penalty": 1.05},
    ),
    Row(
        slug="Nanonets_Ocr_S_F16",
        surface="chat",
        tasks=frozenset({"img2txt", "chat"}),
        weights="hf://nanonets/Nanonets-OCR-s@3baad182cc87c65a1861f0c30357d3467e978172",
        engine="models.chat.in_process.engine:TransformersChat",
        memory_bytes=16 * GB,
        weights_bytes=int(7.6 * GB),
        licence="unknown: its card names none",
        files=TRANSFORMERS_FILES,
        names=("Nanonets-OCR-s",),
        options={"context": 32_768, "reading": NANONETS},
        defaults={"temperature": 0, "max_tokens": 15_000},
        timeout_s=180.0,
    ),
    Row(
        slug="PP_OCRv6_Small",
        surface="chat",
        tasks=frozenset({"img2txt"}),
        weights="pypi://rapidocr==3.10.0#rapidocr/models"
        "?sha256=2fc34e26cd0f48514804a94f8832283039c7334076bff60768b1fed9ad068050",
        engine="models.chat.printed.engine:PrintedText",
        memory_bytes=GB,
        weights_bytes=31_749_509,
        licence="Apache-2.0",
        options={
            "detect": "PP-OCRv6_det_small.onnx",
            "flip": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
            "read": "PP-OCRv6_rec_small.onnx",
        },
        default_on=CPU,
        stand_in="Tiny_Qwen_VL",
    ),
    Row(
        slug="Tiny_Qwen_VL",
        surface="chat",
        tasks=frozenset({"chat", "img2txt"}),
        weights="tiny://qwen-vl",
        engine="models.chat.in_process.engine:TransformersChat",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        options={"family": "hermes"},
        defaults={"max_tokens": 64},
        notice=STAND_IN.format("Tiny_Qwen_VL", "Qwen2_5_VL_3B_Instruct or PP_OCRv6_Small"),
    ),
)
