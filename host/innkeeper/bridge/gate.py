"""The one gate that each call of a service passes: who calls, with which right, how often; then the service.

Guarantees: no service sees a call without its capability and scope; what a guest gave is bounded before it is built
and checked before a service sees it; whatever a service raises becomes a value that says no more than it may; a call
that is cancelled is cancelled in the service.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import pydantic
import trio

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.codec import decode
from innkeeper.bridge.metrics import Metrics
from innkeeper.bridge.operation import Operation
from innkeeper.bridge.packed import Packed, answered, unpack_but
from innkeeper.bridge.quota import Rate, TokenBucket
from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.scan import MalformedError
from innkeeper.errors import GuestError, InnkeeperError
from innkeeper.plugins.capabilities import parse_capability
from innkeeper.plugins.rights import Rights
from innkeeper.plugins.runs import RunBase
from innkeeper.plugins.tables import visible
from innkeeper.sandbox.interface import HostFunction, Value

logger = logging.getLogger("innkeeper.bridge")

Refused = Callable[[Caller, str, str], None]
"""Takes who was refused, the capability, and the use as the guest named it, "" where it did not come to that."""

_SMALL = 1024
"""Bytes that cannot become much, whatever they are."""

_SOON = 64 * 1024
"""Bytes of arguments that are read on trio's thread: at most some 2 ms, commonly a tenth of that."""

_BUCKETS = 10_000

_QUIET = 60.0
"""Seconds between two lines of the log that say that one operation fails for one plugin."""

_MOST_SAID = 1000


class Gate:
    """Makes host functions of operations.

    Attributes:
        metrics: what was asked for.
    """

    def __init__(
        self,
        caller: Callable[[], Caller | None],
        *,
        refused: Refused | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        caller: says who calls, inside of a call of a guest.
        refused: is told of what a caller has no right to; it must not take long.
        now: seconds of a monotonic clock.
        """
        self.metrics = Metrics()
        self._caller = caller
        self._refused = refused
        self._now = now
        self._buckets: dict[tuple[str, str], TokenBucket] = {}
        self._said: dict[tuple[str, str], float] = {}

    def function(self, service: object, operation: Operation, rate: Rate | None) -> HostFunction:
        """The host function of an operation.

        Args:
            service: whose method it is.
            operation: of `operations_of`.
            rate: how often one plugin may call the service; None: as often as it likes.
        """
        method = getattr(service, operation.name)
        read_use = operation.reader()

        async def handler(data: bytes) -> bytes:
            begun = self._now()
            caller = self._caller()
            count = self.metrics.of("" if caller is None else caller.plugin, operation.full_name)
            count.calls += 1
            use = ""
            try:
                if caller is None:
                    raise ServiceError(Refusal.DENIED, "nobody calls: the call that this belongs to is over")
                early = self._admit(caller, operation, rate, begun)
                if early:
                    await trio.sleep(early)
                if len(data) <= _SOON:
                    arguments = _read(operation, data)
                else:
                    arguments = await trio.to_thread.run_sync(_read, operation, data)
                values = {name: getattr(arguments, name) for name in operation.described}
                if read_use is not None:
                    uses = _each(read_use(values))
                    if operation.refers:
                        uses = _resolve(caller, operation, values, uses)
                    for use in uses:
                        if not _within(caller.rights, operation, use):
                            raise _out_of_scope(operation, use)
                value = await method(caller, **values)
                return answered(value) if type(value) is Packed else _packed({"ok": value})
            except ServiceError as error:
                count.refused += 1
                if error.why is Refusal.DENIED and caller is not None and self._refused is not None:
                    # A service may miss another one, such as "secrets".
                    self._refused(caller, str(error.more.get("capability") or operation.capability), use)
                return _packed({"error": error.as_value()})
            except Exception as error:
                # A defect of ours, or of what stands behind the service: the guest learns that it failed, no more.
                count.failed += 1
                self._report(operation.full_name, caller.plugin if caller else "?", error, begun)
                return _packed({"error": ServiceError(Refusal.FAILED, f"{operation.full_name} failed").as_value()})
            finally:
                count.seconds += self._now() - begun

        return HostFunction(operation.import_name, handler, (Value.BYTES,), Value.BYTES)

    def _report(self, operation: str, plugin: str, error: Exception, now: float) -> None:
        # Now and then: a guest that asks on and on must not fill the log.
        key = operation, plugin
        if now < self._said.get(key, float("-inf")):
            return
        if len(self._said) >= _MOST_SAID:
            self._said.clear()
        self._said[key] = now + _QUIET
        if isinstance(error, InnkeeperError):
            # No defect of ours, such as a database that cannot be opened: it says what to do.
            logger.warning("%s of the plugin %s failed: %s", operation, plugin, error)
        else:
            logger.error("%s of the plugin %s failed", operation, plugin, exc_info=error)

    def _admit(self, caller: Caller, operation: Operation, rate: Rate | None, now: float) -> float:
        """Seconds until the call may go on."""
        if not caller.rights.scopes(operation.capability):
            raise ServiceError(
                Refusal.DENIED,
                f"the plugin was not granted the capability {operation.capability!r}",
                capability=operation.capability,
            )
        if rate is None:
            return 0.0
        key = (caller.plugin, operation.service)
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= _BUCKETS:
                self._buckets.clear()
            bucket = self._buckets[key] = TokenBucket(rate, now)
        if rate.waits:
            return bucket.turn(now)
        if not bucket.take(now):
            raise ServiceError(
                Refusal.QUOTA,
                f"the plugin asks {operation.service!r} more than {rate.per_second:g} times a second; ask less often",
            )
        return 0.0


def _packed(answer: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(answer, use_bin_type=True)
    return packed


def _read(operation: Operation, data: bytes) -> Any:
    if len(data) > operation.bounds.size:
        raise ServiceError(
            Refusal.INVALID, f"{operation.full_name}: its arguments have at most {operation.bounds.size:,} bytes"
        )
    try:
        if operation.packed is not None:
            given = unpack_but(data, operation.bounds, operation.packed)
        elif len(data) <= _SMALL and not operation.free_form:
            given = msgpack.unpackb(data, strict_map_key=True)
        else:
            given = decode(data, "msgpack", operation.bounds, what="what the guest gave")
        if not isinstance(given, dict):
            raise ServiceError(Refusal.INVALID, f"{operation.full_name} takes a map of its arguments")
        return operation.arguments.model_validate(given)
    except (ValueError, msgpack.UnpackException, GuestError, RecursionError) as error:
        raise ServiceError(Refusal.INVALID, f"{operation.full_name}: {_sentence(error)}") from None


def _each(use: str | list[str]) -> Sequence[str]:
    return (use,) if isinstance(use, str) else use


def _resolve(caller: Caller, operation: Operation, values: dict[str, Any], uses: Sequence[str]) -> Sequence[str]:
    """Puts what references of the run's project stand for in their place; gives what a grant must name."""
    known = None if caller.run is None else caller.run.run.bases
    if not known or operation.use is None:
        return uses
    found = [known.get(use, RunBase(use, use)) for use in uses]
    bases = [each.base for each in found]
    values[operation.use] = bases if isinstance(values[operation.use], list) else bases[0]
    return [each.own for each in found]


def _within(rights: Rights, operation: Operation, use: str) -> bool:
    if not operation.covers:
        return rights.allows(operation.capability, use)
    try:
        wanted = parse_capability(f"{operation.capability}:{use}")
    except ValueError as error:
        raise ServiceError(Refusal.INVALID, f"{operation.full_name}: {error}") from None
    return rights.covers(wanted)


def _sentence(error: Exception) -> str:
    if isinstance(error, pydantic.ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        # The name of an argument may be the guest's own.
        where = visible(".".join(str(part) for part in first["loc"]), 100)
        return f"{where}: {first['msg']}"[:500]
    if isinstance(error, MalformedError):
        return f"what the guest gave is not msgpack: {error}"
    return error.message if isinstance(error, GuestError) else "what the guest gave is not msgpack"


def _out_of_scope(operation: Operation, use: object) -> ServiceError:
    return ServiceError(
        Refusal.DENIED,
        f"the plugin was granted {operation.capability!r}, but not for {str(use)[:200]!r}",
        capability=operation.capability,
    )
