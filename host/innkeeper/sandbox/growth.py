"""Makes a guest remember which growth of its memory or its tables was refused, and shows its memory and its start
function to the host.

An engine answers a refused growth with -1 to the guest and tells its host nothing. So that the error of a call that
then fails can say that memory ran out, each `memory.grow` and `table.grow` becomes a call of a function that is
appended to the module: it grows, and where it got -1 it writes what was wanted into a global that the host can read.

Nothing of the guest changes its index: types, functions, globals and exports are only appended. As the module is
validated before, none of the guest's own code can name what is appended.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from innkeeper.sandbox.instructions import LEB, MEMORY_GROW, TABLE_GROW, after_locals, run_without, walk
from innkeeper.sandbox.leb import leb, u32
from innkeeper.sandbox.module_info import MalformedError, ModuleInfo, Section, UnsupportedError
from innkeeper.sandbox.sections import appended, bodies, export_item
from innkeeper.sandbox.wasm import CODE, EXPORT, FUNCTION, GLOBAL, SECTION_ORDER, TYPE
from innkeeper.sandbox.wasm import START as START_SECTION

RESERVED = "innkeeper:"
"""No guest may export names that begin with this."""

MEMORY = "innkeeper:memory"
"""Memory 0; there if the module has or imports one."""

MEMORY_REFUSED = "innkeeper:memory-refused"
"""Global i64: pages of 64 KiB, in all, that the last refused growth of memory wanted; 0: none was refused.
There if some function of the module grows memory."""

MEMORY_LIMIT = "innkeeper:memory-limit"
"""Global i64: pages that the memory may grow to; at first as many as a memory can have. There if some function grows
memory. An engine's own limiter knows one size for all memories of a store, and the host's kernel may have more."""

START = "innkeeper:start"
"""The function that was the module's start function, if it had one. The host calls it right after the module has become
an instance, before anything else can; so it sees what the start function does as it sees any other call."""

TABLE_REFUSED = "innkeeper:table-refused"
"""Global i64: the same for the elements of a table. There if some function grows a table."""


def instrument(wasm: bytes, info: ModuleInfo) -> bytes:
    """The same module with the exports above.

    Args:
        wasm: a module that the engine has found valid with the host's list of proposals.
        info: what `innkeeper.sandbox.wasm.parse` says of it.

    Raises:
        UnsupportedError: a function that may grow something has an instruction that is not known here.
        MalformedError: the code is not what a valid module has.
    """
    sections = {section.id: section for section in info.sections if section.id != 0}
    changed: dict[int, bytes] = {}
    exports: list[bytes] = []
    if info.memories:
        exports.append(export_item(MEMORY, "memory", 0))
    if info.start is not None:
        exports.append(export_item(START, "func", info.start))
    if CODE in sections:
        growers = _Growers(info)
        functions = _rewritten(wasm, sections[CODE], growers)
        if growers.bodies:
            first_type = len(info.types)
            indices = [leb(first_type + at) for at in range(len(growers.types))]
            for number, items in ((TYPE, growers.types), (FUNCTION, indices), (GLOBAL, growers.initial)):
                changed[number] = appended(wasm, sections.get(number), len(items), b"".join(items))
            changed[CODE] = leb(info.functions + len(growers.bodies)) + b"".join([*functions, *growers.bodies])
            exports.extend(export_item(name, "global", index) for name, index in growers.globals.items())
    if exports:
        changed[EXPORT] = appended(wasm, sections.get(EXPORT), len(exports), b"".join(exports))
    return _assembled(wasm, [section for section in info.sections if section.id != START_SECTION], changed)


# Mutable globals of type i64, with what they are at first.
_ZERO = b"\x7e\x01\x42\x00\x0b"
_ALL_PAGES = b"\x7e\x01\x42\x80\x80\x04\x0b"


class _Growers:
    """The functions that grow in the guest's stead, numbered in the order in which the guest's code needs them."""

    def __init__(self, info: ModuleInfo) -> None:
        self._info = info
        self._calls: dict[int | None, bytes] = {}
        self.types: list[bytes] = []
        self.bodies: list[bytes] = []
        self.globals: dict[str, int] = {}
        self.initial: list[bytes] = []

    def call(self, table: int | None) -> bytes:
        """The instruction that calls the function that grows this table; None: the memory."""
        call = self._calls.get(table)
        if call is None:
            call = self._calls[table] = b"\x10" + leb(len(self._info.function_types) + len(self.bodies))
            if table is None:
                self._add_memory()
            else:
                self._add_table(table)
        return call

    def _global(self, name: str, initial: bytes = _ZERO) -> bytes:
        if name not in self.globals:
            self.globals[name] = len(self._info.globals) + len(self.globals)
            self.initial.append(initial)
        return leb(self.globals[name])

    def _add_memory(self) -> None:
        if not self._info.memories or self._info.memories[0].is64:
            raise UnsupportedError("growth of a memory with 64-bit addresses", "memory64")
        self.types.append(b"\x60\x01\x7f\x01\x7f")
        limit = self._global(MEMORY_LIMIT, _ALL_PAGES)
        wanted = b"\x3f\x00\xad\x20\x00\xad\x7c"  # memory.size and the delta, both as i64, added
        # wanted > limit ? -1 : memory.grow
        grow = wanted + b"\x23" + limit + b"\x56\x04\x7f\x41\x7f\x05\x20\x00\x40\x00\x0b"
        self._add_body(grow, b"\x3f\x00", 0, self._global(MEMORY_REFUSED))

    def _add_table(self, table: int) -> None:
        if table >= len(self._info.tables):
            raise MalformedError(f"a function grows table {table}, which does not exist")
        if self._info.tables[table].is64:
            raise UnsupportedError("growth of a table with 64-bit indices", "memory64")
        element = b"\x70" if self._info.tables[table].element == "funcref" else b"\x6f"
        self.types.append(b"\x60\x02" + element + b"\x7f\x01\x7f")
        grow, size = b"\xfc\x0f" + leb(table), b"\xfc\x10" + leb(table)
        self._add_body(b"\x20\x00\x20\x01" + grow, size, 1, self._global(TABLE_REFUSED))

    def _add_body(self, grow: bytes, size: bytes, delta: int, refused: bytes) -> None:
        """got = grow; if got == -1: refused = u64(size) + u64(delta); return got.

        Both are below 2**33, so the sum is exact. `delta` is the last parameter, `got` the only local after it.
        """
        wanted = b"\x20" + bytes([delta])
        got = bytes([delta + 1])
        code = (
            b"\x01\x01\x7f"  # one local i32
            + grow
            + (b"\x22" + got + b"\x41\x7f\x46\x04\x40")  # local.tee got, i32.const -1, i32.eq, if
            + (size + b"\xad" + wanted + b"\xad\x7c\x24" + refused)  # i64.extend_i32_u both, i64.add, global.set
            + (b"\x0b\x20" + got + b"\x0b")  # end, local.get got, end
        )
        self.bodies.append(leb(len(code)) + code)


_GROWTH = re.compile(MEMORY_GROW + rb"\x80{0,4}+\0|" + TABLE_GROW + b"(" + LEB + b")")
_MAYBE_GROWTH = re.compile(rb"\x40[\x80\0]|\xfc[\x0f\x8f]")


def _rewritten(wasm: bytes, code: Section, growers: _Growers) -> list[bytes | bytearray]:
    """The bodies of the code section, each with its length, in as few pieces as possible."""
    _, copied = u32(wasm, code.start, code.end)
    pieces: list[bytes | bytearray] = []
    for header, start, end in bodies(wasm, code):
        if _MAYBE_GROWTH.search(wasm, start, end) is None:
            continue
        body = _rewritten_body(wasm, start, end, growers)
        if body is not None:
            pieces += (wasm[copied:header], leb(len(body)), body)
            copied = end
    pieces.append(wasm[copied : code.end])
    return pieces


def _rewritten_body(wasm: bytes, start: int, end: int, growers: _Growers) -> bytearray | None:
    """The body in `[start, end)` with its growths replaced, or None if it has none."""
    body = bytearray()
    copied = start
    plain = run_without(MEMORY_GROW, TABLE_GROW)
    for found in walk(wasm, after_locals(wasm, start, end), end, plain, _GROWTH):
        number = found.group(1)
        body += wasm[copied : found.start()]
        body += growers.call(None if number is None else u32(number, 0, len(number))[0])
        copied = found.end()
    if copied == start:
        return None
    body += wasm[copied:end]
    return body


def _assembled(wasm: bytes, sections: Sequence[Section], changed: dict[int, bytes]) -> bytes:
    """The module with these contents of sections; new ones come right after what must stand before them."""
    order = {id_: place for place, id_ in enumerate(SECTION_ORDER)}
    present = {section.id for section in sections}
    after: dict[int, list[int]] = {}
    for id_ in sorted(changed.keys() - present, key=order.__getitem__):
        before = [at for at, section in enumerate(sections) if section.id and order[section.id] < order[id_]]
        after.setdefault(before[-1] if before else -1, []).append(id_)

    def encoded(id_: int) -> bytes:
        return bytes([id_]) + leb(len(changed[id_])) + changed[id_]

    pieces = [wasm[:8], *map(encoded, after.get(-1, ()))]
    for at, section in enumerate(sections):
        pieces.append(encoded(section.id) if section.id in changed else wasm[section.header : section.end])
        pieces.extend(map(encoded, after.get(at, ())))
    return b"".join(pieces)
