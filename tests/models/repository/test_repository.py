"""Models that the catalog does not have: described by their files, loaded, and answering."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import tiny
from models.device.hardware import Device
from models.repository import address as addresses
from models.repository.describe import Description, describe
from models.repository.machine import Machine
from models.weights.places import Places
from tests.conftest import decoded
from tests.support import repositories as made

MACHINE = Machine("cpu", "float32")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def places(home: Path, **changes: Any) -> Places:
    nowhere = home / "nowhere"
    mine = Places((home / "hub",), nowhere, None, home / "cache", endpoint="http://127.0.0.1:9")
    return replace(mine, **changes)


def described(home: Path, where: str, machine: Machine = MACHINE, **more: Any) -> Description:
    return describe(addresses.parse(where), places(home), machine, **more)


@pytest.fixture
def own(make_worker, home):
    """A worker for one model of the hub's cache, in float32."""

    def make(where: str, **env: str):
        here = {
            "HF_HOME": str(home),
            "QUARTET_CACHE": str(home / "cache"),
            "HF_ENDPOINT": "http://127.0.0.1:9",
        }
        return make_worker(FAKE_ENGINES="0", DTYPE="float32", MODEL=where, **here, **env)

    return make


# Chat --------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("model_type", made.CHAT)
async def test_a_language_model_says_what_the_library_says(own, home, model_type):
    import torch

    folder = made.snapshot(home, f"Me/My-{model_type}")
    model = made.chat(folder, model_type)
    worker = own(f"Me/My-{model_type}")
    ask = [{"role": "user", "content": "Say something."}]
    body = {"messages": ask, "max_tokens": 12, "temperature": 0, "logprobs": True}
    answer = decoded(await worker.answer({"id": "1", "input": body}))
    tokenizer = made.words()
    tokenizer.chat_template = made.CHATML
    ids = tokenizer.apply_chat_template(ask, add_generation_prompt=True, return_tensors="pt")[
        "input_ids"
    ]
    with torch.inference_mode():
        out = model.generate(ids, do_sample=False, max_new_tokens=12)[0, ids.shape[1] :]
        scores = model(torch.cat([ids[0], out])[None]).logits[0, ids.shape[1] - 1 : -1]
    said = answer["choices"][0]["logprobs"]["content"]
    own_tokens = [token for token in out.tolist() if token != 4]
    assert [bytes(one["bytes"]) for one in said] == [
        made_bytes(tokenizer, token) for token in own_tokens
    ]
    best = scores.log_softmax(-1)[range(len(own_tokens)), own_tokens].tolist()
    assert [one["logprob"] for one in said] == pytest.approx(best, abs=1e-3)
    assert answer["model"] == f"My-{model_type}"


def made_bytes(tokenizer: Any, token: int) -> bytes:
    from models.byte_letters import BYTES

    word = tokenizer.convert_ids_to_tokens(token)
    return bytes(BYTES[letter] for letter in word) if token > 6 else word.encode()


def test_every_field_of_a_language_model_has_a_source(home):
    folder = made.snapshot(home, "Me/My-Llama")
    made.chat(folder, template=made.HERMES)
    made.write(
        folder, "generation_config.json", {"temperature": 0.6, "top_p": 0.9, "do_sample": True}
    )
    found = described(home, "Me/My-Llama")
    row, size = found.row, (folder / "model.safetensors").stat().st_size
    assert (row.slug, row.surface, row.tasks) == ("My-Llama", "chat", {"chat"})
    assert row.weights == f"hf://Me/My-Llama@{made.COMMIT}"
    assert row.engine == "models.chat.in_process.engine:TransformersChat"
    assert dict(row.options) == {"context": 512, "family": "hermes"}
    assert dict(row.defaults) == {"temperature": 0.6, "top_p": 0.9}
    assert (row.licence, row.timeout_s, row.gated) == ("apache-2.0", 600.0, False)
    assert row.weights_bytes == size
    # Weights, two layers' keys and values of two heads of eight for 512 tokens, and a step.
    assert row.memory_bytes == size + 2 * 2 * 2 * 8 * 4 * 512 + 250_000_000
    assert "model*.safetensors" in row.files
    assert found.sources == {
        "slug": "its name",
        "weights": f"in a hub cache: {folder}",
        "names": "its address",
        "surface": "config.json: architectures",
        "tasks": "config.json: architectures",
        "engine": "the surface; on a GPU vllm, if it is installed",
        "files": "the engine",
        "timeout_s": "ours, for chat",
        "options.context": "config.json: max_position_embeddings",
        "options.family": "chat_template.jinja",
        "defaults.temperature": "generation_config.json: temperature",
        "defaults.top_p": "generation_config.json: top_p",
        "weights_bytes": "the sizes of model*.safetensors",
        "memory_bytes": "weights in float32, cache of 512 tokens, one step",
        "licence": "README.md",
    }
    assert row.answers_to("me/my-llama")
    half = described(home, "Me/My-Llama", Machine("cpu", "bfloat16")).row
    assert half.memory_bytes < row.memory_bytes, "weights take half of it"


def test_vllms_registry_says_which_architectures_it_has(tmp_path):
    from models.repository.libraries import vllm_architectures

    file = tmp_path / "model_executor/models/registry.py"
    assert vllm_architectures(tmp_path) == frozenset()
    file.parent.mkdir(parents=True)
    file.write_text(
        'import vllm_that_is_not_there\n_TEXT_GENERATION_MODELS = {"LlamaForCausalLM": ("llama", "X")}\n'
        '_MULTIMODAL_MODELS: dict = {"Gemma3ForConditionalGeneration": ("gemma3_mm", "Y")}\n'
        '_EMBEDDING_MODELS = {"BertModel": ("bert", "Z")}\n_ALL = {**_TEXT_GENERATION_MODELS}\n'
    )
    assert vllm_architectures(tmp_path) == {"LlamaForCausalLM", "Gemma3ForConditionalGeneration"}


def test_architectures_that_vllm_has_not(monkeypatch):
    from models.repository import libraries

    monkeypatch.setattr(libraries, "installed", lambda name: True)
    spec = type("Spec", (), {"origin": "/vllm/__init__.py"})
    monkeypatch.setattr(libraries, "find_spec", lambda name: spec)
    monkeypatch.setattr(libraries, "vllm_architectures", lambda package: {"OnlyVllmForCausalLM"})
    own = {"architectures": ["OnlyVllmForCausalLM"], "model_type": "only_vllm"}
    assert libraries.chat_refusal(own, "vllm") is None
    assert "has no causal language model" in str(libraries.chat_refusal(own, "transformers"))
    by_transformers = {"architectures": ["SmolLM3ForCausalLM"], "model_type": "smollm3"}
    assert libraries.chat_refusal(by_transformers, "vllm") is None
    nobodys = {"architectures": ["MineForCausalLM"], "model_type": "mine"}
    assert libraries.chat_refusal(nobodys, "vllm") == "vllm has no MineForCausalLM"


@pytest.mark.parametrize(
    ("template", "family"),
    [
        (made.HERMES, "hermes"),
        (made.CHATML, None),
        ("{{ tools }}<|channel|>analysis<|message|>{{ reasoning_effort }}", "harmony"),
        (
            "<｜Assistant｜><think>{{ content.split('</think>') }}<｜tool▁calls▁begin｜>",
            "deepseek-r1",
        ),
        ('<|start_header_id|>{{ tools }} "parameters"', "llama3.1"),
        ("<|start_header_id|>{{ messages }}", "llama3"),
        ("{{ tools }}[TOOL_CALLS]", "mistral"),
        ("{{ tools }}[TOOL_CALLS]{{ name }}[ARGS]", "mistral-named"),
        ("{{ message.tool_calls }}[TOOL_CALLS]", None),  # it tells of no tools
        ("{{ tools }}<｜Assistant｜><｜tool▁calls▁begin｜>```json</think>", "deepseek-v3"),
        ("{{ tools }}<｜Assistant｜><｜tool▁calls▁begin｜><｜tool▁sep｜>", "deepseek-v3.1"),
        ("{{ messages }}<｜Assistant｜>", None),
        ("{{ message['tools'] }}<|tool|><|/tool|><|user|><|assistant|>", "phi4"),
        ("<start_of_turn>{{ messages }}<end_of_turn>", "gemma"),
        ("<start_of_turn>{{ tools }}<|tool_call>call:", None),
        ("{{ tools }}<tool_call><function=name> arguments", None),
        ("{{ tools }}<tool_call><arg_key> arguments", None),
    ],
)
def test_the_form_of_calls_is_read_from_the_template(template, family):
    from models.repository.chat import family_of

    assert family_of(template) == family


@pytest.mark.parametrize(
    ("family", "prompt", "answer"),
    [
        (
            "harmony",
            "<|start|>user<|message|>Hi<|end|><|start|>assistant",
            "<|channel|>analysis<|message|>It greets."
            "<|start|>assistant<|channel|>final<|message|>Hello!",
        ),
        ("deepseek-r1", "<｜User｜>Hi<｜Assistant｜><think>\n", "It greets.\n</think>\n\nHello!"),
        ("deepseek-r1", "<｜User｜>Hi<｜Assistant｜>", "<think>\nIt greets.\n</think>\n\nHello!"),
    ],
)
def test_what_a_model_thinks_is_told_apart(family, prompt, answer):
    from models.chat.families import FAMILIES
    from models.chat.reading import Reading
    from models.chat.request import Said, Thought

    reading = Reading(FAMILIES[family], prompt, [])
    pieces = [*(piece for letter in answer for piece in reading.push(letter)), *reading.end()]
    thought = "".join(one.text for one in pieces if isinstance(one, Thought))
    said = "".join(one.text for one in pieces if isinstance(one, Said))
    assert (thought.strip(), said) == ("It greets.", "Hello!")


@pytest.mark.anyio
async def test_a_model_that_thinks_and_calls_nothing_refuses_tools(own, home):
    template = made.CHATML.replace(
        "assistant\n{%", "assistant\n<｜Assistant｜><think>{# </think> #}{%"
    )
    made.chat(made.snapshot(home, "Me/My-R1"), template=template)
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    body = {"messages": [{"role": "user", "content": "Hi"}], "tools": [tool]}
    refused = json.loads((await own("Me/My-R1").answer({"id": "1", "input": body}))["error"])
    assert (refused["code"], refused["param"]) == ("unsupported_parameter", "tools")
    notes = described(home, "Me/My-R1").notes
    assert notes == ("tools: the template has no format that is read here; thoughts are read",)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("reads", "effort", "rendered"),
    [
        ("reasoning_effort", "high", "high"),
        ("enable_thinking", "none", "False"),
        ("enable_thinking", "low", "True"),
        ("nothing", "none", ""),
        ("nothing", "high", None),
    ],
)
async def test_the_effort_is_given_to_a_template_that_reads_it(own, home, reads, effort, rendered):
    made.chat(
        made.snapshot(home, "Me/Thinks"), template=f"{{{{ messages[0].content }}}}{{{{ {reads} }}}}"
    )
    body = {
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 1,
        "reasoning_effort": effort,
    }
    output = await own("Me/Thinks").answer({"id": "1", "input": body})
    answer = decoded(output)
    if rendered is None:
        assert [warning["param"] for warning in answer["warnings"]] == ["reasoning_effort"]
    assert answer["usage"]["prompt_tokens"] == len(f"Hi{rendered or ''}")


@pytest.mark.anyio
@pytest.mark.parametrize(("effort", "rendered"), [("high", "high"), ("none", "none"), (None, "")])
async def test_the_effort_of_responses_reaches_the_template(own, home, effort, rendered):
    template = "{{ messages[0].content }}{{ reasoning_effort }}"
    made.chat(made.snapshot(home, "Me/Thinks"), template=template)
    body = {"input": "Hi", "max_output_tokens": 1, "reasoning": {"effort": effort}}
    job = {"id": "1", "input": {"openai_route": "/v1/responses", "openai_input": body}}
    answer = decoded(await own("Me/Thinks").answer(job))
    assert answer["usage"]["input_tokens"] == len(f"Hi{rendered}")
    assert answer["reasoning"]["effort"] == effort
    assert not answer.get("warnings")


@pytest.mark.anyio
async def test_the_operators_template_replaces_the_models(own, home, tmp_path):
    made.chat(made.snapshot(home, "Me/Base"), template=None)
    file = tmp_path / "template.jinja"
    file.write_text("{% for m in messages %}Q: {{ m['content'] }}{% endfor %}A:")
    counts = []
    for given in (str(file), file.read_text()):
        worker = own("Me/Base", CHAT_TEMPLATE=given)
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
        answer = decoded(await worker.answer({"id": "1", "input": body}))
        counts.append(answer["usage"]["prompt_tokens"])
    assert counts == [len("Q: HiA:")] * 2


# Embeddings and reranking ------------------------------------------------------------------------

TEXTS = ["a short text", "another, and rather a longer one than the first", "third"]


async def embed(worker: Any, **body: Any) -> np.ndarray:
    answer = decoded(await worker.answer({"id": "1", "input": {"input": TEXTS, **body}}))
    return np.array([one["embedding"] for one in answer["data"]])


@pytest.mark.anyio
@pytest.mark.parametrize("model_type", made.ENCODERS)
async def test_an_encoder_gives_the_librarys_vectors(own, home, model_type):
    from sentence_transformers import SentenceTransformer

    folder = made.snapshot(home, f"Me/{model_type}")
    made.encoder(folder, model_type)
    vectors = await embed(own(f"Me/{model_type}"))
    library = SentenceTransformer(str(folder), device="cpu")
    expected = library.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(vectors, expected, atol=2e-5)
    row = described(home, f"Me/{model_type}").row
    assert row.tasks == {"txt2embedding", "rerank"}
    assert row.options["pooling"] == "mean"


@pytest.mark.anyio
async def test_an_embedder_of_the_last_token_gives_the_librarys_vectors(own, home):
    from sentence_transformers import SentenceTransformer

    folder = made.snapshot(home, "Me/Qwen-Embedding")
    made.last_token_embedder(folder)
    worker = own("Me/Qwen-Embedding")
    library = SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(await embed(worker), library.encode(TEXTS), atol=2e-5)
    queries = await embed(worker, input_type="query")
    np.testing.assert_allclose(queries, library.encode(TEXTS, prompt_name="query"), atol=2e-5)
    found = described(home, "Me/Qwen-Embedding")
    assert found.row.options["pooling"] == "lasttoken"
    assert found.row.options["prefixes"] == {"query": "Instruct: find\nQuery:"}
    assert found.sources["options.prefixes"] == "config_sentence_transformers.json: prompts"


async def rank(worker: Any) -> list[float]:
    body = {"query": "which?", "documents": TEXTS}
    answer = decoded(await worker.answer({"id": "1", "input": body}))
    by_index = sorted(answer["results"], key=lambda one: one["index"])
    return [one["relevance_score"] for one in by_index]


@pytest.mark.anyio
@pytest.mark.parametrize("model_type", ["bert", "modernbert", "distilbert"])
async def test_a_reranker_gives_the_librarys_scores(own, home, model_type):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = made.snapshot(home, f"Me/{model_type}-ranker")
    made.reranker(folder, model_type)
    scores = await rank(own(f"Me/{model_type}-ranker"))
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        expected = [
            float(model(**inputs).logits.sigmoid()[0, 0])
            for text in TEXTS
            for inputs in [
                tokenizer(
                    "which?", text, return_tensors="pt", return_token_type_ids=model_type == "bert"
                )
            ]
        ]
    assert scores == pytest.approx(expected, abs=1e-5)
    assert described(home, f"Me/{model_type}-ranker").row.tasks == {"rerank"}


def judged(query: str, document: str) -> str:
    """The form on Qwen3-Reranker's card."""
    return (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "
        'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n<Instruct>: Given a web search query, retrieve relevant passages that "
        f"answer the query\n<Query>: {query}\n<Document>: {document}"
        "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


@pytest.mark.anyio
async def test_a_language_model_that_says_yes_or_no_ranks_as_its_card_says(own, home):
    import torch

    folder = made.snapshot(home, "Me/My-Reranker")
    model = made.judge(folder)
    scores = await rank(own("Me/My-Reranker"))
    tokenizer = made.words()
    expected = []
    for text in TEXTS:
        ids = tokenizer(judged("which?", text), return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            last = model(ids).logits[0, -1]
        yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
        expected.append(float(torch.stack([last[no], last[yes]]).softmax(0)[1]))
    assert scores == pytest.approx(expected, abs=1e-5)
    assert len({round(score, 4) for score in scores}) == 3
    row = described(home, "Me/My-Reranker").row
    assert row.engine == "models.embeddings.judge:Judge"
    assert row.options["max_tokens"] == 512


@pytest.mark.anyio
async def test_a_document_that_is_too_long_to_judge_is_cut_or_refused(own, home):
    made.judge(made.snapshot(home, "Me/My-Reranker"))
    worker = own("Me/My-Reranker")
    body = {"query": "q", "documents": ["x" * 600]}
    refused = json.loads((await worker.answer({"id": "1", "input": body}))["error"])
    assert refused["code"] == "context_length_exceeded"
    assert refused["param"] == "documents[0]"
    cut = decoded(await worker.answer({"id": "2", "input": {**body, "truncate": True}}))
    assert 0 < cut["results"][0]["relevance_score"] < 1
    whole = len(made.words()(judged("q", "x" * 600))["input_ids"])
    assert cut["truncated"] == [{"index": 0, "tokens": whole}]
    body["query"] = "q" * 600
    refused = json.loads((await worker.answer({"id": "3", "input": body}))["error"])
    assert refused["param"] == "query"


def test_a_chat_model_of_the_same_type_is_one_of_chat(home):
    made.judge(made.snapshot(home, "Me/My-Chat"))
    assert described(home, "Me/My-Chat").row.surface == "chat"
    assert described(home, "Me/My-Chat", tasks=frozenset({"rerank"})).row.surface == "embeddings"


# Transcription -----------------------------------------------------------------------------------


def test_whisper_in_both_forms(home, tmp_path, store):
    import torch

    from models.tiny import whisper
    from tests.conftest import row as catalog_row

    converted = store.resolve(catalog_row("Tiny_Whisper"))
    found = described(home, f"file://{converted}")
    assert found.row.surface == "transcribe"
    assert found.row.tasks == {"transcribe", "translate", "vid2txt"}
    assert found.row.weights_bytes == (converted / "model.bin").stat().st_size
    assert described(home, f"file://{converted}", slug="my-turbo").row.tasks == {
        "transcribe",
        "vid2txt",
    }
    folder = made.snapshot(home, "Me/My-Whisper")
    with torch.random.fork_rng():
        torch.manual_seed(tiny.SEED)
        whisper.save(folder)
    whole = described(home, "Me/My-Whisper").row
    assert whole.weights == f"hf://Me/My-Whisper@{made.COMMIT}?convert=whisper-ct2"
    assert whole.tasks == {"transcribe", "translate", "vid2txt"}
    assert whole.engine == found.row.engine


@pytest.mark.anyio
async def test_a_whisper_of_ones_own_is_converted_and_writes_down(own, home, store):
    import base64

    import torch

    from models.tiny import whisper
    from tests.conftest import ROOT

    folder = made.snapshot(home, "Me/My-Whisper")
    with torch.random.fork_rng():
        torch.manual_seed(tiny.SEED)
        whisper.save(folder)
    sound = base64.b64encode((ROOT / "benchmarks/second.ogg").read_bytes()).decode()
    body = {"audioUrl": f"data:audio/ogg;base64,{sound}", "language": "en"}
    answers = [
        decoded(await own(where).answer({"id": "1", "input": body}))
        for where in ("Me/My-Whisper", f"file://{folder}", "Tiny_Whisper")
    ]
    texts = {answer["text"] for answer in answers}
    assert len(texts) == 1, "the catalog's is made of the same weights"
    made_of_folder = list((home / "cache").glob("file--*--whisper-ct2"))
    assert len(made_of_folder) == 1, "it is converted once"


# Images ------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_pipeline_paints_what_the_library_paints(own, home):
    import base64
    import io

    import torch
    from diffusers import StableDiffusionXLPipeline
    from PIL import Image

    folder = made.snapshot(home, "Me/My-SDXL")
    tiny.build("sdxl", folder)
    body = {"prompt": "a", "size": "64x64", "steps": 2, "seed": 3, "guidance": 5.0}
    answer = decoded(await own("Me/My-SDXL").answer({"id": "1", "input": body}))
    [picture] = answer["data"]
    ours = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture["b64_json"]))).convert("RGB"))
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        "a", width=64, height=64, num_inference_steps=2, guidance_scale=5.0,
        generator=torch.Generator().manual_seed(3),
    ).images[0]  # fmt: skip
    assert np.abs(ours.astype(int) - np.asarray(theirs).astype(int)).max() <= 1
    found = described(home, "Me/My-SDXL")
    assert dict(found.row.defaults) == {"size": "1024x1024", "steps": 30, "guidance": 5.0}
    assert found.row.options["family"] == "sdxl"
    assert found.sources["defaults.size"] == "unet/config.json: sample_size"
    sizes = {one.parent.name: one.stat().st_size for one in folder.glob("*/*.safetensors")}
    assert found.row.weights_bytes == sum(sizes.values())
    assert found.row.options["denoiser_bytes"] == sizes["unet"]


def test_distilled_and_guided_pipelines_have_other_defaults(home):
    folder = made.snapshot(home, "Me/My-SDXL-Turbo")
    parts = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    }
    made.write(folder, "model_index.json", {"_class_name": "StableDiffusionXLPipeline", **parts})
    made.write(folder, "unet/config.json", {"sample_size": 64})
    made.write(folder, "vae/config.json", {"block_out_channels": [1, 1, 1, 1]})
    made.write(folder, "unet/diffusion_pytorch_model.fp16.safetensors", "x" * 100)
    made.write(folder, "unet/diffusion_pytorch_model.safetensors", "x" * 200)
    made.write(folder, "scheduler/scheduler_config.json", {"timestep_spacing": "trailing"})
    turbo = described(home, "Me/My-SDXL-Turbo").row
    assert dict(turbo.defaults) == {"size": "512x512", "steps": 4, "guidance": 0.0}
    assert turbo.weights_bytes == 100, "the half-precision variant alone is fetched"
    weights = [name for name in turbo.files if name.endswith(".safetensors")]
    assert weights == ["unet/diffusion_pytorch_model.fp16.safetensors"]
    folder = made.snapshot(home, "Me/My-Flux")
    part = {"transformer": ["diffusers", "FluxTransformer2DModel"]}
    made.write(folder, "model_index.json", {"_class_name": "FluxPipeline", **part})
    made.write(folder, "transformer/diffusion_pytorch_model.safetensors", "x")
    for guided, family, steps in ((True, "flux-dev", 28), (False, "flux", 4)):
        made.write(folder, "transformer/config.json", {"guidance_embeds": guided})
        row = described(home, "Me/My-Flux").row
        assert (row.options["family"], row.defaults["steps"]) == (family, steps)


def test_the_machine_of_a_gpu_counts_a_step(home):
    made.chat(made.snapshot(home, "Me/My-Llama"))
    row = described(home, "Me/My-Llama", Machine("cuda", "bfloat16")).row
    assert row.memory_bytes > 1_250_000_000
    assert Device("cpu", memory_bytes=1, bf16=False).dtype == "float32"


def test_weights_that_are_stored_in_fewer_bits_are_vllms(home):
    folder = made.snapshot(home, "Me/My-AWQ")
    made.chat(folder)
    saved = json.loads((folder / "config.json").read_text())
    made.write(folder, "config.json", {**saved, "quantization_config": {"quant_method": "awq"}})
    found = described(home, "Me/My-AWQ", Machine("cuda", "bfloat16", "vllm"))
    assert found.row.options["quantized"] == "awq"
    assert found.sources["options.quantized"] == "config.json: quantization_config"
    plain = {**saved, "dtype": "bfloat16"}
    made.write(folder, "config.json", plain)
    whole = described(home, "Me/My-AWQ", Machine("cuda", "bfloat16", "vllm")).row
    assert found.row.memory_bytes == whole.memory_bytes, "as large as the files"
