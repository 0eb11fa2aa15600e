"""Adapters that chat requests bring: their names, where they come from, and who may bring them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from handler.contract.base import Call
from handler.contract.chat.adapters import adapter_of
from handler.contract.chat.completion_request import CompletionRequest
from handler.contract.chat.request import ChatRequest
from handler.media.allowed import Allowed
from handler.media.files import MediaDoor
from handler.media.guard import Guard
from handler.media.loras import LoraShelf
from models.catalog import CATALOG
from models.errors import InvalidValue, QuartetError, RequestError, UnsupportedParameter
from models.weights.places import Places
from models.weights.store import WeightsStore
from tests.conftest import error_of
from tests.support.servers import serve

pytestmark = pytest.mark.anyio
HELLO = [{"role": "user", "content": "Hello"}]
CONFIG = {
    "peft_type": "LORA",
    "r": 8,
    "base_model_name_or_path": "meta-llama/Meta-Llama-3-8B-Instruct",
}
ROW = CATALOG.find("Llama3_8B_Instruct")
VLLM = replace(ROW, options={**ROW.options, "loras": 2}, adapters={"law": "file:///law"})


@pytest.fixture
def host():
    """A host of one adapter, which counts what is asked of it."""
    calls: list[str] = []

    async def get(request: web.Request) -> web.Response:
        calls.append(request.path_qs)
        if "gone" in request.path:
            return web.Response(status=404)
        if "elsewhere" in request.path:
            raise web.HTTPFound(f"/other/{request.path.rpartition('/')[2]}")
        if request.path.endswith(".json"):
            size = 2_000_000 if "large" in request.path else 0
            return web.Response(text=json.dumps(CONFIG) + " " * size)
        return web.Response(body=b"weights")

    application = web.Application()
    application.router.add_get("/{path:.*}", get)
    with serve(application) as url:
        yield url, calls


@pytest.fixture
def shelf(tmp_path):
    def made(*allow: str) -> LoraShelf:
        places = Places(hub_caches=(), baked=tmp_path / "no", volume=None, cache=tmp_path / "cache")
        return LoraShelf(Allowed(allow), WeightsStore(places), tmp_path / "shelf")

    return made


async def chosen(shelf: LoraShelf, row: Any = VLLM, kind: Any = ChatRequest, **body: Any) -> Any:
    async with MediaDoor(Guard(frozenset({"127.0.0.1"}), 10)) as door:

        @asynccontextmanager
        async def lease() -> AsyncIterator[Any]:
            yield None

        asked = {"messages": HELLO, **body} if kind is ChatRequest else body
        call = Call("j", kind.parse(asked), row, lease, door, None, loras=shelf)
        return await adapter_of(call)


async def test_it_is_fetched_once_and_is_a_folder(host, shelf):
    url, calls = host
    mine = shelf(f"{url}/mine/*")
    for address in (
        f"{url}/mine/law",
        f"{url}/mine/law/",
        f"{url}/mine/law/adapter_model.safetensors?a=b",
    ):
        adapter, warnings = await chosen(mine, lora=address)
        assert (adapter.name, adapter.param, list(warnings)) == (address, "lora", [])
        names = sorted(file.name for file in adapter.folder.iterdir())
        assert names == ["adapter_config.json", "adapter_model.safetensors"]
        seen = len(calls)
        again, _ = await chosen(
            mine, model=f"Llama3_8B_Instruct:{address}", kind=CompletionRequest, prompt="a"
        )
        assert (again.folder, again.param, len(calls)) == (adapter.folder, "model", seen)
    assert calls[-2:] == [
        "/mine/law/adapter_config.json?a=b",
        "/mine/law/adapter_model.safetensors?a=b",
    ]


async def test_it_is_taken_from_this_machine(shelf, tmp_path):
    folder = tmp_path / "adapters" / "law"
    folder.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_text("{}")
    mine = shelf(f"file://{tmp_path}/adapters/*")
    for address in (f"file://{folder}", f"file://{folder}/adapter_model.safetensors"):
        adapter, _ = await chosen(mine, lora=address)
        assert adapter.folder == folder
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(InvalidValue, match=r"has no adapter_model\.safetensors"):
        await chosen(mine, lora=f"file://{folder}")
    with pytest.raises(UnsupportedParameter, match="LORA_ALLOW"):
        await chosen(mine, lora=f"file://{tmp_path}/adapters/../secret")


async def test_one_of_the_models_own_needs_no_list(shelf):
    none = shelf()
    assert (await chosen(none))[0] is None
    assert (await chosen(none, lora="law"))[0] == "law"
    assert (await chosen(none, model="Llama3_8B_Instruct:law"))[0] == "law"
    assert (await chosen(none, model="Llama3_8B_Instruct:law", lora="law"))[0] == "law"


@pytest.mark.parametrize(
    ("allow", "body", "code", "param"),
    [
        ((), {"lora": "me/law"}, "lora_not_allowed", "lora"),
        (("you/*",), {"lora": "me/law"}, "lora_not_allowed", "lora"),
        (("you/*",), {"model": "Llama3_8B_Instruct:me/law"}, "lora_not_allowed", "model"),
        (("you/*",), {"lora": "../you/law"}, "lora_not_allowed", "lora"),
        (("{}/mine/*",), {"lora": "{}/other/law"}, "lora_not_allowed", "lora"),
        (("{}/mine/*",), {"lora": "{}/mine/elsewhere"}, "lora_not_allowed", "lora"),
        (("{}/mine/*",), {"lora": "{}/mine/gone"}, "media_refused", "lora"),
        (("{}/mine/*",), {"lora": "{}/mine/large"}, "media_too_large", "lora"),
        (("me/*",), {"lora": "you/a", "model": "Llama3_8B_Instruct:me/law"}, "invalid_value", "lora"),
    ],
)  # fmt: skip
async def test_what_is_refused(host, shelf, allow, body, code, param):
    url, _ = host
    mine = shelf(*(one.format(url) for one in allow))
    with pytest.raises(RequestError) as refused:
        await chosen(mine, **{name: value.format(url) for name, value in body.items()})
    assert (refused.value.code, refused.value.param) == (code, param)
    assert list(mine.folder.glob("*")) == []


async def test_an_engine_without_room_says_what_it_needs(shelf):
    with pytest.raises(UnsupportedParameter, match="need the vllm engine, and CHAT_LORAS above 0"):
        await chosen(shelf("me/*"), ROW, lora="me/law")


async def test_one_that_was_made_for_another_model_is_named(host, shelf):
    url, _ = host
    mine = shelf(f"{url}/*")
    other = replace(CATALOG.find("Qwen3_8B"), options={"loras": 1})
    adapter, [warning] = await chosen(mine, other, lora=f"{url}/law")
    assert adapter is not None
    assert "made for meta-llama/Meta-Llama-3-8B-Instruct" in warning.message
    with pytest.raises(QuartetError, match="made for"):
        await chosen(mine, other, lora=f"{url}/law", strict=True)


def test_names_of_a_model_and_an_adapter():
    name = "meta-llama/Meta-Llama-3-8B-Instruct:me/law@main"
    assert CATALOG.find(name) is ROW
    assert ROW.brought(name) == "me/law@main"
    assert ROW.named(name) == "Llama3_8B_Instruct:me/law@main"
    assert VLLM.brought("Llama3_8B_Instruct:law") is None
    assert VLLM.named("llama3_8b_instruct:https://a/b:c") == "Llama3_8B_Instruct:https://a/b:c"
    for plain in (
        None,
        "",
        "Llama3_8B_Instruct",
        "Llama3_8B_Instruct:",
        "Llama3_8B_Instruct:law",
        "x:me/law",
    ):
        assert ROW.brought(plain) is None
    assert CATALOG.find("Tiny_Flux").brought("Tiny_Flux:a/b") is None


async def test_a_laptops_engine_refuses_them(make_worker):
    worker = make_worker(
        FAKE_ENGINES="0", SURFACE="chat", MODEL_SLUG="Tiny_Llama", LORA_ALLOW="me/*"
    )
    routes = {
        "/v1/chat/completions": {"messages": HELLO},
        "/v1/completions": {"prompt": "a"},
        "/v1/responses": {"input": "a"},
        "/v1/messages": {"messages": HELLO},
    }
    for route, body in routes.items():
        for field in ("lora", "adapter_id", "lora_path"):
            job = {"openai_route": route, "openai_input": {**body, field: "me/law"}}
            error = error_of(await worker.answer({"input": job}))
            assert (error["code"], "vllm" in error["message"]) == ("lora_not_allowed", True), route
        job = {"openai_route": route, "openai_input": {**body, "model": "Tiny_Llama:me/law"}}
        error = error_of(await worker.answer({"input": job}))
        assert (error["code"], error["param"]) == ("lora_not_allowed", "model")


async def test_one_of_the_hub(shelf, tmp_path):
    """The store's own copy; what it does with the hub is in tests/models/weights."""
    mine = shelf("me/*")
    for key, names in (
        ("law--v1.0", ["config.json", "model.safetensors"]),
        ("old--main", ["model.bin"]),
    ):
        folder = tmp_path / "cache" / f"hf--me--{key}"
        folder.mkdir(parents=True)
        for name in names:
            (folder / f"adapter_{name}").write_text(json.dumps(CONFIG))
    adapter, _ = await chosen(mine, model="Llama3_8B_Instruct:me/law@v1.0")
    assert adapter.folder == tmp_path / "cache" / "hf--me--law--v1.0"
    with pytest.raises(InvalidValue) as refused:  # no pickle is read
        await chosen(mine, lora="me/old")
    assert refused.value.code == "lora_unavailable"
