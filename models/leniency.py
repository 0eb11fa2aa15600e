"""Fields of a request that its model cannot use: ignored with a warning, or refused."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import InvalidValue, RequestError, UnsupportedParameter


@dataclass(frozen=True)
class LeftOut:
    """A field that was ignored or adapted, and the message for the client."""

    param: str
    message: str


class Leniency:
    """Decides about a request's fields that the model cannot use.

    A strict request is refused. Otherwise the field is ignored, and the answer has a warning.
    """

    def __init__(self, strict: bool) -> None:
        self.left_out: list[LeftOut] = []
        self._strict = strict

    def leave_out(self, param: str, reason: str) -> None:
        """Ignore a field; ``reason`` is a sentence without its full stop.

        Raises:
            UnsupportedParameter: the request is strict.
        """
        refusal = UnsupportedParameter(f"{reason}; leave it out.", param=param)
        self._settle(LeftOut(param, f"{reason}; it was left out."), refusal)

    def note(self, param: str, message: str) -> None:
        """Add a note on how a field was used; ``message`` is a sentence without its full stop."""
        self.left_out.append(LeftOut(param, f"{message}."))

    def adapt(self, param: str, reason: str) -> None:
        """Use the nearest possible value; ``reason`` is a sentence without its full stop.

        Raises:
            InvalidValue: the request is strict.
        """
        refusal = InvalidValue(f"{param}: {reason}.", param=param)
        self._settle(LeftOut(param, f"{reason}."), refusal)

    def _settle(self, warning: LeftOut, refusal: RequestError) -> None:
        if self._strict:
            raise refusal
        self.left_out.append(warning)
