"""The errors that may leave the worker, by name.

    QuartetError                     code, kind, param, message
    ├── RequestError                 the client can correct it
    │   ├── InvalidValue             a field is missing, has the wrong type or is out of range
    │   ├── UnsupportedParameter     a known field that this model or worker does not support
    │   ├── ModelNotFound
    │   ├── ModelUnsuited            the worker has the model, but the model does another task
    │   ├── ContextLengthExceeded
    │   ├── ContentWithheld          a safety checker flags the result
    │   └── MediaUndecodable         the bytes are no audio or image (handler.errors adds its own)
    └── WorkerError                  the operator can correct it, or a retry may succeed
        ├── ModelDoesNotFit          larger than the whole memory budget
        ├── ModelLoadFailed
        ├── DriverTooOld             no job can run on this machine
        ├── WeightsUnavailable
        │   └── WeightsGated         a token or an accepted licence is missing
        ├── RepositoryUnsuited       a repository that the operator names, and no engine can serve
        ├── OutOfMemory
        ├── DeviceLost               no later request can run on this device either
        └── EngineFailed             the engine failed on a valid request

Messages are written for the client: they name the field, the limit and the value received, and
never contain a prompt, a path, a host name or a secret. ``handler.errors`` converts them to
OpenAI's shape.
"""

from __future__ import annotations

from collections.abc import Iterable


class QuartetError(Exception):
    """Base of every error that may leave the worker.

    Attributes:
        code: a stable, machine-readable name, such as ``model_not_found``.
        kind: OpenAI's ``type``: ``invalid_request_error`` or ``server_error``.
        param: the offending field of the request, in OpenAI's path notation, or None.
    """

    code = "internal_error"
    kind = "server_error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code


class RequestError(QuartetError):
    """The request cannot be served as it stands; a changed one may be."""

    code = "invalid_request"
    kind = "invalid_request_error"


class InvalidValue(RequestError):
    """A field is missing, has the wrong type, or lies outside its range."""

    code = "invalid_value"


class ContentWithheld(RequestError):
    """The result is withheld because it is classified as unsafe."""

    code = "content_policy_violation"


class UnsupportedParameter(RequestError):
    """A field of OpenAI's API that this model or worker does not support."""

    code = "unsupported_parameter"


class ModelNotFound(RequestError):
    """The worker does not hold the requested model, or has no default for what is requested.

    Args:
        wanted: the model's name; with ``default``, the task or the surface.
        held: the models that the worker holds.
        default: whether the request names no model.
    """

    code = "model_not_found"

    def __init__(self, wanted: str, held: Iterable[str], *, default: bool = False) -> None:
        names = ", ".join(held) or "none"
        missing = f"does not hold the model {shorten(wanted)!r}"
        if default:
            missing = f"has no default model for {wanted}; name a model"
        super().__init__(f"This worker {missing}. It holds: {names}.", param="model")


class ModelUnsuited(RequestError):
    """The model does not do the requested task."""

    code = "model_not_supported"

    def __init__(self, slug: str, task: str, able: Iterable[str]) -> None:
        others = f"Models that do: {', '.join(able) or 'none of this worker'}."
        hint = " It ranks documents: POST /v1/rerank." if task == "txt2embedding" else ""
        super().__init__(f"{slug} does not do {task}.{hint} {others}", param="model")


class ContextLengthExceeded(RequestError):
    """The input, or the input and the requested tokens, are longer than the model's context."""

    code = "context_length_exceeded"

    @classmethod
    def of_chat(cls, most: int, excess: str, param: str) -> ContextLengthExceeded:
        """Return the error of a chat model; its message starts with OpenAI's words.

        LiteLLM, LangChain and others recognise the error by them.

        Args:
            most: the model's maximum context length, in tokens.
            excess: what is too long, as the rest of a sentence after "However, ".
            param: the client's field.
        """
        return cls(
            f"This model's maximum context length is {most} tokens. However, {excess}. "
            f"Please reduce the length of {param}.",
            param=param,
        )


class MediaUndecodable(RequestError):
    """The bytes are not a readable image or audio file."""

    code = "media_undecodable"


class WorkerError(QuartetError):
    """The worker, not the request, is at fault."""


class ModelDoesNotFit(WorkerError):
    """The model needs more memory than the whole budget."""

    code = "model_does_not_fit"

    def __init__(self, slug: str, need_bytes: int, budget_bytes: int) -> None:
        super().__init__(
            f"{slug} needs {need_bytes / 1e9:.1f} GB and this worker's budget is "
            f"{budget_bytes / 1e9:.1f} GB. Use a larger machine or raise MEMORY_BUDGET_GB."
        )


class ModelLoadFailed(WorkerError):
    """The weights are on this machine, but the engine could not be made from them."""

    code = "model_load_failed"


class DriverTooOld(WorkerError):
    """This machine's GPU driver is older than a library needs: no job can run here."""

    code = "driver_too_old"


class WeightsUnavailable(WorkerError):
    """The weights are in no known place and could not be downloaded.

    Attributes:
        is_missing: whether the host answers that it has no such file.
    """

    code = "weights_unavailable"
    is_missing = False


class WeightsGated(WeightsUnavailable):
    """The weights need a token, or a licence that the token's owner has not accepted."""

    code = "weights_gated"


class RepositoryUnsuited(WorkerError):
    """No engine can serve the repository that the operator names; the message says what to do.

    It ends the start, so that no client sees it, and may name a folder.
    """

    code = "repository_unsuited"


class OutOfMemory(WorkerError):
    """The device ran out of memory for this request alone."""

    code = "out_of_memory"


class DeviceLost(WorkerError):
    """The GPU's context is broken: every later request would fail too, until the process ends."""

    code = "device_lost"


class EngineFailed(WorkerError):
    """The engine failed on this request; the worker's log has the reason."""

    code = "engine_failed"


def shorten(text: str, limit: int = 60) -> str:
    """Shorten a client's text for an error message to at most ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def let_go(error: BaseException) -> None:
    """Drop the frames of an error that is answered, and the errors that led to it with theirs.

    They refer to the job, and among its variables is the error: a cycle, which would keep its files
    and texts until a full garbage collection.
    """
    left: list[BaseException] = [error]
    while left:
        current = left.pop()
        causes = [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            causes += current.exceptions
        left += [cause for cause in causes if cause is not None]
        current.__traceback__ = current.__cause__ = current.__context__ = None
