# One image per surface:
#   docker build --platform linux/amd64 --build-arg SURFACE=embeddings -t quartet-embeddings .
# With weights inside, for the shortest cold start:
#   docker build … --build-arg SURFACE=embeddings --build-arg MODEL=BGE_Large
# A gated model's token comes as a secret, which no layer keeps:
#   HF_TOKEN=… docker build … --secret id=HF_TOKEN --build-arg MODEL=Llama3_8B_Instruct

# cuDNN and cuBLAS of CUDA 12 are for ctranslate2; torch brings its own CUDA.
FROM nvidia/cuda:12.9.1-cudnn-runtime-ubuntu24.04

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

ENV VIRTUAL_ENV=/opt/venv \
    PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    WEIGHTS_DIR=/models \
    QUARTET_CACHE=/home/quartet/.cache/quartet \
    RUNPOD_INIT_TIMEOUT=1800 \
    ONEDNN_PRIMITIVE_CACHE_CAPACITY=128

RUN useradd --create-home --uid 10001 quartet \
    && mkdir -p /models /app \
    && chown quartet /models /app \
    && python3 -m venv /opt/venv

WORKDIR /app

# The libraries: rebuilt when a requirement changes.
ARG SURFACE=all
COPY builder/requirements builder/requirements
RUN pip install --no-cache-dir -r "builder/requirements/${SURFACE}.txt"

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
    fi

# The code: a change here rebuilds in seconds.
COPY --chown=quartet models models
COPY --chown=quartet handler handler
COPY --chown=quartet test_input.json ./
ENV SURFACE=$SURFACE

CMD ["python", "-u", "-m", "handler"]
