"""What a core Wasm module says of itself, read before anything is compiled.

Sections are read, code is not: a module of some megabytes takes a few milliseconds. Whether the module is valid is
the engine's business. What holds here: the input is hostile, so every count is checked against the bytes that are
left before anything is built from it, and whatever the bytes are, the only exception is `MalformedError`.
"""

from __future__ import annotations

import re
from array import array

from innkeeper.sandbox.instructions import CONSTANT
from innkeeper.sandbox.module_info import (
    KINDS,
    Export,
    Global,
    Import,
    MalformedError,
    Memory,
    ModuleInfo,
    Section,
    Signature,
    Table,
    UnsupportedError,
)

__all__ = [
    "KINDS",
    "Export",
    "Global",
    "Import",
    "MalformedError",
    "Memory",
    "ModuleInfo",
    "Section",
    "Signature",
    "Table",
    "UnsupportedError",
    "parse",
]

MAGIC = b"\0asm"
VERSION = b"\1\0\0\0"

MAX_FUNCTIONS = 900_000
"""Below the engine's own million, so that a few can be appended."""

MAX_ITEMS = 100_000
"""Types, imports, exports and globals, each: each costs a Python object, and real modules have a few thousand."""

MAX_VALUE_TYPES = 1_000_000
"""Parameters and results of all types together: one byte in the file is eight in a tuple."""

MAX_SECTIONS = 10_000

CUSTOM_KEPT = 1 << 20
"""Bytes of one custom section that are kept; debug information can be most of a file, and nobody here reads it."""

CUSTOM_KEPT_IN_ALL = 4 << 20

# Custom sections (0) may stand anywhere; the others in `SECTION_ORDER`, each at most once.
TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT, START, ELEMENT, CODE, DATA, DATA_COUNT = range(1, 13)
SECTION_ORDER = (TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT, START, ELEMENT, DATA_COUNT, CODE, DATA)


def parse(wasm: bytes, *, more: int = 0) -> ModuleInfo:
    """Reads all sections but the code.

    Args:
        wasm: the bytes of the file.
        more: by how much each of the counts above may be exceeded: by what was appended to a file that was read before.

    Raises:
        MalformedError: the bytes are not a core module of version 1; nothing else is ever raised.
        UnsupportedError: as above, because of a Wasm proposal that is not read here.
    """
    if wasm[:4] != MAGIC:
        raise MalformedError("it does not start with the bytes 00 61 73 6d")
    if wasm[4:8] != VERSION:
        raise MalformedError(f"its version field is {wasm[4:8].hex(' ') or 'missing'} and not 01 00 00 00")
    info = ModuleInfo()
    bodies: int | None = None
    kept = 0
    reader = _Reader(wasm, 8, len(wasm), more)
    order = 0
    while reader.pos < len(wasm):
        if len(info.sections) >= MAX_SECTIONS + more:
            raise MalformedError(f"it has more than {MAX_SECTIONS} sections")
        header = reader.pos
        number = reader.byte()
        size = reader.u32()
        start = reader.pos
        reader.skip(size)
        section = Section(number, header, start, reader.pos)
        info.sections.append(section)
        content = _Reader(wasm, start, section.end, more)
        if number == 0:
            kept += _custom(info, content, kept)
            continue
        order = _next_in_order(number, order, header)
        if number == CODE:
            bodies = content.count("function bodies", 2, MAX_FUNCTIONS)
        elif number == DATA:
            info.data_segments = content.count("data segments", 2, size)
        elif number not in (ELEMENT, DATA_COUNT):
            _READERS[number](info, content)
            content.finish()
    if (bodies or 0) != info.functions:
        raise MalformedError(f"it declares {info.functions} functions and has the code of {bodies or 0}")
    return info


def _next_in_order(number: int, order: int, offset: int) -> int:
    if number not in SECTION_ORDER:
        if number == 13:
            raise UnsupportedError(f"a section of exception tags at offset {offset}", "exceptions")
        raise MalformedError(f"a section of unknown kind {number} at offset {offset}")
    place = SECTION_ORDER.index(number) + 1
    if place <= order:
        raise MalformedError(f"the section of kind {number} at offset {offset} is out of order or there twice")
    return place


class _Reader:
    """A position in `[pos, end)` of the file that cannot leave it."""

    __slots__ = ("data", "end", "more", "pos")

    def __init__(self, data: bytes, pos: int, end: int, more: int) -> None:
        self.data = data
        self.pos = pos
        self.end = end
        self.more = more

    def skip(self, size: int) -> None:
        if size > self.end - self.pos:
            raise MalformedError(f"it ends in the middle of something: {size} bytes are announced at offset {self.pos}")
        self.pos += size

    def byte(self) -> int:
        if self.pos >= self.end:
            raise MalformedError(f"it ends too early, at offset {self.pos}")
        value = self.data[self.pos]
        self.pos += 1
        return value

    def unsigned(self, bits: int) -> int:
        first = self.pos
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift >= bits:
                raise MalformedError(f"a number at offset {first} is longer than {bits} bits")
        if value >> bits:
            raise MalformedError(f"a number at offset {first} is longer than {bits} bits")
        return value

    def u32(self) -> int:
        return self.unsigned(32)

    def count(self, what: str, least: int, most: int) -> int:
        """A count of items that take `least` bytes or more each, of which there may be at most `most` (and `more`)."""
        offset = self.pos
        count = self.u32()
        if count * least > self.end - self.pos:
            raise MalformedError(f"at offset {offset} it counts {count} {what} but has no room for them")
        if count > most + self.more:
            raise MalformedError(f"it has {count} {what}, more than the {most} that are taken")
        return count

    def name(self) -> str:
        size = self.u32()
        start = self.pos
        self.skip(size)
        try:
            return self.data[start : self.pos].decode()
        except UnicodeDecodeError:
            raise MalformedError(f"the name at offset {start} is not UTF-8") from None

    def finish(self) -> None:
        if self.pos != self.end:
            raise MalformedError(f"{self.end - self.pos} bytes too many in the section that ends at offset {self.end}")


_VALUE_TYPES = {
    0x7F: "i32",
    0x7E: "i64",
    0x7D: "f32",
    0x7C: "f64",
    0x7B: "v128",
    0x70: "funcref",
    0x6F: "externref",
}

_FOREIGN_TYPES = {
    **dict.fromkeys((0x63, 0x64), "function references"),
    **dict.fromkeys((0x65, 0x6A, 0x6B, 0x6C, 0x6D, 0x6E, 0x71, 0x72, 0x73), "garbage collection"),
    **dict.fromkeys((0x69, 0x74), "exceptions"),
    **dict.fromkeys((0x68, 0x75), "stack switching"),
}


def _value_type(byte: int, offset: int) -> str:
    try:
        return _VALUE_TYPES[byte]
    except KeyError:
        if byte in _FOREIGN_TYPES:
            reason = f"a value type 0x{byte:02x} at offset {offset}"
            raise UnsupportedError(reason, _FOREIGN_TYPES[byte]) from None
        raise MalformedError(f"0x{byte:02x} at offset {offset} is no value type") from None


def _value_types(reader: _Reader) -> tuple[str, ...]:
    count = reader.count("value types", 1, 1000)
    start = reader.pos
    reader.skip(count)
    return tuple(_value_type(byte, start + at) for at, byte in enumerate(reader.data[start : reader.pos]))


def _types(info: ModuleInfo, reader: _Reader) -> None:
    total = 0
    for _ in range(reader.count("types", 1, MAX_ITEMS)):
        offset = reader.pos
        form = reader.byte()
        if form in (0x4E, 0x4F, 0x50, 0x5E, 0x5F):
            raise UnsupportedError(f"a type of form 0x{form:02x} at offset {offset}", "garbage collection")
        if form == 0x5D:
            raise UnsupportedError(f"a type of continuations at offset {offset}", "stack switching")
        if form != 0x60:
            raise MalformedError(f"0x{form:02x} at offset {offset} is no kind of type")
        signature = (_value_types(reader), _value_types(reader))
        total += len(signature[0]) + len(signature[1])
        if total > MAX_VALUE_TYPES + reader.more:
            raise MalformedError(f"its types have more than {MAX_VALUE_TYPES} parameters and results")
        info.types.append(signature)


def _imports(info: ModuleInfo, reader: _Reader) -> None:
    functions = array("I")
    for _ in range(reader.count("imports", 4, MAX_ITEMS)):
        module, name = reader.name(), reader.name()
        offset = reader.pos
        kind = reader.byte()
        signature = None
        if kind == 0:
            index = reader.u32()
            if index >= len(info.types):
                raise MalformedError(f"the import at offset {offset} names type {index}, which does not exist")
            functions.append(index)
            signature = info.types[index]
        elif kind == 1:
            info.tables.append(_table(reader, imported=True))
        elif kind == 2:
            info.memories.append(_memory(reader, imported=True))
        elif kind == 3:
            info.globals.append(_global(reader, imported=True))
        else:
            raise _unknown_kind("import", kind, offset)
        info.imports.append(Import(module, name, KINDS[kind], signature))
    info.function_types = functions


def _unknown_kind(what: str, kind: int, offset: int) -> MalformedError:
    if kind == 4:
        return UnsupportedError(f"an {what} of an exception tag at offset {offset}", "exceptions")
    if kind in (0x7E, 0x7F):
        return UnsupportedError(f"an {what} group at offset {offset}", "compact imports")
    return MalformedError(f"0x{kind:02x} at offset {offset} is no kind of {what}")


def _functions(info: ModuleInfo, reader: _Reader) -> None:
    count = reader.count("functions", 1, MAX_FUNCTIONS)
    content = reader.data[reader.pos : reader.end]
    if len(content) == count and content.isascii():
        own = array("I", list(content))
        reader.pos = reader.end
    else:
        own = array("I", [reader.u32() for _ in range(count)])
    if own and max(own) >= len(info.types):
        raise MalformedError(f"a function names type {max(own)}, which does not exist")
    info.functions = count
    info.function_types = array("I", info.function_types) + own


def _limits(reader: _Reader, known: int) -> tuple[int, int | None, int]:
    offset = reader.pos
    flags = reader.byte()
    if flags & ~known:
        raise MalformedError(f"0x{flags:02x} at offset {offset} are no flags of limits")
    if flags & 8:
        raise UnsupportedError(f"a memory with pages of its own size at offset {offset}", "custom page sizes")
    bits = 64 if flags & 4 else 32
    minimum = reader.unsigned(bits)
    return minimum, reader.unsigned(bits) if flags & 1 else None, flags


def _memory(reader: _Reader, *, imported: bool) -> Memory:
    minimum, maximum, flags = _limits(reader, 15)
    return Memory(minimum, maximum, imported, is64=bool(flags & 4), shared=bool(flags & 2))


def _table(reader: _Reader, *, imported: bool) -> Table:
    offset = reader.pos
    byte = reader.byte()
    if byte == 0x40:
        raise UnsupportedError(f"a table with an initial value at offset {offset}", "function references")
    element = _value_type(byte, offset)
    if element not in ("funcref", "externref"):
        raise MalformedError(f"a table of {element} at offset {offset}")
    minimum, maximum, flags = _limits(reader, 7)
    return Table(element, minimum, maximum, imported, is64=bool(flags & 4), shared=bool(flags & 2))


def _global(reader: _Reader, *, imported: bool) -> Global:
    type_ = _value_type(reader.byte(), reader.pos - 1)
    flags = reader.byte()
    if flags > 1:
        raise MalformedError(f"0x{flags:02x} at offset {reader.pos - 1} says neither constant nor mutable")
    return Global(type_, flags == 1, imported)


def _tables(info: ModuleInfo, reader: _Reader) -> None:
    info.tables.extend(_table(reader, imported=False) for _ in range(reader.count("tables", 3, MAX_ITEMS)))


def _memories(info: ModuleInfo, reader: _Reader) -> None:
    info.memories.extend(_memory(reader, imported=False) for _ in range(reader.count("memories", 2, MAX_ITEMS)))


# One leads to the next without backtracking, and a repetition is bounded: no input makes matching slow.
_CONSTANT_EXPRESSION = re.compile(b"(?:" + CONSTANT + rb"){0,10000}+\x0b", re.DOTALL)


def _globals(info: ModuleInfo, reader: _Reader) -> None:
    for _ in range(reader.count("globals", 4, MAX_ITEMS)):
        info.globals.append(_global(reader, imported=False))
        expression = _CONSTANT_EXPRESSION.match(reader.data, reader.pos, reader.end)
        if expression is None:
            raise MalformedError(f"the initial value of a global at offset {reader.pos} is no constant expression")
        reader.pos = expression.end()


def _exports(info: ModuleInfo, reader: _Reader) -> None:
    exports: dict[str, Export] = {}
    existing = (len(info.function_types), len(info.tables), len(info.memories), len(info.globals))
    for _ in range(reader.count("exports", 3, MAX_ITEMS)):
        name = reader.name()
        offset = reader.pos
        kind = reader.byte()
        if kind >= len(KINDS):
            raise _unknown_kind("export", kind, offset)
        index = reader.u32()
        if index >= existing[kind]:
            raise MalformedError(f"the export at offset {offset} names {KINDS[kind]} {index}, which does not exist")
        if name in exports:
            raise MalformedError(f"the export at offset {offset} has the name of another one")
        exports[name] = Export(name, KINDS[kind], index, info.signature(index) if kind == 0 else None)
    info.exports = exports


def _start(info: ModuleInfo, reader: _Reader) -> None:
    info.start = reader.u32()
    if info.start >= len(info.function_types):
        raise MalformedError(f"the start function {info.start} does not exist")


def _custom(info: ModuleInfo, reader: _Reader, kept: int) -> int:
    """Keeps a custom section if it is small; returns the bytes that it costs."""
    name = reader.name()
    size = reader.end - reader.pos
    if size > CUSTOM_KEPT or kept + size > CUSTOM_KEPT_IN_ALL:
        info.custom_dropped.add(name)
        return 0
    info.custom.setdefault(name, []).append(reader.data[reader.pos : reader.end])
    return size


_READERS = {
    TYPE: _types,
    IMPORT: _imports,
    FUNCTION: _functions,
    TABLE: _tables,
    MEMORY: _memories,
    GLOBAL: _globals,
    EXPORT: _exports,
    START: _start,
}
