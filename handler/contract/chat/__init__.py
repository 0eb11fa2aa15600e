"""Chat, completions and responses.

surface             the operations of the surface
chat                conversations: ``POST /v1/chat/completions``
request             their body
completions         text that goes on without a template: ``POST /v1/completions``
completion_request  their body
responses           conversations in OpenAI's newer form: ``POST /v1/responses``
generation          a prompt for the engine, and the text as it grows
generation_request  the fields that all bodies have
messages            the messages of a conversation
tool_calls          calls that the assistant made earlier
tools               functions that a model may call, and forms that an answer must have
choice              one choice's tokens as text
stops               stop strings in streamed text
foreign             fields of other servers of text
anthropic           Anthropic's Messages: ``POST /v1/messages``
adapters            the LoRA adapter that a request chooses
ocr                 the text in pictures and PDFs: ``POST /v1/ocr``
ocr_request         its body
page_numbers        which pages of a PDF are read
parts               the parts of a message
pictures            pictures and PDFs of a request
reasoning           what a client asks of the reasoning
"""

from handler.contract.chat.surface import SURFACE

__all__ = ["SURFACE"]
