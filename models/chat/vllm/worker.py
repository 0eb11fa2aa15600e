"""What is asked of vLLM's worker processes besides vLLM's own questions; they import this."""

from __future__ import annotations

from typing import Any


class Times:
    """Mixed into vLLM's worker (``worker_extension_cls``)."""

    compilation_config: Any

    def compile_seconds(self) -> float:
        """How long torch's compiler took at the start."""
        config = self.compilation_config
        return float(config.compilation_time) + float(config.encoder_compilation_time)
