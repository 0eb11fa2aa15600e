"""Chat, and the plain completions and the responses beside it.

surface       all three
chat          conversations
completions   text that goes on as it is
responses     conversations in OpenAI's newer form
request       the body of a chat request; messages and tools are its larger parts
generation    what all ask for, and how answers come
voices        one choice's tokens as text; stops are its stop strings
"""

from handler.contract.chat.surface import SURFACE

__all__ = ["SURFACE"]
