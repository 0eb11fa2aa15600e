# One image per surface:
#   docker build --platform linux/amd64 --build-arg SURFACE=embeddings -t quartet-embeddings .
# With weights inside, for the shortest cold start:
#   docker build … --build-arg SURFACE=embeddings --build-arg MODEL=BGE_Large
# Chat without vllm, which makes the image smaller and chat slower:
#   docker build … --build-arg SURFACE=chat --build-arg CHAT_ENGINE=transformers
# Images that are compiled or computed in fp8 (IMAGES_COMPILE, IMAGES_QUANTIZATION=fp8):
#   docker build … --build-arg SURFACE=images --build-arg EXTRA=images-fast
# Transcription that tells speakers apart:
#   docker build … --build-arg SURFACE=transcribe --build-arg EXTRA=diarize
# A gated model's token comes as a secret, which no layer keeps:
#   HF_TOKEN=… docker build … --secret id=HF_TOKEN --build-arg MODEL=Llama3_8B_Instruct

# CUDA=12.6 (the default) runs on hosts from CUDA 12.6 on, and on GPUs up to Hopper. For Blackwell, and
# for chat on vllm, which is built for nothing else:
#   docker build … --build-arg SURFACE=chat --build-arg CUDA=13.0

# CUDA's libraries come as packages, once, and the driver from the host; vllm compiles with NVIDIA's tools.
ARG CUDA=12.6
FROM ubuntu:24.04 AS cuda-12.6
FROM nvidia/cuda:13.0.2-base-ubuntu24.04 AS cuda-13.0
# hadolint ignore=DL3006
FROM cuda-${CUDA}

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

WORKDIR /app

# The libraries: rebuilt when a requirement changes. Chat alone runs on vllm, which compiles kernels when
# it starts: with gcc and CUDA's compiler.
ARG SURFACE=all
ARG CHAT_ENGINE=vllm
ARG EXTRA=""
# hadolint ignore=DL3008
RUN if [ "$SURFACE-$CHAT_ENGINE" = chat-vllm ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends gcc g++ python3-dev \
            cuda-nvcc-13-0 cuda-nvrtc-dev-13-0 cuda-cudart-dev-13-0 libcublas-dev-13-0 libcurand-dev-13-0 \
        && rm -rf /var/lib/apt/lists/*; \
    fi
# hadolint ignore=DL3008
RUN if [ "$EXTRA" = images-fast ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends gcc g++ python3-dev \
        && rm -rf /var/lib/apt/lists/*; \
    fi
ENV CUDA_HOME=/usr/local/cuda-13.0
ARG CUDA
COPY builder/install.sh builder/install.sh
COPY builder/requirements/cuda-12.txt builder/requirements/cuda-12.txt
RUN sh builder/install.sh cuda
COPY builder/requirements builder/requirements
RUN sh builder/install.sh rest

# The weights: rebuilt when a catalog row or the code that fetches changes, not with an engine.
ARG MODEL=""
COPY --chown=quartet builder builder
COPY --chown=quartet models/*.py models/
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
# Bytecode once, and not at each start: pip has compiled the libraries'.
RUN python -m compileall -q handler models playground
ENV SURFACE=$SURFACE

CMD ["python", "-u", "-m", "handler"]
