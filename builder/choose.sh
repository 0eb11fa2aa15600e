#!/bin/sh
# Choose what an image installs: check the build arguments, and write the choice to a folder.
#
#   choose.sh FOLDER
#
# Reads SURFACE, CHAT_ENGINE, EXTRA, CUDA and TORCH_INDEX (the index for torch, empty for pip's default
# index), and the locks in its own folder or in requirements/. Each step of the Dockerfile gets a part of
# the folder only, so that it runs again only when that part changes:
#
#   torch/*.txt      for pip, one after the other: torch and CUDA's libraries, which are large
#   system/packages  Debian packages: compilers
#   rest/lock.txt    for pip: everything else, with hashes
#   rest/toolkit     exists if kernels are compiled at start
set -eu
folder=$1
here=$(dirname "$0")
[ ! -d "$here/requirements" ] || here=$here/requirements

refuse() {
    echo "$1" >&2
    exit 1
}

case $SURFACE in
all | chat | images | transcribe | speech | music | embeddings) ;;
*) refuse "SURFACE=$SURFACE: an image is of one of chat, images, transcribe, speech, music, embeddings, or of all" ;;
esac
case $CUDA in
"" | 12.6 | 13.0 | none) ;;
*) refuse "CUDA=$CUDA is none of 12.6, 13.0, none" ;;
esac
case $SURFACE-$EXTRA in
*- | images-images-fast | transcribe-diarize | speech-qwen-tts) ;;
*-images-fast) refuse "EXTRA=images-fast goes with SURFACE=images, and this is $SURFACE" ;;
*-diarize) refuse "EXTRA=diarize goes with SURFACE=transcribe, and this is $SURFACE" ;;
*-qwen-tts) refuse "EXTRA=qwen-tts goes with SURFACE=speech, and this is $SURFACE" ;;
*) refuse "EXTRA=$EXTRA is none of images-fast, diarize, qwen-tts" ;;
esac

# Chat alone runs on vLLM, unless the image is for machines without a GPU.
image=${EXTRA:-$SURFACE}
case $CHAT_ENGINE in
"" | vllm | transformers) ;;
*) refuse "CHAT_ENGINE=$CHAT_ENGINE is none of vllm, transformers" ;;
esac
if [ "$SURFACE" = chat ]; then
    case $CHAT_ENGINE-$CUDA in
    transformers-* | -none) ;;
    vllm-none) refuse "CHAT_ENGINE=vllm needs a GPU: leave CUDA=none out, or CHAT_ENGINE" ;;
    *-12.6) refuse "chat on vllm is built for CUDA 13.0: leave CUDA out, or CHAT_ENGINE=transformers" ;;
    *) image=chat-vllm CUDA=13.0 ;;
    esac
fi
CUDA=${CUDA:-12.6}
case $(uname -m)-$CUDA in
x86_64-* | *-none) ;;
*) refuse "CUDA=$CUDA is built for x86-64 alone: on $(uname -m) build with CUDA=none" ;;
esac

mkdir -p "$folder/torch" "$folder/system" "$folder/rest"

torch() {
    index=https://download.pytorch.org/whl/cpu
    [ "$CUDA" = none ] || index=https://download.pytorch.org/whl/cu$(echo "$CUDA" | tr -d .)
    index=${TORCH_INDEX-$index}
    printf '%s\n' ${index:+"--index-url $index"} "torch==2.13.0" >"$folder/torch/torch.txt"
}
case $image-$CUDA in
chat-vllm-*) ;; # its lock has torch and CUDA's libraries
# ctranslate2 brings its own kernels and takes cuBLAS of CUDA 12: no torch, or one beside it.
transcribe-none | diarize-none | speech-*) ;; # onnxruntime, on the processor
transcribe-* | diarize-*) cp "$here/cuda-12.txt" "$folder/torch/" ;;
all-13.0)
    cp "$here/cuda-12.txt" "$folder/torch/"
    torch
    ;;
*) torch ;;
esac

case $image in
chat-vllm | images-fast) echo "gcc g++ python3-dev" ;;
esac >"$folder/system/packages"

cp "$here/$image.lock" "$folder/rest/lock.txt"
[ "$image" != chat-vllm ] || : >"$folder/rest/toolkit"
