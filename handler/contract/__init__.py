"""The contract: one module per surface, and the registry of them.

A new surface is its engine in ``models``, its module here, and its line below.
"""

from handler.contract import chat, embeddings, images, transcribe
from handler.contract.base import Call, Operation, Surface
from handler.contract.request import Request

SURFACES: dict[str, Surface] = {
    surface.name: surface
    for surface in (chat.SURFACE, images.SURFACE, transcribe.SURFACE, embeddings.SURFACE)
}

__all__ = ["SURFACES", "Call", "Operation", "Request", "Surface"]
