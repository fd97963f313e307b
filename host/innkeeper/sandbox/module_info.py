"""What is known of a core Wasm module: what it declares, imports and exports, and where its sections lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Signature = tuple[tuple[str, ...], tuple[str, ...]]
"""Parameters and results: "i32", "i64", "f32", "f64", "v128", "funcref" or "externref" each."""

KINDS = ("func", "table", "memory", "global")


class MalformedError(Exception):
    """The bytes are not a core Wasm module. `reason` (str) says why, as part of a sentence, with the offset."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnsupportedError(MalformedError):
    """The bytes use what is not read here. `proposal` (str or None) is the Wasm proposal that it comes from."""

    def __init__(self, reason: str, proposal: str | None = None) -> None:
        super().__init__(reason)
        self.proposal = proposal


@dataclass(frozen=True, slots=True)
class Memory:
    """A linear memory. `minimum` and `maximum` (None: not said) are pages of 64 KiB."""

    minimum: int
    maximum: int | None
    imported: bool = False
    is64: bool = False
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table of "funcref" or "externref". `minimum` and `maximum` (None: not said) are elements."""

    element: str
    minimum: int
    maximum: int | None
    imported: bool = False
    is64: bool = False
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Global:
    """A global variable of value type `type`."""

    type: str
    mutable: bool
    imported: bool = False


@dataclass(frozen=True, slots=True)
class Import:
    """What the module wants from outside. `kind` is one of `KINDS`; `signature` is None for all but functions."""

    module: str
    name: str
    kind: str
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """What the module offers. `index` counts the imported and the own ones of that kind together."""

    name: str
    kind: str
    index: int
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """Where a section lies: its header starts at `header`, its content is `[start, end)`."""

    id: int
    header: int
    start: int
    end: int


@dataclass(slots=True)
class ModuleInfo:
    """What `parse` found.

    Attributes:
        types: signatures in the order of the type section.
        imports: in the order of the file.
        exports: by name, in the order of the file.
        function_types: for each function, imported ones first, the index of its type.
        functions: number of functions that have a body.
        memories, tables, globals: imported ones first, as the indices count.
        start: index of the start function, or None.
        custom: contents of the custom sections by name.
        custom_dropped: names of custom sections of which at least one was too large to be kept in `custom`.
        data_segments: number of data segments.
        sections: all sections in the order of the file.
    """

    types: list[Signature] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    exports: Mapping[str, Export] = field(default_factory=dict)
    function_types: Sequence[int] = ()
    functions: int = 0
    memories: list[Memory] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    globals: list[Global] = field(default_factory=list)
    start: int | None = None
    custom: dict[str, list[bytes]] = field(default_factory=dict)
    custom_dropped: set[str] = field(default_factory=set)
    data_segments: int = 0
    sections: list[Section] = field(default_factory=list)

    def signature(self, function: int) -> Signature:
        """The signature of the function with this index (int, imported ones first)."""
        return self.types[self.function_types[function]]

    def section_size(self, number: int) -> int:
        """Bytes (int) of the section with this id, which is none of the custom ones; 0 if it is not there."""
        return next((section.end - section.start for section in self.sections if section.id == number), 0)

    def imported(self, kind: str) -> int:
        """How many (int) of a kind are imported."""
        return sum(1 for wanted in self.imports if wanted.kind == kind)
