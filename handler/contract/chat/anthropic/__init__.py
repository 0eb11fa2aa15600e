"""Messages: ``POST /v1/messages``, Anthropic's form of a conversation, and its count of tokens.

turns     a turn, as a message of a chat
blocks    turns and their content blocks, as the messages of a chat
options   what a request says of tools, reasoning and form, as a chat has it
request   its body, and the chat that it comes to
answer    Anthropic's Message, whole or event by event
"""

from handler.contract.chat.anthropic.answer import COUNT, OPERATION

__all__ = ["COUNT", "OPERATION"]
