"""What a guest is told when an endpoint did not answer: nothing of where it is, who pays for it, or what it said, but
for one sentence about the question itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from innkeeper.bridge.codec import parse_json
from innkeeper.bridge.inference.endpoints import Model
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.scan import DataBounds, MalformedError
from innkeeper.bridge.secret_placing import Placing
from innkeeper.bridge.web.faults import Rule, WebError

logger = logging.getLogger("innkeeper.bridge")

MOST_ERROR: Final = 16 * 1024
"""Bytes that are read of the body of an error."""

_MOST_SENTENCE = 300
_PIECE = 6
"""Characters in a row of a key that give it away: servers show its begin and its end, with stars between."""

_BOUNDS = DataBounds(size=MOST_ERROR, depth=8, elements=200)
_AGAIN = 60.0
"""Seconds after which the log says the same again."""

_MOST_SAID = 1000

_BEFORE_SENDING = frozenset({Rule.RESOLVE, Rule.CONNECT, Rule.TLS, Rule.TIME, Rule.ADDRESS, Rule.SCOPE, Rule.REQUEST})
"""What stops a request before it is sent. `TIME` is that of connecting; whoever asks bounds the rest."""


class EndpointError(ServiceError):
    """An endpoint did not answer, or not as it must.

    Args:
        why: for the guest's code.
        message: one sentence.
        free: whether no token can have been used.
        more: further values for the guest's code.
    """

    def __init__(self, why: Refusal, message: str, *, free: bool = False, **more: str | int | float | None) -> None:
        super().__init__(why, message, **more)
        self.free = free


class Report:
    """Tells the operator what guests are not told; guests ask often, so the same only now and then."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._said: dict[tuple[str, str], float] = {}

    def say(self, model: Model, text: str) -> None:
        """One line. `text`: what happened, of a small number of texts; nothing that the endpoint wrote."""
        now, key = self._now(), (model.endpoint, text)
        if now - self._said.get(key, -_AGAIN) >= _AGAIN:
            if len(self._said) >= _MOST_SAID:
                self._said.clear()
            self._said[key] = now
            logger.warning("llm: the endpoint %.100s, asked for the model %.100s: %s", model.endpoint, model.name, text)


def unusable(what: str) -> EndpointError:
    """An answer that is not as it must be; `what` ends the sentence and quotes nothing."""
    return EndpointError(Refusal.FAILED, f"the model's endpoint does not answer as it must: {what}")


def of_web(error: WebError, model: Model, report: Report) -> EndpointError:
    """What to say where there was no whole answer."""
    rule, free = error.rule, error.rule in _BEFORE_SENDING
    report.say(model, f"{rule.value}: {error.message}")
    if rule is Rule.BUSY:
        return EndpointError(Refusal.BUSY, "the host holds too many bytes of answers; try again later")
    if rule is Rule.PLACING:
        return EndpointError(Refusal.FAILED, "the model's answer is withheld: it has what no plugin may see in it")
    if rule in (Rule.SIZE, Rule.HEADERS):
        return unusable("the answer is too large")
    if free:
        return EndpointError(
            Refusal.FAILED, "the model's endpoint cannot be reached; the host's log says why", free=True
        )
    return unusable("the answer is cut short, or not as HTTP/1.1 has it")


def of_credentials(error: WebError, model: Model, report: Report) -> EndpointError:
    """What to say where the host cannot identify itself."""
    report.say(model, error.message)
    return EndpointError(
        Refusal.FAILED, "the host has no credentials that it can use for the model; its log says why", free=True
    )


def of_status(status: int, body: bytes, model: Model, placing: Placing, report: Report) -> EndpointError:
    """What to say of an answer that is none.

    Args:
        status: not 200.
        body: at most `MOST_ERROR` bytes of it.
        placing: knows what may not be shown.
    """
    report.say(model, f"it answered with the status {status}")
    error = _error_of(body)
    if status in (400, 413, 422):
        said = _sentence(error.get("message"), model, placing)
        why = f": {said}" if said else "; a part of it is not supported, or it is too long"
        return EndpointError(Refusal.INVALID, f"the model does not take the request{why}", free=True)
    if status == 429 and error.get("code") == "insufficient_quota":
        return EndpointError(Refusal.QUOTA, "what the host may use of the model is used up", free=True, quota="account")
    if status in (429, 503):
        return EndpointError(Refusal.BUSY, "the model is busy; try again later", free=True)
    if status in (401, 403):
        return EndpointError(
            Refusal.FAILED, "the model's endpoint does not accept the host's credentials; tell its operator", free=True
        )
    if 300 <= status < 400:
        return EndpointError(
            Refusal.FAILED, "the model's endpoint has moved, which is not followed; tell its operator", free=True
        )
    # What is in front of a model gives up on one that goes on: it may have cost all that it was allowed.
    free = 400 <= status < 500
    return EndpointError(Refusal.FAILED, f"the model's endpoint failed (status {status})", free=free)


def _error_of(body: bytes) -> dict[str, Any]:
    try:
        parsed = parse_json(body, _BOUNDS)
    except MalformedError:
        return {}
    if isinstance(parsed, list):
        parsed = parsed[0] if parsed else None
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def _sentence(given: object, model: Model, placing: Placing) -> str:
    """What may be shown of an endpoint's own words, or ""."""
    if not isinstance(given, str):
        return ""
    text = " ".join(given[: 4 * _MOST_SENTENCE].split())
    text = "".join(each for each in text if each.isprintable()).replace(model.remote, model.name)
    # Looked at as a whole, before it is cut.
    if "://" in text or model.base.host.strip("[]") in text.lower() or placing.has_piece(text, _PIECE):
        return ""
    return text[:_MOST_SENTENCE]
