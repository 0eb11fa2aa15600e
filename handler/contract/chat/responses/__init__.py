"""Responses: ``POST /v1/responses``, conversations in OpenAI's newer form.

request   the body, and the chat request that it becomes
shapes    parts of the body that are nested otherwise in a chat request
items     the items of an input, as messages
answer    OpenAI's Response, whole or event by event
"""

from handler.contract.chat.responses.answer import OPERATION

__all__ = ["OPERATION"]
