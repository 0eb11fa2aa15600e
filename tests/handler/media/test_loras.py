"""Adapters that requests name: what the operator allows, and how they come here."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from aiohttp import web
from safetensors.torch import save

from handler.media.allowed import Allowed
from handler.media.loras import LoraShelf
from models.errors import QuartetError
from models.weights.places import Places
from models.weights.store import WeightsStore
from tests.conftest import error_of
from tests.support.servers import serve

pytestmark = pytest.mark.anyio

BODY = {"prompt": "a fox", "size": "64x64", "steps": 1, "seed": 7}
# Of every transformer of Flux, also of the tiny one.
LAYER = "transformer.transformer_blocks.0.attn.to_q"


def adapter(seed: int = 1) -> bytes:
    dice = torch.Generator().manual_seed(seed)
    return save(
        {
            f"{LAYER}.lora_A.weight": torch.randn(4, 32, generator=dice),
            f"{LAYER}.lora_B.weight": torch.randn(32, 4, generator=dice),
        }
    )


def asked(*names: str, **more: Any) -> dict[str, Any]:
    return {"input": {**BODY, "loras": [{"path": name, **more} for name in names]}}


@pytest.fixture
def files(tmp_path):
    """A host of adapters, which counts what is asked of it."""
    calls: list[str] = []

    async def get(request: web.Request) -> web.Response:
        calls.append(request.path)
        if request.path == "/gone.safetensors":
            return web.Response(status=404)
        if request.path.startswith("/mine/to/"):
            raise web.HTTPFound(f"/{request.path.removeprefix('/mine/to/')}")
        content = b"no adapter" if "text" in request.path else adapter(len(request.path))
        return web.Response(body=content)

    application = web.Application()
    application.router.add_get("/{path:.*}", get)
    with serve(application) as url:
        yield url, calls


@pytest.fixture
def make(make_worker, tmp_path):
    def made(allow: str) -> Any:
        worker = make_worker(
            FAKE_ENGINES="0", SURFACE="images", MODEL_SLUG="Tiny_Flux", LORA_ALLOW=allow,
            MEDIA_PRIVATE_HOSTS="127.0.0.1",
        )  # fmt: skip
        object.__setattr__(worker.dispatcher.loras, "folder", tmp_path / "loras")
        return worker

    return made


async def picture(worker: Any, job: dict[str, Any]) -> str:
    answer = json.loads((await worker.answer(job)).content)
    assert "warnings" not in answer
    return answer["data"][0]["b64_json"]


async def test_an_adapter_by_url_is_fetched_once(make, files):
    url, calls = files
    worker = make(f"{url}/*")
    plain = await picture(worker, {"input": BODY})
    first = await picture(worker, asked(f"{url}/a.safetensors"))
    second = await picture(worker, asked(f"{url}/longer.safetensors"))
    weaker = await picture(worker, asked(f"{url}/a.safetensors", scale=0.5))
    assert len({plain, first, second, weaker}) == 4
    assert await picture(worker, asked(f"{url}/a.safetensors")) == first
    assert await picture(worker, asked(f"{url}/a.safetensors", scale=0)) == plain
    assert await picture(worker, {"input": BODY}) == plain
    assert calls == ["/a.safetensors", "/longer.safetensors"]


async def test_an_adapter_of_this_machine(make, tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(adapter())
    worker = make(f"file://{tmp_path}/*")
    assert await picture(worker, asked(f"file://{path}")) != await picture(worker, {"input": BODY})
    outside = f"file://{tmp_path}/../{tmp_path.name}/mine.safetensors"
    for name, code in (
        (outside, "lora_not_allowed"),
        (f"file://{tmp_path}/..", "lora_not_allowed"),
        (f"file://{tmp_path}/a\0b", "lora_not_allowed"),
        (f"file://{tmp_path}/nothing.safetensors", "lora_unavailable"),
    ):
        error = error_of(await worker.answer(asked(name)))
        assert (error["code"], error["param"]) == (code, "loras[0].path")


@pytest.mark.parametrize(
    ("pattern", "name", "allowed"),
    [
        ("me/*", "me/adapter", True),
        ("me/*", "me/adapter@v1#a.safetensors", True),
        ("me/*", "you/adapter", False),
        ("*/*", "you/adapter", True),
        ("*/*", "https://evil.example/x", False),
        ("*/*", "http://evil.example/x", False),
        ("*/*", "file:///etc/passwd", False),
        ("*", "file:///etc/passwd", False),
        ("*", "https://evil.example/x", False),
        ("file:///loras/*", "file:///loras/a/b.safetensors", True),
        ("file:///loras/*", "file:///loras/../etc/passwd", False),
        ("file:///loras/*", "file:///loras/%2e%2e/etc/passwd", False),
        ("file:///loras/*", "file:///loras/a\0b", False),
        ("file:///*", "https:///loras/a", False),
        ("https://host/myorg/*", "https://host/myorg/x", True),
        ("https://host/myorg/*", "https://host:443/myorg/x?token=1", True),
        ("https://host/myorg/*", "HTTPS://HOST/myorg/x", True),
        ("https://host/myorg/*", "https://host/myorg/a/../b", True),
        ("https://host/myorg/*", "https://host/myorg/../evil/x", False),
        ("https://*/myorg/*", "https://xn--a\x80/myorg/x", False),
        ("https://*/myorg/*", "https://[]@/myorg/x", False),
        ("https://host/myorg/*", "https://host/myorg/%2e%2e/evil/x", False),
        ("https://host/myorg/*", "https://host/myorg/..%2fevil/x", False),
        ("https://host/myorg/*", "https://host/myorg/%252e%252e/evil/x", False),
        ("https://host/myorg/*", "https://host/myorg/..;/evil/x", False),
        ("https://host/myorg/*", "https://host/myorg/..%5cevil", False),
        ("https://host/myorg/*", "https://host/evil?/myorg/x", False),
        ("https://host/myorg/*", "https://host:8443/myorg/x", False),
        ("https://host/myorg/*", "http://host/myorg/x", False),
        ("https://host/myorg/*", "https://host@evil.example/myorg/x", False),
        ("https://host/myorg/*", "https://user:key@host/myorg/x", False),
        ("https://host/myorg/*", "https://host.evil.example/myorg/x", False),
        ("https://*.host/*", "https://a.host/x", True),
        ("https://*.host/*", "https://evil.example/a.host/x", False),
        ("https://*.host/*", "https://evil.example?.host/x", False),
        ("https://host:*/x", "https://host:8443/x", True),
        ("https://host/x", "https://host/x", True),
        ("https://host/x", "https://host/x?y", False),
        ("https://host/*", "https://[::1", False),
        ("https://host/*", "https://host\\@evil.example/x", False),
        ("https://host/*", "ftp://host/x", False),
    ],
)
def test_what_a_pattern_allows(pattern, name, allowed):
    assert (name in Allowed((pattern,))) is allowed


async def test_a_host_may_not_lead_where_the_list_does_not(make, files):
    """Each address is looked at that it redirects to, not the first alone."""
    url, calls = files
    worker = make(f"{url}/mine/*")
    error = error_of(await worker.answer(asked(f"{url}/mine/to/others/x.safetensors")))
    assert (error["code"], error["param"]) == ("lora_not_allowed", "loras[0].path")
    assert calls == ["/mine/to/others/x.safetensors"]
    assert await picture(worker, asked(f"{url}/mine/to/mine/x.safetensors"))
    error = error_of(await worker.answer(asked(f"{url}/mine/../others/x.safetensors")))
    assert error["code"] == "lora_not_allowed"
    assert calls[1:] == ["/mine/to/mine/x.safetensors", "/mine/x.safetensors"]


async def test_one_of_the_hub(tmp_path):
    """The store's own copy; what it does with the hub itself is in tests/models/weights/test_weights.py."""
    places = Places(hub_caches=(), baked=tmp_path / "no", volume=None, cache=tmp_path / "cache")
    shelf = LoraShelf(Allowed(("me/*",)), WeightsStore(places), tmp_path / "loras")
    for key, names in (("me--one--main", ["a"]), ("me--two--v1.0", ["a", "b"])):
        folder = tmp_path / "cache" / f"hf--{key}"
        folder.mkdir(parents=True)
        for name in names:
            (folder / f"{name}.safetensors").write_bytes(adapter())
    assert (await shelf.fetch("me/one", "p", None)).name == "a.safetensors"
    assert (await shelf.fetch("me/two@v1.0#b.safetensors", "p", None)).name == "b.safetensors"
    for name, code, says in (
        ("me/two@v1.0", "lora_unavailable", "there: a.safetensors, b.safetensors"),
        ("me/two@v1.0#c.safetensors", "lora_unavailable", "no such file"),
        ("me/..#b.safetensors", "invalid_value", "owner/name"),
        ("me/two#../one/a.safetensors", "invalid_value", "owner/name"),
        ("you/one", "lora_not_allowed", "none of the adapters"),
    ):
        with pytest.raises(Exception, match=says) as caught:
            await shelf.fetch(name, "p", None)
        assert caught.value.code == code


async def test_what_is_not_allowed_is_not_fetched(make, files):
    url, calls = files
    for allow, name in (
        ("", f"{url}/a.safetensors"),
        ("https://elsewhere/*, me/*", f"{url}/a.safetensors"),
        (f"{url}/a.safetensors", f"{url}/b.safetensors"),
        (f"{url}/*", "me/adapter"),
    ):
        error = error_of(await make(allow).answer(asked(name)))
        assert (error["code"], error["param"]) == ("lora_not_allowed", "loras[0].path")
        assert "LORA_ALLOW" in error["message"]
    assert calls == []


async def test_what_cannot_be_used_is_told_and_forgotten(make, files):
    url, _ = files
    worker = make(f"{url}/*")
    plain = await picture(worker, {"input": BODY})
    for names, code, param in (
        (["/gone.safetensors"], "media_refused", "loras[0].path"),
        (["/a.safetensors", "/text.safetensors"], "lora_invalid", "loras[1].path"),
    ):
        error = error_of(await worker.answer(asked(*(url + name for name in names))))
        assert (error["code"], error["param"]) == (code, param)
    assert await picture(worker, {"input": BODY}) == plain


@pytest.mark.parametrize(
    ("loras", "param"),
    [
        ("me/adapter", "loras"),
        ([{"path": "a/b"}] * 5, "loras"),
        ([{"scale": 1}], "loras[0].path"),
        ([{"path": ""}], "loras[0].path"),
        ([{"path": "a/b", "scale": 11}], "loras[0].scale"),
        ([{"path": "a/b", "weight": 1}], "loras[0].weight"),
    ],
)
async def test_the_form_of_adapters(make_worker, loras, param):
    error = error_of(await make_worker().answer({"input": {**BODY, "loras": loras}}))
    assert error["param"] == param


async def test_an_engine_without_weights_says_that_it_adapts_none(make_worker, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(adapter())
    worker = make_worker(LORA_ALLOW=f"file://{tmp_path}/*")
    answer = json.loads((await worker.answer(asked(f"file://{path}"))).content)
    assert [one["param"] for one in answer["warnings"]] == ["loras"]


async def test_the_oldest_files_leave_the_shelf(tmp_path, files):
    from handler.media.files import MediaDoor
    from handler.media.guard import Guard

    url, calls = files
    shelf = LoraShelf(Allowed((f"{url}/*",)), None, tmp_path / "loras", kept_files=2)
    async with MediaDoor(Guard(frozenset({"127.0.0.1"}), 10)) as door:
        for name in ("a", "b", "c", "c", "a"):
            path = await shelf.fetch(f"{url}/{name}", "p", door)
            assert path.is_file()
    assert calls == ["/a", "/b", "/c", "/a"]
    assert len(list(Path(tmp_path / "loras").iterdir())) == 2
    assert io.BytesIO(path.read_bytes()).read(8)


async def test_a_folder_in_use_stays_on_the_shelf_though_the_clock_jumps(tmp_path, files):
    """After a jump of the clock, the files' times are of long ago."""
    from handler.media.files import MediaDoor
    from handler.media.guard import Guard

    url, _ = files
    folder = tmp_path / "loras"
    left_by_another = folder / "another"
    left_by_another.mkdir(parents=True)
    shelf = LoraShelf(Allowed((f"{url}/*",)), None, folder, kept_files=1)
    async with MediaDoor(Guard(frozenset({"127.0.0.1"}), 10)) as door:
        in_use = await shelf.fetch_folder(f"{url}/a", "p", door)
        for path in (in_use, left_by_another):
            os.utime(path, (time.time() - 7200,) * 2)
        newest = await shelf.fetch_folder(f"{url}/b", "p", door)
    assert {path.name for path in folder.iterdir()} == {in_use.name, newest.name}


async def test_of_what_was_asked_for_nothing_is_kept_but_the_files(tmp_path, files):
    """Whatever addresses clients think of; and those who want the same file wait for it."""
    from handler.media.files import MediaDoor
    from handler.media.guard import Guard

    def locks() -> int:
        gc.collect()
        return sum(type(each) is asyncio.Lock for each in gc.get_objects())

    url, calls = files
    shelf = LoraShelf(Allowed((f"{url}/*",)), None, tmp_path / "loras", kept_files=2)
    before = locks()
    async with MediaDoor(Guard(frozenset({"127.0.0.1"}), 10)) as door:
        for number in range(20):
            with pytest.raises(QuartetError):
                await shelf.fetch(f"{url}/gone.safetensors?{number}", "p", door)
        del calls[:]
        await asyncio.gather(*(shelf.fetch(f"{url}/same", "p", door) for _ in range(5)))
    assert calls == ["/same"]
    assert locks() - before < 5
