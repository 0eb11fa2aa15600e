"""On a CPU: linear layers by oneDNN, and a GELU behind one in the same pass.

torch multiplies float32 matrices with MKL, which is slower than oneDNN on the processors of other
vendors, and runs a GELU as a pass of its own over the widest activations of the model; figures by
``python -m benchmarks.linear``. The operator is the one that torch's compiler puts in their place.
"""

from __future__ import annotations

import torch
from transformers.activations import GELUActivation

_ROWS = 1024  # tokens of the run for which a weight's order is chosen
_DTYPES = (torch.float32, torch.bfloat16)  # what every CPU build of oneDNN multiplies


class OneDnnLinear(torch.nn.Module):  # type: ignore[misc]
    """``x @ weight.T + bias``, with the exact GELU of it where ``gelu`` is set."""

    def __init__(self, linear: torch.nn.Linear, gelu: bool) -> None:
        super().__init__()
        # In the order in which the multiplication reads it; any number of rows may come.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self.bias = linear.bias
        self._after = ("gelu", "none") if gelu else ("none", "")  # "none": not by tanh

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any leading shape; the last axis is the features."""
        after, algorithm = self._after
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, after, [], algorithm)


def rewire(model: torch.nn.Module) -> int:
    """Replace the linear layers of a model that are on the CPU, in place; returns how many.

    None where this build of torch lacks oneDNN or the operator. Results differ by rounding only.
    """
    operator = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if operator is None or not torch.backends.mkldnn.is_available():
        return 0
    count = 0
    for parent in list(model.modules()):
        fuses = _widens(parent) and _suits(parent.dense)
        for name, child in list(parent.named_children()):
            if type(child) is torch.nn.Linear and _suits(child):
                setattr(parent, name, OneDnnLinear(child, gelu=fuses and name == "dense"))
                count += 1
        if fuses:
            parent.intermediate_act_fn = torch.nn.Identity()
    return count


def _suits(linear: torch.nn.Linear) -> bool:
    return linear.weight.device.type == "cpu" and linear.weight.dtype in _DTYPES


def _widens(module: torch.nn.Module) -> bool:
    """Whether it is the half of BERT's layer that is ``intermediate_act_fn(dense(x))``."""
    activation = getattr(module, "intermediate_act_fn", None)
    return isinstance(activation, GELUActivation) and hasattr(module, "dense")
