"""Our sampling and logprobs in vLLM's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.chat.admission import Admission, Limits
from models.chat.grammar import Form
from models.chat.request import Logprob, Sampling

# What its worker holds tables for (vllm/v1/worker/gpu/sample/logit_bias.py), and breaks beyond; the
# ends of an answer are held where it has a least length.
_MOST_BIASES, _MOST_ENDS = 1024, 128
_LEAST_TOP_P = 1e-6  # 0 is refused; the likeliest token always stays


def limits_of(config: Any, ends: int) -> Limits:
    """Return the limits of an engine of vLLM's.

    Args:
        config: the engine's.
        ends: how many tokens end an answer; vLLM adds the tokenizer's own.
    """
    return Limits(
        int(config.model_config.get_vocab_size()),
        _MOST_BIASES,
        int(config.model_config.max_logprobs),
        least_length=ends < _MOST_ENDS,
    )


def sampling(item: Admission, index: int, ends: frozenset[int]) -> Any:
    """Our sampling in vLLM's words."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    rules = item.prompt.sampling
    stays = rules.ignore_eos and item.form is None
    return SamplingParams(
        max_tokens=item.limit,
        min_tokens=0 if item.form else min(rules.min_tokens, item.limit),
        temperature=0.0 if rules.greedy else rules.temperature,
        top_p=max(rules.top_p, _LEAST_TOP_P),
        top_k=rules.top_k,
        min_p=rules.min_p,
        repetition_penalty=rules.repetition_penalty,
        frequency_penalty=rules.frequency_penalty,
        presence_penalty=rules.presence_penalty,
        logit_bias=dict(rules.logit_bias) or None,
        ignore_eos=stays,
        stop_token_ids=[] if stays else sorted(ends),
        seed=None if rules.seed is None else (rules.seed + index) % 2**63,
        logprobs=rules.logprobs,
        structured_outputs=_form(item.form),
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )


def _form(form: Form | None) -> Any:
    if form is None:
        return None
    from vllm.sampling_params import StructuredOutputsParams

    kind, source = form.grammar.kind, form.grammar.source
    if kind == "regex":
        return StructuredOutputsParams(regex=source)
    # A schema as it is would have to pass checks that are of other back ends.
    lark = f"start: %json {source}" if kind == "json_schema" else source
    return StructuredOutputsParams(grammar=lark)


def logprobs(rules: Sampling, tokens: Sequence[int], new: Any) -> tuple[Logprob, ...]:
    """VLLM tells of the chosen token and of the likeliest, by their ranks."""
    if rules.logprobs is None or new.logprobs is None:
        return ()
    told = []
    for token, known in zip(tokens, new.logprobs, strict=False):
        ranked = sorted(known.items(), key=lambda entry: entry[1].rank)
        top = [(other, entry.logprob) for other, entry in ranked if entry.rank <= rules.logprobs]
        told.append(Logprob(token, known[token].logprob, tuple(top[: rules.logprobs])))
    return tuple(told)
