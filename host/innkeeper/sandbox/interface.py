"""What an engine is to the rest of the host: small enough for a second engine, and for a fake that tests use.

The rest of the host knows these names only. The engine on wasmtime's fibers is `innkeeper.sandbox.engine.Engine`;
`tests/fakes.py` has one that runs Python functions. A second guest ABI (components) is another `Program` of the
same engine; a second engine (the extism package, in a process of its own) is another `Engine`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from innkeeper.sandbox.limits import DEFAULTS, Limits
from innkeeper.sandbox.usage import Result

if TYPE_CHECKING:
    from innkeeper.sandbox.tape import Tape
    from innkeeper.sandbox.wasi.rights import WasiRights


class Value(Enum):
    """The types that cross between guest and host. `BYTES` is an i64 offset of a block on the wire, bytes in Python."""

    I32 = "i32"
    I64 = "i64"
    F32 = "f32"
    F64 = "f64"
    BYTES = "bytes"


Answer = bytes | int | float | None
Handler = Callable[..., Awaitable[Answer]] | Callable[..., Answer]


@dataclass(frozen=True, slots=True)
class HostFunction:
    """A function that guests import.

    Attributes:
        name: import name.
        handler: async function, unless it is quick; gets one argument per parameter (int, float or bytes) and returns
            the result.
        parameters: types of the parameters, in order.
        result: type of the result, or None.
        namespace: import module.
        quick: whether `handler` is a plain function that has its answer at once. It is called in the midst of the
            guest's call, on trio's thread, without the machinery of an await, in about half of the time. It has a
            stack of 1 MiB, so it must not recurse into data of unknown depth (`json.loads` of what a guest wrote is
            for an async function), and it cannot be interrupted. Its time may count as the guest's `cpu`: it does
            where trio's thread polls the guest, and not where a worker does.
    """

    name: str
    handler: Handler
    parameters: Sequence[Value] = ()
    result: Value | None = None
    namespace: str = "extism:host/user"
    quick: bool = False

    async def answer(self, *values: Any) -> Any:
        """What the handler answers, whichever kind it is of."""
        got: Any = self.handler(*values)
        return got if self.quick else await got


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What the caller decides about one call.

    Attributes:
        limits: what it may use.
        config: what `config_get` answers (str to str).
        plugin: the plugin's id, for messages.
        rights: what the guest's WASI shows of the world; None: nothing. A guest that stays has those that it was
            opened with. The oracle's guests have none.
        tape: records what the guest asks of the host and is answered, or answers from a recording; None: neither.
    """

    limits: Limits = DEFAULTS
    config: Mapping[str, str] = field(default_factory=dict)
    plugin: str | None = None
    rights: WasiRights | None = None
    tape: Tape | None = None


class Program(Protocol):
    """A compiled module with its imports resolved, ready to be started any number of times."""

    @property
    def digest(self) -> str:
        """sha256 of the module's bytes, as hexadecimal digits."""
        ...

    async def call(self, function: str, data: bytes, options: CallOptions) -> Result:
        """Starts a fresh guest, calls `function` with `data` as input, ends the guest, returns output and usage.

        Raises:
            InnkeeperError: as `innkeeper.errors` lists them; every failure of a guest is one.
            BaseException: what a host function raised, as it is.
        """
        ...

    async def open(self, options: CallOptions) -> Session:
        """Starts a guest that stays: for plugins that keep state. The caller closes it."""
        ...

    def close(self) -> None:
        """Forgets the compiled code. Calls that run go on; new ones are an error."""
        ...


class Session(Protocol):
    """One guest that is called more than once, one call at a time."""

    async def call(self, function: str, data: bytes, options: CallOptions) -> Result:
        """As `Program.call`, in the same guest.

        A guest that reports an error of its own in good order (`error_set`, a return code) lives on. After anything
        else, a trap, a limit, a cancellation, what a host function raised, it is spent, and each further call raises.
        """
        ...

    @property
    def spent(self) -> bool:
        """Whether the guest has ended, or is at work; it takes no call then."""
        ...

    async def aclose(self) -> None:
        """Ends the guest."""
        ...


@runtime_checkable
class Deterministic(Protocol):
    """An engine on which a fresh guest that asks the host for nothing answers equal calls alike."""

    @property
    def fingerprint(self) -> str:
        """The engine's version and settings, and the machine's, as far as an answer may depend on them."""
        ...


class Engine(Protocol):
    """Compiles modules and runs guests."""

    async def load(
        self,
        wasm: bytes,
        *,
        functions: Sequence[HostFunction] = (),
        modules: Mapping[str, bytes] | None = None,
        plugin: str | None = None,
    ) -> Program:
        """Checks and compiles a module.

        Args:
            wasm: the module's bytes.
            functions: host functions that it may import.
            modules: further modules, by the name under which they are imported; instantiated in this order.
            plugin: its id, for messages.

        Raises:
            RejectedError: it is not something that this engine runs; the message says what would work.
            LimitError: it is larger than the engine takes.
        """
        ...
