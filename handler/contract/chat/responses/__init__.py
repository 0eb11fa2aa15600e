"""Responses: ``POST /v1/responses``, OpenAI's newer form of a conversation, without its memory.

request   its body, and the chat that it comes to
answer    OpenAI's Response, whole or event by event
"""

from handler.contract.chat.responses.answer import OPERATION

__all__ = ["OPERATION"]
