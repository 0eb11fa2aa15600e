"""Linear layers by oneDNN on a CPU, fused with a following GELU.

torch multiplies float32 matrices by MKL, which is slower than oneDNN on other vendors' CPUs, and
runs a GELU as a separate pass over the model's widest activations; ``python -m benchmarks.linear``
has figures. The operator is the one that torch's compiler uses.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import torch
from torch.nn import functional

_ROWS = 1024  # tokens of the run for which a weight's memory layout is chosen
_TRIED = 32  # features of the layer that tests the operator

log = logging.getLogger(__name__)


class OneDnnLinear(torch.nn.Module):  # type: ignore[misc]
    """Computes ``x @ weight.T + bias``, followed by an exact GELU if ``gelu`` is set."""

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, *, gelu: bool = False
    ) -> None:
        super().__init__()
        # Reordered to the layout that the multiplication reads; inputs may have any number of rows.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _ROWS)
        self.bias = bias
        self._after = ("gelu", "none") if gelu else ("none", "")  # "none": no tanh approximation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the layer; ``x`` has shape (…, features)."""
        after, algorithm = self._after
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, after, [], algorithm)


def linear(
    weight: torch.Tensor, bias: torch.Tensor | None, *, gelu: bool = False
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the fastest ``x @ weight.T + bias`` for the weight's device, with a GELU if set."""
    if _suits(weight):
        return OneDnnLinear(weight, bias, gelu=gelu)
    if not gelu:
        return lambda x: functional.linear(x, weight, bias)
    return lambda x: functional.gelu(functional.linear(x, weight, bias))


def rewire(model: torch.nn.Module) -> int:
    """Replace the linear layers of a library's model, in place; returns how many.

    Layers on a GPU are kept. All are kept if this build of torch lacks the operator, or the CPU
    does not support it. Results differ by rounding only.
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
    """Whether the operator supports a dtype on this CPU.

    This is found by trying: the instructions that a dtype needs differ between builds, and a CPU's
    flags do not tell what its hypervisor allows.
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
    """Whether a module is the part of BERT's layer with ``intermediate_act_fn(dense(x))``."""
    activation = getattr(module, "intermediate_act_fn", None)
    # Compared by name, because importing transformers would take seconds.
    return type(activation).__name__ == "GELUActivation" and hasattr(module, "dense")
