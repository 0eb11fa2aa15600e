"""Images: the body of a request, and its answer."""

from handler.contract.images.images import SURFACE

__all__ = ["SURFACE"]
