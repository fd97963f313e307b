"""Makes one module of a guest and its kernel: the kernel's functions take the places of the guest's imports.

A guest of two modules costs two instances, a linker of its own and a hop through a trampoline at each kernel call; of
one module it costs one instance whose imports are the same for all guests, so they are resolved once per plugin.

What is appended gets indices of its own behind the guest's: types, memory 1 and globals keep the guest's indices as
they are. Functions are numbered anew, because imports come first: each `call`, `ref.func`, element, export and initial
value that names one is rewritten. The guest was validated with multi-memory off, so none of its instructions can reach
memory 1, and none of its indices can name what is appended.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from innkeeper.sandbox.instructions import (
    BLOCKS,
    BRANCHES,
    CALLS,
    CONSTANTS,
    COUNTED,
    GLOBALS,
    LEB,
    LOCALS,
    MEMORY_GROW,
    MEMORY_SIZE,
    REF_NULL,
    TABLE_GROW,
    TABLES,
    after_locals,
    run_of,
    walk,
)
from innkeeper.sandbox.leb import leb, u32
from innkeeper.sandbox.module_info import Section
from innkeeper.sandbox.wasm import (
    CODE,
    DATA,
    DATA_COUNT,
    ELEMENT,
    EXPORT,
    FUNCTION,
    GLOBAL,
    IMPORT,
    MEMORY,
    SECTION_ORDER,
    TABLE,
    TYPE,
    MalformedError,
    ModuleInfo,
    Signature,
    parse,
)

PREAMBLE = b"\0asm\1\0\0\0"

_FUNC = 0
"""Kind of a function among imports and exports."""


def merge(guest: bytes, kernel: bytes, provided: Mapping[tuple[str, str], str], inlined: Collection[str] = ()) -> bytes:
    """The guest with as much of the kernel as it needs, as one module without custom sections.

    Args:
        guest: a valid module with one memory or none, which imports functions only.
        kernel: a valid module whose memory 0 is empty and stands for the guest's, whose memory 1 is the kernel's own,
            which imports functions only, has no table, no elements and no data, and whose globals are constants.
        provided: module and name of each import that the kernel takes the place of, to the kernel's export.
        inlined: exports whose bodies take the place of calls of them, at most `MAX_INLINED` times in all: functions
            that neither call nor return early, and that have no locals but their parameters.

    Raises:
        UnsupportedError, MalformedError: the guest has what a valid module cannot have.
    """
    return _Merge(guest, parse(guest), kernel, parse(kernel), provided, inlined).assembled()


class _Merge:
    """Indices of both modules and of the one they become."""

    def __init__(
        self,
        guest: bytes,
        info: ModuleInfo,
        kernel: bytes,
        kernel_info: ModuleInfo,
        provided: Mapping[tuple[str, str], str],
        inlined: Collection[str],
    ) -> None:
        self._guest, self._info = guest, info
        self._kernel, self._kernel_info = kernel, kernel_info
        self._sections = {section.id: section for section in info.sections if section.id}
        self._kernel_sections = {section.id: section for section in kernel_info.sections if section.id}
        if len(info.memories) > 1 or len(info.imports) != info.imported("func"):
            raise MalformedError("it has more memories, or imports more than functions")
        bodies = _bodies(kernel, self._kernel_sections[CODE])
        wanted = [provided.get((item.module, item.name)) for item in info.imports]
        needed = self._needed({name for name in wanted if name is not None}, bodies)
        imported = len(kernel_info.imports)
        self._kernel_imports = [index for index in needed if index < imported]
        kept = [position for position, name in enumerate(wanted) if name is None]
        # In this order: imports of both, the guest's own functions, the kernel's.
        first_own = len(kept) + len(self._kernel_imports)
        first_kernel = first_own + info.functions
        kernel_own = [index for index in needed if index >= imported]
        self._kernel_functions = {index: len(kept) + place for place, index in enumerate(self._kernel_imports)}
        self._kernel_functions |= {index: first_kernel + place for place, index in enumerate(kernel_own)}
        self._functions = {
            position: self._kernel_functions[kernel_info.exports[name].index]
            for position, name in enumerate(wanted)
            if name is not None
        }
        self._functions |= {position: place for place, position in enumerate(kept)}
        self._shift = first_own - len(info.imports)
        self._kept = kept
        self._kernel_own = [(index, bodies[index - imported]) for index in kernel_own]
        self._encoded: dict[bytes, bytes] = {}
        self._inlines = 0
        self._inlined = {
            position: _Inlined(
                kernel_info.signature(kernel_info.exports[name].index),
                bodies[kernel_info.exports[name].index - imported],
            )
            for position, name in enumerate(wanted)
            if name is not None and name in inlined
        }

    def _needed(self, names: set[str], bodies: list[bytes]) -> list[int]:
        imported = len(self._kernel_info.imports)
        found: set[int] = set()
        open_ = [self._kernel_info.exports[name].index for name in names]
        while open_:
            index = open_.pop()
            if index in found:
                continue
            found.add(index)
            if index >= imported:
                open_.extend(_calls(bodies[index - imported]))
        return sorted(found)

    # --- indices ------------------------------------------------------------------------------------------------------

    def function(self, index: int) -> int:
        """The new index of a function of the guest."""
        moved = self._functions.get(index)
        return index + self._shift if moved is None else moved

    def _function(self, encoded: bytes) -> bytes:
        # The same few thousand numbers come again and again.
        found = self._encoded.get(encoded)
        if found is None:
            found = self._encoded[encoded] = leb(self.function(u32(encoded, 0, len(encoded))[0]))
        return found

    def _kernel_index(self, opcode: int, encoded: bytes) -> bytes:
        number = u32(encoded, 0, len(encoded))[0]
        if opcode in _GLOBAL_CODES:
            return leb(len(self._info.globals) + number)
        return leb(self._kernel_functions[number])

    # --- sections -----------------------------------------------------------------------------------------------------

    def assembled(self) -> bytes:
        """The whole module."""
        changed: dict[int, bytes | bytearray] = {
            TYPE: self._types(),
            IMPORT: self._imports(),
            FUNCTION: self._declared(),
            MEMORY: self._memories(),
            GLOBAL: self._globals(),
            EXPORT: self._exports(),
            CODE: self._code(),
        }
        if ELEMENT in self._sections:
            changed[ELEMENT] = self._elements()
        for number in (TABLE, DATA_COUNT, DATA):
            section = self._sections.get(number)
            if section is not None:
                changed[number] = self._guest[section.start : section.end]
        pieces: list[bytes | bytearray] = [PREAMBLE]
        for number in SECTION_ORDER:
            content = changed.get(number)
            if content is not None:
                pieces += (bytes([number]), leb(len(content)), content)
        return b"".join(pieces)

    def _items(self, number: int) -> tuple[int, bytes]:
        # How many the guest has of a kind, and their bytes.
        section = self._sections.get(number)
        if section is None:
            return 0, b""
        count, start = u32(self._guest, section.start, section.end)
        return count, self._guest[start : section.end]

    def _kernel_items(self, number: int) -> tuple[int, bytes]:
        section = self._kernel_sections.get(number)
        if section is None:
            return 0, b""
        count, start = u32(self._kernel, section.start, section.end)
        return count, self._kernel[start : section.end]

    def _types(self) -> bytes:
        count, items = self._items(TYPE)
        more, kernel = self._kernel_items(TYPE)
        return leb(count + more) + items + kernel

    def _kernel_type(self, function: int) -> bytes:
        return leb(len(self._info.types) + self._kernel_info.function_types[function])

    def _imports(self) -> bytes:
        out = [leb(len(self._kept) + len(self._kernel_imports))]
        for position in self._kept:
            item = self._info.imports[position]
            out.append(_import(item.module, item.name) + leb(self._info.function_types[position]))
        for index in self._kernel_imports:
            item = self._kernel_info.imports[index]
            out.append(_import(item.module, item.name) + self._kernel_type(index))
        return b"".join(out)

    def _declared(self) -> bytes:
        count, items = self._items(FUNCTION)
        return leb(count + len(self._kernel_own)) + items + b"".join(self._kernel_type(i) for i, _ in self._kernel_own)

    def _memories(self) -> bytes:
        count, items = self._items(MEMORY)
        section = self._kernel_sections[MEMORY]
        _, start = u32(self._kernel, section.start, section.end)
        # Where the guest has no memory, an empty one that cannot grow keeps its place: the kernel's is number 1.
        own = self._kernel[start + len(EMPTY_MEMORY) : section.end]
        return leb(2) + (items if count else EMPTY_MEMORY) + own

    def _globals(self) -> bytes:
        section = self._sections.get(GLOBAL)
        more, kernel = self._kernel_items(GLOBAL)
        if section is None:
            return leb(more) + kernel
        count, pos = u32(self._guest, section.start, section.end)
        out = [leb(count + more)]
        for _ in range(count):
            head, pos = self._guest[pos : pos + 2], pos + 2
            expression, pos = self._expression(pos, section.end)
            out += (head, expression)
        return b"".join([*out, kernel])

    def _exports(self) -> bytes:
        count, items = 0, []
        for export in self._info.exports.values():
            kind = _KINDS[export.kind]
            index = self.function(export.index) if kind == _FUNC else export.index
            items.append(_export(export.name, kind, index))
            count += 1
        for export in self._kernel_info.exports.values():
            kind = _KINDS[export.kind]
            if kind == _FUNC:
                continue
            index = export.index + (len(self._info.globals) if export.kind == "global" else 0)
            items.append(_export(export.name, kind, index))
            count += 1
        return leb(count) + b"".join(items)

    def _elements(self) -> bytearray:
        wasm, section = self._guest, self._sections[ELEMENT]
        end = section.end
        count, pos = u32(wasm, section.start, end)
        out = bytearray(leb(count))
        for _ in range(count):
            flags, pos = u32(wasm, pos, end)
            if flags > 7:
                raise MalformedError(f"{flags} are no flags of elements")
            out += leb(flags)
            active = not flags & 1
            if active and flags & 2:
                table, pos = u32(wasm, pos, end)
                out += leb(table)
            if active:
                offset, pos = self._expression(pos, end)
                out += offset
            if flags & 3:
                # The kind of the elements: 0 for functions, or a type of references.
                out += wasm[pos : pos + 1]
                pos += 1
            items, pos = u32(wasm, pos, end)
            out += leb(items)
            # Ten million items are nothing that an engine refuses: no object is kept for any of them.
            for _ in range(items):
                if flags & 4:
                    item, pos = self._expression(pos, end)
                else:
                    number = _NUMBER.match(wasm, pos, end)
                    if number is None:
                        raise MalformedError(f"the element at offset {pos} is not readable")
                    item, pos = self._function(number.group()), number.end()
                out += item
        if pos != end:
            raise MalformedError(f"{end - pos} bytes too many after the last elements")
        return out

    def _expression(self, pos: int, end: int) -> tuple[bytes, int]:
        # A constant expression, with the functions that it names.
        out = bytearray()
        while True:
            item = _CONSTANT.match(self._guest, pos, end)
            if item is None:
                raise MalformedError(f"the constant expression at offset {pos} is not readable")
            found = item.group()
            out += b"\xd2" + self._function(found[1:]) if found[0] == 0xD2 else found
            pos = item.end()
            if found == b"\x0b":
                return bytes(out), pos

    def _code(self) -> bytes:
        out: list[bytes | bytearray] = [leb(self._info.functions + len(self._kernel_own))]
        section = self._sections.get(CODE)
        if section is not None:
            wasm, end = self._guest, section.end
            _, pos = u32(wasm, section.start, end)
            imported = len(self._info.imports)
            for position in range(self._info.functions):
                size, start = u32(wasm, pos, end)
                pos = start + size
                if pos > end:
                    raise MalformedError(f"the function at offset {start} is longer than the code section")
                parameters = len(self._info.signature(imported + position)[0])
                body = self._body(wasm, start, pos, parameters)
                out += (leb(len(body)), body)
            if pos != end:
                raise MalformedError(f"{end - pos} bytes too many after the last function")
        for _, text in self._kernel_own:
            moved = bytearray()
            last = 0
            for item in _kernel_names(text):
                moved += text[last : item.start(1)] + self._kernel_index(text[item.start()], item.group(1))
                last = item.end()
            moved += text[last:]
            out += (leb(len(moved)), moved)
        return b"".join(out)

    def _body(self, wasm: bytes, start: int, end: int, parameters: int) -> bytes | bytearray:
        first = after_locals(wasm, start, end)
        own = _Locals(wasm, start, first, parameters)
        moved = bytearray()
        last = first
        function, encoded = self._function, self._encoded
        inlined = self._inlined if own.count < MAX_LOCALS else {}
        for item in walk(wasm, first, end, run_of(*_PLAIN), _NAMES_FUNCTION):
            number = item.group(1)
            if inlined and wasm[item.start()] == _CALL:
                body = inlined.get(u32(number, 0, len(number))[0])
                if body is not None and self._inlines < MAX_INLINED:
                    self._inlines += 1
                    moved += wasm[last : item.start()]
                    moved += own.inline(body)
                    last = item.end()
                    continue
            moved += wasm[last : item.start(1)]
            moved += encoded.get(number) or function(number)
            last = item.end()
        moved += wasm[last:end]
        return own.header + moved


MAX_LOCALS = 49_000
"""An engine takes 50,000 locals of a function; one that has so many gets no more."""

MAX_INLINED = 2_000
"""Calls that are replaced by what they call: each makes the module some 40 bytes larger."""

_CALL = 0x10
_VALUE_TYPES = {"i32": 0x7F, "i64": 0x7E, "f32": 0x7D, "f64": 0x7C}


class _Inlined:
    """A function of the kernel as code that may stand anywhere."""

    def __init__(self, signature: Signature, body: bytes) -> None:
        self.parameters, results = signature
        self._code = body[after_locals(body, 0, len(body)) :]
        self._block = bytes([0x02, _VALUE_TYPES[results[0]] if results else 0x40])

    def at(self, first: int) -> bytes:
        """The code that takes the place of a call; `first` is the index of the first of its parameters' locals."""
        out = bytearray()
        for position in reversed(range(len(self.parameters))):
            out += b"\x21" + leb(first + position)
        out += self._block
        last = 0
        for item in walk(self._code, 0, len(self._code), run_of(*_INLINED_PLAIN), _NAMES_LOCAL):
            number = item.group(1)
            out += self._code[last : item.start(1)] + leb(first + u32(number, 0, len(number))[0])
            last = item.end()
        return bytes(out + self._code[last:])


class _Locals:
    """The local variables of one of the guest's functions, and more behind them."""

    def __init__(self, wasm: bytes, start: int, end: int, parameters: int) -> None:
        self._groups, pos = u32(wasm, start, end)
        self._own = wasm[pos:end]
        self._more = b""
        self._code: dict[_Inlined, bytes] = {}
        self.count = parameters
        while pos < end:
            number, pos = u32(wasm, pos, end)
            self.count += number
            pos += 1

    def inline(self, body: _Inlined) -> bytes:
        """The code in place of a call; each function has its variables once."""
        code = self._code.get(body)
        if code is None:
            code = self._code[body] = body.at(self.count)
            self.count += len(body.parameters)
            self._groups += len(body.parameters)
            self._more += b"".join(bytes([1, _VALUE_TYPES[name]]) for name in body.parameters)
        return code

    @property
    def header(self) -> bytes:
        """The groups of local variables."""
        return leb(self._groups) + self._own + self._more


EMPTY_MEMORY = b"\1\0\0"
"""As a memory section has it: no page, and never more."""

_KINDS = {"func": 0, "table": 1, "memory": 2, "global": 3}


def _import(module: str, name: str) -> bytes:
    space, word = module.encode(), name.encode()
    return leb(len(space)) + space + leb(len(word)) + word + b"\0"


def _export(name: str, kind: int, index: int) -> bytes:
    word = name.encode()
    return leb(len(word)) + word + bytes([kind]) + leb(index)


def _bodies(wasm: bytes, section: Section) -> list[bytes]:
    count, pos = u32(wasm, section.start, section.end)
    bodies = []
    for _ in range(count):
        size, pos = u32(wasm, pos, section.end)
        bodies.append(wasm[pos : pos + size])
        pos += size
    return bodies


def _calls(body: bytes) -> list[int]:
    # What a function of the kernel calls.
    found = _kernel_names(body)
    return [u32(item.group(1), 0, len(item.group(1)))[0] for item in found if body[item.start()] not in _GLOBAL_CODES]


def _kernel_names(body: bytes) -> Iterator[re.Match[bytes]]:
    return walk(body, after_locals(body, 0, len(body)), len(body), run_of(*_KERNEL_PLAIN), _KERNEL_NAMES)


_GLOBAL_CODES = (0x23, 0x24)

_COMMON = BLOCKS + BRANCHES + LOCALS + TABLES + MEMORY_SIZE + MEMORY_GROW + CONSTANTS + REF_NULL
_PLAIN = (_COMMON + GLOBALS, (*COUNTED, TABLE_GROW))
_NAMES_FUNCTION = re.compile(b"[" + CALLS + b"](" + LEB + b")")

# The kernel is ours, and its loads and stores may name memory 1: bit 6 of the alignment says that a number follows.
_ANY_MEMORY = rb"[\x40-\x7f]" + LEB + LEB + rb"|[\0-\x3f]" + LEB
_KERNEL_PLAIN = (_COMMON, COUNTED, _ANY_MEMORY)
_KERNEL_NAMES = re.compile(b"[" + CALLS + GLOBALS + b"](" + LEB + b")")

_INLINED_PLAIN = (BLOCKS + BRANCHES + MEMORY_SIZE + CONSTANTS, COUNTED, _ANY_MEMORY)
_NAMES_LOCAL = re.compile(b"[" + LOCALS + b"](" + LEB + b")")

_NUMBER = re.compile(LEB)

# One instruction of a constant expression, or its end.
_CONSTANT = re.compile(
    rb"[\x23\x41\x42\xd0\xd2]" + LEB + rb"|\x43.{4}|\x44.{8}|\xfd\x0c.{16}|[\x6a-\x6c\x7c-\x7e\x0b]", re.DOTALL
)
