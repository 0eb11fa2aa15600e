"""Chat, and the plain completions beside it.

request       the body of a chat request
generation    what both ask for, and how text comes
chat          conversations
completions   text that goes on as it is
stops         stop strings in streamed text
"""

from handler.contract.chat.chat import SURFACE

__all__ = ["SURFACE"]
