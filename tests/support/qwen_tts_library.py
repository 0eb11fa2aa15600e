"""The published package of Qwen3-TTS on a folder of weights, in a process of its own.

    python -m tests.support.qwen_tts_library FOLDER REQUESTS INTO

The package changes transformers' tables when it is imported. What it imports and does not use here
(for cloning, and for another tokenizer of sound) is put in its place without content.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

UNUSED = {
    "librosa": (), "librosa.filters": ("mel",), "soundfile": (), "sox": (), "torchaudio": (),
    "torchaudio.compliance": (), "torchaudio.compliance.kaldi": (),
    "einops": ("rearrange", "repeat"),
}  # fmt: skip


@contextmanager
def without(names: dict[str, tuple[str, ...]]) -> Iterator[None]:
    """Have modules without content in the place of libraries."""
    for name, members in names.items():
        module = ModuleType(name)
        module.__path__ = []  # type: ignore[attr-defined]
        for member in members:
            setattr(module, member, None)
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    yield
    for name in names:
        del sys.modules[name]


def main(folder: Path, requests: list[dict[str, Any]], into: Path) -> None:
    """Write each request's codes and sound; a request is a call of the package's, and its seed."""
    import torch
    from transformers import AutoProcessor, GenerationMixin, MimiModel  # which look for libraries

    assert all((AutoProcessor, GenerationMixin, MimiModel))
    torch.set_num_threads(1)
    with without(UNUSED):
        from qwen_tts import Qwen3TTSModel
        from qwen_tts.core.tokenizer_12hz import modeling_qwen3_tts_tokenizer_v2 as tokenizer

    class NoEncoder(torch.nn.Module):
        """The encoder of sound, for cloning, cannot be made with the images' transformers."""

        @classmethod
        def _from_config(cls, _: Any) -> NoEncoder:
            return cls()

    tokenizer.Qwen3TTSTokenizerV2Encoder = NoEncoder
    model = Qwen3TTSModel.from_pretrained(str(folder), dtype=torch.float32)
    decode, made = model.model.speech_tokenizer.decode, {}

    def kept(codes: list[dict[str, Any]]) -> Any:
        made[f"codes{index}"] = codes[0]["audio_codes"].numpy()
        return decode(codes)

    model.model.speech_tokenizer.decode = kept
    for index, request in enumerate(requests):
        torch.manual_seed(request.pop("seed"))
        [sound], _ = model.generate_custom_voice(**request)
        made[f"sound{index}"] = sound
    np.savez(into, **made)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3]))
