"""The limits of one call, their defaults and the host's own ceilings."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from innkeeper.errors import UsageError

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


_SECONDS = frozenset({"cpu", "wall", "host_call"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may use. Immutable; `narrowed` and `dataclasses.replace` make others.

    Sizes are bytes, times are seconds, the rest are counts.

    Attributes:
        memory: linear memory of the guest, each of its modules by itself.
        kernel_memory: memory that carries input, output and what the guest allocates in between.
        table_elements: elements of each table.
        cpu: processor time of the guest's thread; the host functions' own time is not counted.
        wall: time from the call to its end, queueing included, compiling not.
        input: bytes that the caller gives.
        output: bytes that the guest gives back.
        host_calls: calls of host functions; WASI and kernel calls have `system_calls`.
        system_calls: calls of WASI, `config_get`, `var_*` and logging.
        host_call: seconds that one host function may take.
        log: bytes of log that are kept of one call; what is more is counted and dropped.
        log_line: bytes of one log line; longer lines are cut.
        variables: bytes of keys and values kept by `var_set`.
        nesting: plugin-to-plugin calls inside each other.
    """

    memory: int = 64 * MIB
    kernel_memory: int = 40 * MIB
    table_elements: int = 10_000
    cpu: float = 1.0
    wall: float = 30.0
    input: int = 16 * MIB
    output: int = 16 * MIB
    host_calls: int = 10_000
    system_calls: int = 1_000_000
    host_call: float = 10.0
    log: int = 64 * KIB
    log_line: int = KIB
    variables: int = MIB
    nesting: int = 8

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            whole = field.name not in _SECONDS
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                kind = "a whole number" if whole else "a number"
                raise UsageError(f"the limit {field.name!r} must be {kind}, not {value!r}")
            if not value > 0:
                raise UsageError(f"the limit {field.name!r} must be more than 0, not {value!r}")

    def within(self, ceiling: Limits) -> Limits:
        """These limits, checked against the host's own.

        Raises:
            UsageError: one is above `ceiling`; the message names all that are.
        """
        above = [
            f"{field.name} {getattr(self, field.name)!r} (at most {getattr(ceiling, field.name)!r})"
            for field in fields(self)
            if getattr(self, field.name) > getattr(ceiling, field.name)
        ]
        if above:
            raise UsageError("limits above the host's own: " + ", ".join(above))
        return self


DEFAULTS = Limits()

CEILING = replace(
    Limits(**{field.name: getattr(DEFAULTS, field.name) * 10 for field in fields(Limits)}),
    memory=GIB,
    cpu=60.0,
    wall=3600.0,
    host_call=600.0,
)
"""What a grant or a flag may raise a limit to, unless innkeeper.toml says otherwise: 1 GiB of memory, 60 s of
processor time, an hour, 600 s of one host call, since language models take that long, ten times the default for the
others."""

_SIZE_UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KIB": KIB, "MIB": MIB, "GIB": GIB}
_TIME_UNITS = {"": 1.0, "S": 1.0, "MS": 1e-3, "US": 1e-6, "MIN": 60.0, "M": 60.0, "H": 3600.0}


def parse_size(text: str) -> int:
    """Bytes (int) from text such as "64MiB", "1.5 GB" or "4096".

    Raises:
        UsageError: the text is not a size, or is not above 0.
    """
    return int(_parse_quantity(text, _SIZE_UNITS, "size", "64MiB, 512KiB or 4096"))


def parse_duration(text: str) -> float:
    """Seconds (float) from text such as "1s", "250ms", "2min" or "0.5".

    Raises:
        UsageError: the text is not a duration, or is not above 0.
    """
    return _parse_quantity(text, _TIME_UNITS, "duration", "1s, 250ms or 2min")


def _parse_quantity(text: str, units: dict[str, float] | dict[str, int], what: str, examples: str) -> float:
    shown = text if len(text) <= 60 else text[:57] + "..."
    stripped = text.strip()
    number = stripped.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    unit = stripped[len(number) :].strip().upper()
    try:
        value = float(number) * units[unit]
    except (ValueError, KeyError):
        raise UsageError(f"{shown!r} is not a {what}; write it like {examples}") from None
    if not 0 < value < float("inf"):
        raise UsageError(f"{shown!r} is not a {what} above 0; write it like {examples}")
    return value
