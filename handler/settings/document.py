"""``python -m handler.settings.document`` prints the tables of docs/configuration.md."""

from __future__ import annotations

from handler.settings.foreign import FOREIGN
from handler.settings.variables import Settings

# Set by the gateway on every endpoint. They describe its own policy and have no effect here.
GATEWAY_ONLY = {
    "MODEL_DISPLAY_NAME": "the model's name in catalogues",
    "MODEL_OPEN_SOURCE_KIND": "always `huggingface` so far",
    "MODEL_OPEN_SOURCE_ARTIFACT": "a file in the repository; the catalog lists the files needed",
    "MODEL_MIN_CUDA_VERSION": "selects machines",
    "MODEL_GPU_CANDIDATES": "selects machines",
    "MODEL_QUEUE_DELAY_SECONDS": "scaling",
    "MODEL_BATCH_WINDOW_SECONDS": "the gateway's enqueue window; an idle engine never waits for it",
    "MODEL_FLASHBOOT": "scaling",
    "MODEL_WORKER_CLASS": "the gateway's name for a kind of worker",
}

# Set by RunPod on every worker, and read by ``handler.command`` before the settings.
PLATFORM = {
    "RUNPOD_WEBHOOK_GET_JOB": "the address of the job queue; if it is set, the SDK's loop starts",
    "RUNPOD_ENDPOINT_ID": "if it is set, logs are JSON lines",
    "RUNPOD_POD_ID": "if it is set, `--serve` listens on all interfaces",
}

_COMING = (
    "An endpoint that was configured for one of these workers starts with the same meaning. A "
    "variable of",
    "ours that is set too has precedence. A variable without a meaning is named in the log of the "
    "start",
    "and by `python -m builder check`. `DTYPE` may be in vllm's words (`auto`, `half`, `float`).",
    "worker-faster_whisper has no variables: its jobs name the model, as here.",
)


def document() -> str:
    """Return the tables of docs/configuration.md, in Markdown."""
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for field in Settings.model_fields.values():
        value = field.default
        empty = value is None or value in ((), frozenset(), {})
        shown = "" if empty else f"`{str(value).lower() if isinstance(value, bool) else value}`"
        lines.append(f"| `{field.validation_alias}` | {shown} | {field.description} |")
    others = {
        "Set by RunPod:": PLATFORM,
        "Set by the gateway, without effect here:": GATEWAY_ONLY,
    }
    for title, variables in others.items():
        lines += ["", title, "", "| variable | meaning |", "| --- | --- |"]
        lines += [f"| `{name}` | {meaning} |" for name, meaning in variables.items()]
    lines += ["", "## Coming from another worker", "", *_COMING, ""]
    lines += ["| worker | variable | here |", "| --- | --- | --- |"]
    for variable in FOREIGN:
        here = f"`{variable.ours}`" if variable.ours else "no meaning"
        note = f"; {variable.note}" if variable.note else ""
        lines.append(f"| {variable.worker} | `{variable.name}` | {here}{note} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")  # noqa: T201
