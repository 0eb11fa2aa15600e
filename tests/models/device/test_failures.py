"""The errors of engines' libraries, by their own words."""

from __future__ import annotations

import pytest

from models.device.failures import Failure, attempt, is_device_lost, is_out_of_memory, translate
from models.errors import DeviceLost, EngineFailed, OutOfMemory

# As the libraries print them: torch 2.13, its Triton, ctranslate2 4.8.5, CUDA's runtime.
MEMORY = [
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB",
    "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDA error: CUSPARSE_STATUS_ALLOC_FAILED when calling `cusparseCreate(handle)`",
    "cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA failed with error out of memory",
    "Triton Error [CUDA]: out of memory",
]
REFUSED = [
    "cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED",
    "CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx(handle, opa, opb, m, n)`",
    "CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasSgemm(handle, opa, opb, m, n)`",
    "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a "
    "non-contiguous input.",
    "cuDNN error: CUDNN_STATUS_BAD_PARAM",
    "CUDA error: invalid configuration argument\nCUDA kernel errors might be reported later",
    "CUDA error: invalid argument",
    "Triton Error [CUDA]: invalid argument",
    "mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)",
]
LOST = [
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: device-side assert triggered",
    "CUDA error: unspecified launch failure",
    "CUDA error: no kernel image is available for execution on the device",
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasLtMatmul`",
    "CUDA driver error: an illegal memory access was encountered",
    "Triton Error [CUDA]: an illegal memory access was encountered",
    "CUDA failed with error an illegal memory access was encountered",
    "cuBLAS failed with status CUBLAS_STATUS_EXECUTION_FAILED",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "No CUDA GPUs are available",
    "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling "
    "NumCudaDevices() that might have already set an error? Error 804: forward compatibility",
    "Unexpected error from cudaGetDeviceCount(). ... Error 2: system has no device",
]
KINDS = [
    *((words, OutOfMemory) for words in MEMORY),
    *((words, EngineFailed) for words in REFUSED),
    *((words, DeviceLost) for words in LOST),
]


@pytest.mark.parametrize(("words", "kind"), KINDS)
def test_an_error_has_the_name_of_what_it_means(words, kind):
    error = RuntimeError(words)
    assert type(translate(error)) is kind
    assert is_out_of_memory(error) == (kind is OutOfMemory)
    assert is_device_lost(error) == (kind is DeviceLost)


def test_a_named_error_keeps_its_name():
    lost, failed = DeviceLost("The GPU is gone."), EngineFailed("CUDA error, as a client wrote it")
    assert translate(lost) is lost
    assert is_device_lost(lost)
    assert translate(failed) is failed
    assert not is_device_lost(failed)


def test_an_error_out_of_memory_holds_no_frames():
    """The frames hold the tensors that filled the memory."""

    def fill() -> None:
        tensors = bytearray(10)
        raise RuntimeError(f"cuDNN error: CUDNN_STATUS_ALLOC_FAILED {len(tensors)}")

    outcome = attempt(fill)
    assert isinstance(outcome, Failure)
    assert outcome.error.__traceback__ is None
