#!/bin/sh
# The libraries of an image, in two layers: `install.sh cuda`, which is large and changes rarely, then
# `install.sh rest`, from the lock. Reads the build arguments SURFACE, CHAT_ENGINE, EXTRA and CUDA;
# TORCH_INDEX is where torch comes from, empty for pip's own index.
set -eu
requirements="$(dirname "$0")/requirements"

image="${EXTRA:-$SURFACE}"
[ "$SURFACE-$CHAT_ENGINE" != chat-vllm ] || image=chat-vllm

cuda() {
    case "$image-$CUDA" in
    chat-vllm-13.0) return ;; # its lock has all of it
    chat-vllm-*)
        echo "chat on vllm is built for CUDA 13.0: --build-arg CUDA=13.0" >&2
        exit 1
        ;;
    all-13.0)
        # ctranslate2 takes cuBLAS of CUDA 12, which lies in a folder of its own.
        pip install --no-cache-dir -r "$requirements/cuda-12.txt"
        ;;
    transcribe-* | diarize-*)
        # ctranslate2 brings its own kernels, and needs no torch.
        [ "$CUDA" = none ] || pip install --no-cache-dir -r "$requirements/cuda-12.txt"
        return
        ;;
    esac
    index="${TORCH_INDEX-https://download.pytorch.org/whl/cu$(echo "$CUDA" | tr -d .)}"
    pip install --no-cache-dir ${index:+--index-url "$index"} torch==2.13.0
}

rest() {
    # As they are written: the lock has the whole tree but torch and CUDA's libraries.
    pip install --no-cache-dir --no-deps --require-hashes -r "$requirements/$image.lock"
}

"$1"
