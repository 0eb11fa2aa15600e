"""How a checkpoint stores its linear layers, derived from its header.

plain     floating point throughout
sdnq      ``X.weight`` in int8 and ``X.scale`` of shape (out, 1) (github.com/Disty0/sdnq)
quanto    ``X.weight._data`` in int8 and ``X.weight._scale`` (optimum-quanto's qint8)
comfy     ``X.weight`` in int8 and ``X.weight_scale`` (ComfyUI's int8; one scale, or one per row)

Other formats are refused with an error that names them.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import WeightsUnavailable
from models.weights.header import Header

_FLOATS = frozenset({"F16", "BF16", "F32", "F64"})
_FLOAT8 = frozenset({"F8_E4M3", "F8_E5M2"})


@dataclass(frozen=True)
class Layout:
    """The tensor names of a quantised linear layer.

    Attributes:
        name: the format's name.
        weight: the suffix of the weight's name, after the layer's name.
        scale: the suffix of the scale's name.
    """

    name: str
    weight: str
    scale: str

    def scale_of(self, name: str) -> str | None:
        """Return the name of a weight's scale; None if the weight has another layout."""
        stem = name.removesuffix(self.weight)
        return None if stem == name else stem + self.scale


SDNQ = Layout("sdnq", ".weight", ".scale")
QUANTO = Layout("quanto", ".weight._data", ".weight._scale")
COMFY = Layout("comfy", ".weight", ".weight_scale")


def layout_of(header: Header) -> Layout | None:
    """Return the layout of the file's linear layers; None for plain floats.

    Raises:
        WeightsUnavailable: the format is not supported; the message names it.
    """
    int8_names = [name for name, tensor in header.tensors.items() if tensor.dtype == "I8"]
    if not int8_names:
        _check_plain(header)
        return None
    for layout in (QUANTO, SDNQ, COMFY):
        if all(layout.scale_of(name) in header.tensors for name in int8_names):
            if layout is COMFY and _is_rotated(header):
                raise _unsupported("ComfyUI's int8 with rotated weights (convrot)")
            return layout
    raise _unsupported(f"int8 of an unknown kind ({int8_names[0]})")


def _check_plain(header: Header) -> None:
    types = {tensor.dtype for tensor in header.tensors.values()}
    if types & _FLOAT8:
        raise _unsupported("fp8")
    packed = [
        name
        for name, tensor in header.tensors.items()
        if tensor.dtype == "U8" and len(tensor.shape) > 1
    ]
    if packed:
        raise _unsupported(f"four bits, or another packed form ({packed[0]})")
    if not types & _FLOATS:
        raise _unsupported(f"{', '.join(sorted(types)) or 'nothing'}")


def _is_rotated(header: Header) -> bool:
    metadata = " ".join(map(str, header.metadata.values()))
    return "convrot" in metadata or any("convrot" in name for name in header.tensors)


def _unsupported(kind: str) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"The checkpoint is stored as {kind}; plain floats and the int8 of quanto, SDNQ and "
        "ComfyUI are supported."
    )
