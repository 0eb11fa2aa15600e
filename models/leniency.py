"""Fields of a request that its model has no use for: left out with a warning, or refused."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import InvalidValue, RequestError, UnsupportedParameter


@dataclass(frozen=True)
class LeftOut:
    """A field that the model has no use for, and why; what the client is told of it."""

    param: str
    message: str


class Leniency:
    """What becomes of a request's fields that the model has no use for.

    A strict request is refused for one. Of any other it is left out, and the answer says so.
    """

    def __init__(self, strict: bool) -> None:
        self.left_out: list[LeftOut] = []
        self._strict = strict

    def leave_out(self, param: str, reason: str) -> None:
        """Do without a field; ``reason`` is a sentence without its full stop.

        Raises:
            UnsupportedParameter: the request is strict.
        """
        refusal = UnsupportedParameter(f"{reason}; leave it out.", param=param)
        self._tell(LeftOut(param, f"{reason}; it was left out."), refusal)

    def note(self, param: str, message: str) -> None:
        """Say how a field was understood; ``message`` is a sentence without its full stop."""
        self.left_out.append(LeftOut(param, f"{message}."))

    def adapt(self, param: str, reason: str) -> None:
        """Take the nearest value that there is; ``reason`` is a sentence without its full stop.

        Raises:
            InvalidValue: the request is strict.
        """
        refusal = InvalidValue(f"{param}: {reason}.", param=param)
        self._tell(LeftOut(param, f"{reason}."), refusal)

    def _tell(self, told: LeftOut, refusal: RequestError) -> None:
        if self._strict:
            raise refusal
        self.left_out.append(told)
