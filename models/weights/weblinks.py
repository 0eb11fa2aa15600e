"""Files behind https addresses: one, or those of a folder.

A web server lists no folder. The names of a model's files are known: those that describe it, and
the files that these name in turn. Each is asked for.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from models.errors import WeightsUnavailable
from models.weights import web
from models.weights.web import Entry

_THREADS = 8
_MOST_BYTES = 50_000_000  # of a file that names others
_FIRST = (
    "config.json", "model_index.json", "modules.json", "model.safetensors.index.json",
)  # fmt: skip
_OTHERS = (
    "README.md", "added_tokens.json", "chat_template.jinja", "chat_template.json",
    "config_sentence_transformers.json", "generation_config.json", "merges.txt", "model.bin",
    "model.safetensors", "preprocessor_config.json", "processor_config.json",
    "sentence_bert_config.json", "sentencepiece.bpe.model", "special_tokens_map.json",
    "spiece.model", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json",
    "vocab.txt", "vocabulary.json", "vocabulary.txt",
)  # fmt: skip
_OF_A_PART = (
    "config.json", "scheduler_config.json", "preprocessor_config.json", "generation_config.json",
    "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "vocab.json",
    "merges.txt", "spiece.model", "chat_template.jinja",
)  # fmt: skip
_NO_NAME = "quartet-no-such-file.json"
_WEIGHTS = ("model", "diffusion_pytorch_model")
_INDEX = "safetensors.index.json"


class WebFile:
    """A single file.

    Args:
        url: its address.
        name: that it gets.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name

    def listing(self) -> Mapping[str, Entry]:
        """Return the file by its name."""
        return {self._name: _entry(self._url)}

    @contextmanager
    def open(
        self, name: str, start: int, end: int | None, tag: str
    ) -> Iterator[http.client.HTTPResponse]:
        """Lend an answer with the bytes of the file from ``start`` on, if it is the same still."""
        with _opened(self._url, start, end, tag) as answer:
            yield answer


class WebFolder:
    """The files of a folder whose names are known.

    Args:
        url: its address.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def listing(self) -> Mapping[str, Entry]:
        """Return what is there of the files of a model."""
        if self._there([_NO_NAME]):
            raise WeightsUnavailable("The host answers for any name; name a .safetensors file.")
        made = self._there(_FIRST)
        if not made:
            return made
        made |= self._there([*_OTHERS, *self._shards(made, "")])
        made |= self._there(self._of_modules(made))
        parts = self._parts(made)
        made |= self._there([f"{part}/{name}" for part in parts for name in _OF_A_PART])
        made |= self._there([
            f"{part}/{stem}{variant}.{end}"
            for part in parts for stem in _WEIGHTS for variant in ("", ".fp16")
            for end in ("safetensors", _INDEX)
        ])  # fmt: skip
        return made | self._there([shard for part in parts for shard in self._shards(made, part)])

    @contextmanager
    def open(
        self, name: str, start: int, end: int | None, tag: str
    ) -> Iterator[http.client.HTTPResponse]:
        """Lend an answer with the bytes of a file from ``start`` on, if it is the same still."""
        with _opened(self._address(name), start, end, tag) as answer:
            yield answer

    def _address(self, name: str) -> str:
        return f"{self._url}/{quote(name)}"

    def _there(self, names: Iterable[str]) -> dict[str, Entry]:
        wanted = list(dict.fromkeys(names))
        with ThreadPoolExecutor(_THREADS) as pool:
            found = pool.map(lambda name: _entry_if_there(self._address(name)), wanted)
            pairs = list(zip(wanted, found, strict=True))
        return {name: entry for name, entry in pairs if entry is not None}

    def _shards(self, made: Mapping[str, Entry], part: str) -> list[str]:
        """Return the files that the indexes of a part name."""
        names: list[str] = []
        for index in [name for name in made if name.endswith(_INDEX)]:
            if index.rpartition("/")[0] == part:
                shards = self._object(index).get("weight_map") or {}
                names += [_below(part, shard) for shard in sorted(set(shards.values()))]
        return names

    def _of_modules(self, made: Mapping[str, Entry]) -> list[str]:
        """Return the files of the modules of sentence-transformers."""
        modules = self._json("modules.json") if "modules.json" in made else []
        paths = [str(module.get("path") or "") for module in modules if isinstance(module, dict)]
        ends = ("config.json", "model.safetensors")
        return [_below(path, name) for path in paths if path for name in ends]

    def _parts(self, made: Mapping[str, Entry]) -> list[str]:
        """Return the parts of a pipeline."""
        index = self._object("model_index.json") if "model_index.json" in made else {}
        return [_below("", name) for name, part in index.items() if isinstance(part, list)]

    def _object(self, name: str) -> dict[str, Any]:
        content = self._json(name)
        return content if isinstance(content, dict) else {}

    def _json(self, name: str) -> Any:
        with _opened(self._address(name), 0, None, "") as answer:
            try:
                return json.loads(answer.read(_MOST_BYTES))
            except (ValueError, RecursionError):
                raise WeightsUnavailable(f"{name} is no JSON.") from None


def _below(folder: str, name: object) -> str:
    """Return a path of a file that a file of the folder names.

    Raises:
        WeightsUnavailable: it leads out of the folder.
    """
    path = f"{folder}/{name}" if folder else str(name)
    if re.search(r"(^|/)\.{0,2}(/|$)|[\\\x00-\x1f]", path):
        raise WeightsUnavailable(f"A file is named {path!r:.200}, which leads out of its folder.")
    return path


def _entry(url: str) -> Entry:
    """Return a file's size and tag; no more than its first byte is asked for."""
    # Not HEAD: a signed address is signed for one method.
    with _opened(url, 0, 1, "") as answer:
        whole = answer.headers.get("Content-Range", "").rpartition("/")[2]
        size = whole if answer.status == 206 else answer.headers.get("Content-Length", "")
        if not size.isdigit():
            raise WeightsUnavailable("The host does not say how large the file is.")
        tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        return Entry(int(size), tag)


def _entry_if_there(url: str) -> Entry | None:
    try:
        return _entry(url)
    except WeightsUnavailable as error:
        if error.is_missing:
            return None
        raise


@contextmanager
def _opened(url: str, start: int, end: int | None, tag: str) -> Iterator[http.client.HTTPResponse]:
    # A weak tag never matches, and a date is none.
    headers = {"If-Match": tag} if tag.startswith('"') else {}
    with web.get(url, headers, start, end) as answer:
        yield answer
