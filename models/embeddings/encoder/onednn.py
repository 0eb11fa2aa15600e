"""On a CPU: linear layers by oneDNN, and a GELU behind one in the same pass.

torch multiplies float32 matrices with MKL, which is slower than oneDNN on the processors of other
vendors, and runs a GELU as a pass of its own over the widest activations of the model; figures by
``python -m benchmarks.linear``. The operator is the one that torch's compiler puts in their place.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import torch
from torch.nn import functional

_ROWS = 1024  # tokens of the run for which a weight's order is chosen
_TRIED = 32  # features of the layer that is tried out

log = logging.getLogger(__name__)


class OneDnnLinear(torch.nn.Module):  # type: ignore[misc]
    """``x @ weight.T + bias``, with the exact GELU of it where ``gelu`` is set."""

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, *, gelu: bool = False
    ) -> None:
        super().__init__()
        # In the order in which the multiplication reads it; any number of rows may come.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _ROWS)
        self.bias = bias
        self._after = ("gelu", "none") if gelu else ("none", "")  # "none": not by tanh

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any leading shape; the last axis is the features."""
        after, algorithm = self._after
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, after, [], algorithm)


def linear(
    weight: torch.Tensor, bias: torch.Tensor | None, *, gelu: bool = False
) -> Callable[[torch.Tensor], torch.Tensor]:
    """``x @ weight.T + bias``, and its GELU, in the way that is fastest where the weight lies."""
    if _suits(weight):
        return OneDnnLinear(weight, bias, gelu=gelu)
    if not gelu:
        return lambda x: functional.linear(x, weight, bias)
    return lambda x: functional.gelu(functional.linear(x, weight, bias))


def rewire(model: torch.nn.Module) -> int:
    """Replace the linear layers of a library's model, in place; returns how many.

    None that are on a GPU, none where this build of torch lacks the operator or this processor is
    refused by it. Results differ by rounding only.
    """
    count = 0
    for parent in list(model.modules()):
        fuses = _widens(parent) and _suits(parent.dense.weight)
        for name, child in list(parent.named_children()):
            if type(child) is torch.nn.Linear and _suits(child.weight):
                gelu = fuses and name == "dense"
                setattr(parent, name, OneDnnLinear(child.weight, child.bias, gelu=gelu))
                count += 1
        if fuses:
            parent.intermediate_act_fn = torch.nn.Identity()
    return count


def _suits(weight: torch.Tensor) -> bool:
    return weight.device.type == "cpu" and works(weight.dtype)


@functools.cache
def works(dtype: torch.dtype) -> bool:
    """Whether the operator multiplies this type on this processor.

    Asked by trying: which instructions a type needs differs between builds, and the flags of a
    processor do not say what its hypervisor lets through.
    """
    layer = torch.nn.Linear(_TRIED, _TRIED, dtype=dtype).requires_grad_(False)
    x = torch.linspace(-1, 1, 2 * _TRIED).view(2, _TRIED).to(dtype)
    expected = functional.gelu(layer(x))
    try:
        got = OneDnnLinear(layer.weight, layer.bias, gelu=True)(x)
    except (AttributeError, RuntimeError) as error:  # no such operator; no such instructions
        log.info("linear layers in %s stay torch's own (%s)", dtype, type(error).__name__)
        return False
    return bool(torch.allclose(got.float(), expected.float(), atol=0.05))


def _widens(module: torch.nn.Module) -> bool:
    """Whether it is the half of BERT's layer that is ``intermediate_act_fn(dense(x))``."""
    activation = getattr(module, "intermediate_act_fn", None)
    # By its name: whose model this is has imported transformers, who runs ours has not.
    return type(activation).__name__ == "GELUActivation" and hasattr(module, "dense")
