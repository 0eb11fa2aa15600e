#!/bin/sh
# Make of NVIDIA's wheels what compilers take for CUDA_HOME; prints the folder.
#
#   toolkit.sh PYTHON
#
# The wheels put the compiler, headers and libraries into one folder, and leave out what a linker looks
# for: libraries without a version in their name, lib64, and a stand-in for the driver's library.
set -eu
home=$("$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia/cu13
ln -sfn lib "$home/lib64"
for library in "$home"/lib/*.so.*; do
    ln -sf "$(basename "$library")" "${library%%.so.*}.so"
done
mkdir -p "$home/lib/stubs"
gcc -shared -x c /dev/null -Wl,-soname,libcuda.so.1 -o "$home/lib/stubs/libcuda.so"
echo "$home"
