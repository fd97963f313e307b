"""What one call cost."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Usage:
    """What one call used, returned beside its output and kept with its error.

    Attributes:
        cpu: seconds of processor time while the guest ran, by its thread's own clock.
        wall: seconds from the call to its end, queueing included.
        memory: bytes of linear memory at the end, the kernel's included; memory never shrinks, so it is the peak.
        host_calls: calls of host functions.
        system_calls: calls of WASI, configuration, variables and logging.
        bytes_in: bytes of input.
        bytes_out: bytes of output.
        log_dropped: bytes of log beyond the limit.
        log: the lines that the guest logged, as (level, text); levels are "trace", "debug", "info", "warn", "error".
        remembered: whether no guest ran, since an equal call had before; the rest is then what that one used.
    """

    cpu: float = 0.0
    wall: float = 0.0
    memory: int = 0
    host_calls: int = 0
    system_calls: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    log_dropped: int = 0
    log: list[tuple[str, str]] = field(default_factory=list)
    remembered: bool = False


@dataclass(slots=True)
class Result:
    """The outcome of a call that went well.

    Attributes:
        output: what the guest set as its output (bytes; empty if it set none).
        usage: what the call cost.
    """

    output: bytes
    usage: Usage
