"""What a preset says of sampling, as parameters of a node that asks a language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

CHAT: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "top_a": "top_a",
    "min_p": "min_p",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "repetition_penalty": "repetition_penalty",
    "seed": "seed",
    "n": "n",
    "openai_max_tokens": "max_tokens",
    "stream_openai": "stream",
}
"""Of a chat preset, with the names that servers know."""

TEXT: Final = {
    "temp": "temperature",
    "rep_pen": "repetition_penalty",
    "rep_pen_range": "repetition_penalty_range",
    "freq_pen": "frequency_penalty",
    "presence_pen": "presence_penalty",
    "genamt": "max_tokens",
    "streaming": "stream",
    **{
        key: key
        for key in (
            "top_p", "top_k", "top_a", "tfs", "epsilon_cutoff", "eta_cutoff", "typical_p", "min_p", "rep_pen_decay",
            "rep_pen_slope", "no_repeat_ngram_size", "penalty_alpha", "num_beams", "min_temp", "max_temp",
            "dynatemp_exponent", "smoothing_factor", "smoothing_curve", "dry_allowed_length", "dry_multiplier",
            "dry_base", "dry_sequence_breakers", "dry_penalty_last_n", "mirostat_mode", "mirostat_tau", "mirostat_eta",
            "guidance_scale", "negative_prompt", "grammar_string", "json_schema", "banned_tokens", "logit_bias",
            "xtc_threshold", "xtc_probability", "nsigma", "min_keep", "sampler_priority", "samplers",
            "samplers_priorities", "sampler_order", "temperature_last", "dynatemp", "seed", "min_length",
            "skip_special_tokens", "ban_eos_token", "add_bos_token",
        )
    },
}  # fmt: skip
"""Of a text preset."""

_INPUTS: Final = ("temperature", "max_tokens", "top_p", "seed", "stream")
_SWITCHES: Final = ("stream",)


def samplers_of(document: Mapping[str, Any], names: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The node's own inputs and its further parameters, by name.

    Args:
        document: the preset, or its part with samplers.
        names: `CHAT` or `TEXT`.
    """
    found = {ours: document[theirs] for theirs, ours in names.items() if document.get(theirs) is not None}
    if isinstance(found.get("seed"), int) and found["seed"] < 0:
        # Chance.
        del found["seed"]
    inputs = {key: found.pop(key) for key in _INPUTS if _fits(key, found.get(key))}
    return inputs, found


def model_of(document: Mapping[str, Any]) -> str:
    """The model that a chat preset names for its own source, or ""."""
    source = document.get("chat_completion_source")
    for key in (f"{source}_model", f"{source}_model_id", "openai_model" if source in (None, "openai") else ""):
        value = document.get(key)
        if isinstance(value, str) and value:
            return value[:200]
    return ""


def _fits(key: str, value: object) -> bool:
    if key in _SWITCHES:
        return isinstance(value, bool)
    return isinstance(value, int | float) and not isinstance(value, bool)
