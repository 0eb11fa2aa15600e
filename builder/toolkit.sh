#!/bin/sh
# Make a CUDA_HOME for compilers from NVIDIA's wheels; print the folder.
#
#   toolkit.sh PYTHON
#
# The wheels put the compiler, headers and libraries in one folder, but lack what a linker needs:
# libraries without a version in their name, lib64, and a stub of the driver's library.
set -eu
home=$("$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia/cu13
ln -sfn lib "$home/lib64"
for library in "$home"/lib/*.so.*; do
    ln -sf "$(basename "$library")" "${library%%.so.*}.so"
done
mkdir -p "$home/lib/stubs"
gcc -shared -x c /dev/null -Wl,-soname,libcuda.so.1 -o "$home/lib/stubs/libcuda.so"
echo "$home"
