# One image per surface:
#   docker build --platform linux/amd64 --build-arg SURFACE=embeddings -t quartet-embeddings .
# With weights inside, for the shortest cold start; that model is then the one that is served:
#   docker build … --build-arg SURFACE=embeddings --build-arg MODEL=BGE_Large
# Chat without vllm, which makes the image smaller and chat slower:
#   docker build … --build-arg SURFACE=chat --build-arg CHAT_ENGINE=transformers
# Images that are compiled or computed in fp8 (IMAGES_COMPILE, IMAGES_QUANTIZATION=fp8):
#   docker build … --build-arg SURFACE=images --build-arg EXTRA=images-fast
# Transcription that tells speakers apart:
#   docker build … --build-arg SURFACE=transcribe --build-arg EXTRA=diarize
# Speech by Qwen3-TTS, on a GPU:
#   docker build … --build-arg SURFACE=speech --build-arg EXTRA=qwen-tts
# Without a GPU, for a laptop or a test, on x86-64 or arm64:
#   docker build --build-arg CUDA=none -t quartet-all .
#   docker run -p 127.0.0.1:8000:8000 -e SERVE=1 -e SERVE_HOST=0.0.0.0 quartet-all
# A gated model's token comes as a secret, which no layer keeps:
#   HF_TOKEN=… docker build … --secret id=HF_TOKEN --build-arg MODEL=Llama3_8B_Instruct
#
# CUDA=12.6 (the default, but for chat on vllm) runs on hosts from CUDA 12.6 on, and on GPUs up to Hopper;
# CUDA=13.0 is for Blackwell, and what vllm is built for.

# What is to be installed: arguments that do not go together end the build here, in a line.
FROM ubuntu:24.04 AS choice
ARG SURFACE=all
ARG CHAT_ENGINE=""
ARG EXTRA=""
ARG CUDA=""
ARG TORCH_INDEX
COPY builder/choose.sh builder/requirements/*.lock builder/requirements/cuda-12.txt /build/
RUN sh /build/choose.sh /choice

FROM ubuntu:24.04 AS system

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

ENV VIRTUAL_ENV=/opt/venv \
    PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    LD_LIBRARY_PATH=/opt/venv/lib/python3.12/site-packages/nvidia/cublas/lib \
    WEIGHTS_DIR=/models \
    QUARTET_CACHE=/home/quartet/.cache/quartet \
    RUNPOD_INIT_TIMEOUT=1800 \
    ONEDNN_PRIMITIVE_CACHE_CAPACITY=128 \
    DO_NOT_TRACK=1 \
    DISABLE_TELEMETRY=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    ORT_DISABLE_TELEMETRY=1 \
    VLLM_DO_NOT_TRACK=1 \
    VLLM_NO_USAGE_STATS=1

RUN useradd --create-home --uid 10001 quartet \
    && mkdir -p /models /app \
    && chown quartet /models /app \
    && python3 -m venv /opt/venv

# torch and CUDA's libraries, once. No build argument is known here: images of the same torch share the layer.
RUN --mount=type=bind,from=choice,source=/choice/torch,target=/choice \
    for file in /choice/*.txt; do \
        [ ! -e "$file" ] || pip install --no-cache-dir -r "$file"; \
    done

# Compilers, where kernels are compiled at a start.
# hadolint ignore=DL3008,SC2046
RUN --mount=type=bind,from=choice,source=/choice/system,target=/choice \
    if [ -s /choice/packages ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends $(cat /choice/packages) \
        && rm -rf /var/lib/apt/lists/*; \
    fi

# The other libraries, as they are written: the lock has the whole tree but torch and CUDA's libraries.
RUN --mount=type=bind,from=choice,source=/choice/rest,target=/choice \
    --mount=type=bind,source=builder/toolkit.sh,target=/toolkit.sh \
    pip install --no-cache-dir --no-deps --require-hashes -r /choice/lock.txt \
    && if [ -e /choice/toolkit ]; then sh /toolkit.sh python; fi

WORKDIR /app

# The weights: rebuilt when a catalog row or the code that fetches changes, not with an engine.
ARG SURFACE=all
ARG EXTRA=""
ARG MODEL=""
COPY --chown=quartet builder/*.py builder/
COPY --chown=quartet models/*.py models/
COPY --chown=quartet models/catalog models/catalog
COPY --chown=quartet models/repository models/repository
COPY --chown=quartet models/chat/__init__.py models/chat/share.py models/chat/calling.py models/chat/families.py models/chat/
COPY --chown=quartet models/images/__init__.py models/images/
COPY --chown=quartet models/images/diffusion/__init__.py models/images/diffusion/families.py models/images/diffusion/
COPY --chown=quartet models/device models/device
COPY --chown=quartet models/weights models/weights
COPY --chown=quartet models/tiny models/tiny
USER 10001
RUN --mount=type=secret,id=HF_TOKEN,uid=10001 \
    if [ -n "$MODEL" ]; then \
        HF_TOKEN="$(cat /run/secrets/HF_TOKEN 2>/dev/null || true)" \
        python -m builder fetch --surface "$SURFACE" --model "$MODEL" --to /models; \
    fi \
    && if [ "$EXTRA" = diarize ]; then \
        python -m builder fetch --surface speakers --model Pyannote_WeSpeaker --to /models; \
    fi

# The code: a change here rebuilds in seconds.
COPY --chown=quartet models models
COPY --chown=quartet handler handler
COPY --chown=quartet playground playground
COPY --chown=quartet test_input.json ./
# Bytecode once, and not at each start: pip has compiled the libraries'. The job that runs without another
# is of the image's surface.
RUN --mount=type=bind,source=examples,target=/examples \
    python -m compileall -q handler models playground \
    && if [ -e "/examples/$SURFACE.json" ]; then cp "/examples/$SURFACE.json" test_input.json; fi
ENV SURFACE=$SURFACE \
    BAKED_MODEL=$MODEL

ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="Quartet" \
    org.opencontainers.image.description="OpenAI-style requests from warm models: $SURFACE" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION"

CMD ["python", "-u", "-m", "handler"]
