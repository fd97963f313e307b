"""Why a request to a server did not come to its end."""

from __future__ import annotations

from enum import Enum

from innkeeper.bridge.refusal import Refusal, ServiceError


class Rule(Enum):
    """What a request was stopped by. The value is what the guest reads as `rule`."""

    REQUEST = "request"
    SCOPE = "scope"
    ADDRESS = "address"
    PLACING = "secret"
    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    PROTOCOL = "protocol"
    REDIRECT = "redirect"
    HEADERS = "headers"
    SIZE = "size"
    TIME = "time"
    BUSY = "busy"


_KINDS = {
    Rule.REQUEST: Refusal.INVALID,
    Rule.SCOPE: Refusal.DENIED,
    Rule.ADDRESS: Refusal.DENIED,
    Rule.PLACING: Refusal.DENIED,
    Rule.SIZE: Refusal.QUOTA,
    Rule.HEADERS: Refusal.QUOTA,
    Rule.BUSY: Refusal.BUSY,
}


class WebError(ServiceError):
    """A request that was not made, or whose answer the guest does not get.

    No message says an address that the guest did not write itself, nor anything of a secret but its name.

    Args:
        rule: what stopped it.
        message: one sentence.
        more: further values for the guest's code.
    """

    def __init__(self, rule: Rule, message: str, **more: str | int | float | None) -> None:
        super().__init__(_KINDS.get(rule, Refusal.FAILED), message, rule=rule.value, **more)
        self.rule = rule

    def at(self, hop: int) -> WebError:
        """The same, with the redirect after which it happened: 0 for the request itself."""
        self.more["hop"] = hop
        return self
