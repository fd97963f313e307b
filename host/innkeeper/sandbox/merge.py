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
from collections.abc import Collection, Iterable, Iterator, Mapping

from innkeeper.sandbox.inlining import MAX_LOCALS, Inlined, Locals
from innkeeper.sandbox.instructions import CALLS, CONSTANT, GLOBALS, LEB, after_locals, run_without, walk
from innkeeper.sandbox.leb import leb, u32
from innkeeper.sandbox.module_info import MalformedError, ModuleInfo
from innkeeper.sandbox.sections import appended, bodies, export_item, function_import_item, items
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
    parse,
)

MAX_INLINED = 2_000
"""Calls that are replaced by what they call: each makes the module some 40 bytes larger."""


def merge(guest: bytes, kernel: bytes, provided: Mapping[tuple[str, str], str], inlined: Collection[str]) -> bytes:
    """The guest with as much of the kernel as it needs, as one module without custom sections.

    Args:
        guest: a valid module with one memory or none, which imports functions only and has no start section; it may
            have some items more than a file may (`growth.instrument` appends them).
        kernel: a valid module whose memory 0 is empty and stands for the guest's, whose memory 1 is the kernel's own,
            which imports functions only, has no table, no elements and no data, and whose globals are constants.
        provided: module and name of each import that the kernel takes the place of, to the kernel's export.
        inlined: exports whose bodies take the place of calls of them, at most `MAX_INLINED` times in all: functions
            that neither call nor return early, and that have no locals but their parameters.

    Raises:
        UnsupportedError, MalformedError: the guest has what a valid module cannot have.
    """
    return _Merge(guest, parse(guest, more=_APPENDED), kernel, parse(kernel), provided, inlined).assembled()


_APPENDED = 1000
"""Items of each kind that `growth.instrument` may have appended: a function and its type for each table, of which an
engine takes a hundred, and a few more."""


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
        imported = len(kernel_info.imports)
        own = [kernel[start:end] for _, start, end in bodies(kernel, self._kernel_sections[CODE])]
        wanted = [provided.get((item.module, item.name)) for item in info.imports]
        taken = {name: kernel_info.exports[name].index for name in wanted if name is not None}
        needed = _needed(taken.values(), own, imported)
        self._kernel_imports = [index for index in needed if index < imported]
        self._kernel_own = [(index, own[index - imported]) for index in needed if index >= imported]
        self._kept = [position for position, name in enumerate(wanted) if name is None]
        # In this order: imports of both, the guest's own functions, the kernel's.
        first_own = len(self._kept) + len(self._kernel_imports)
        first_kernel = first_own + info.functions
        self._kernel_functions = {index: len(self._kept) + place for place, index in enumerate(self._kernel_imports)}
        self._kernel_functions |= {index: first_kernel + place for place, (index, _) in enumerate(self._kernel_own)}
        self._functions = {position: place for place, position in enumerate(self._kept)}
        self._functions |= {
            position: self._kernel_functions[taken[name]] for position, name in enumerate(wanted) if name is not None
        }
        self._shift = first_own - len(info.imports)
        self._encoded: dict[bytes, bytes] = {}
        self._inlines = 0
        code = {
            name: Inlined(kernel_info.signature(index), own[index - imported])
            for name, index in taken.items()
            if name in inlined
        }
        self._inlined = {position: code[name] for position, name in enumerate(wanted) if name in code}

    # --- indices ------------------------------------------------------------------------------------------------------

    def _function(self, index: int) -> int:
        """The new index of a function of the guest."""
        moved = self._functions.get(index)
        return index + self._shift if moved is None else moved

    def _number(self, encoded: bytes) -> bytes:
        # The same few thousand numbers come again and again.
        found = self._encoded.get(encoded)
        if found is None:
            found = self._encoded[encoded] = leb(self._function(u32(encoded, 0, len(encoded))[0]))
        return found

    def _kernel_number(self, opcode: int, encoded: bytes) -> bytes:
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
        pieces: list[bytes | bytearray] = [self._guest[:8]]
        for number in SECTION_ORDER:
            content = changed.get(number)
            if content is not None:
                pieces += (bytes([number]), leb(len(content)), content)
        return b"".join(pieces)

    def _kernel_items(self, number: int) -> tuple[int, bytes]:
        return items(self._kernel, self._kernel_sections.get(number))

    def _types(self) -> bytes:
        return appended(self._guest, self._sections.get(TYPE), *self._kernel_items(TYPE))

    def _kernel_type(self, function: int) -> int:
        return len(self._info.types) + self._kernel_info.function_types[function]

    def _imports(self) -> bytes:
        out = [leb(len(self._kept) + len(self._kernel_imports))]
        for position in self._kept:
            item = self._info.imports[position]
            out.append(function_import_item(item.module, item.name, self._info.function_types[position]))
        for index in self._kernel_imports:
            item = self._kernel_info.imports[index]
            out.append(function_import_item(item.module, item.name, self._kernel_type(index)))
        return b"".join(out)

    def _declared(self) -> bytes:
        types = b"".join(leb(self._kernel_type(index)) for index, _ in self._kernel_own)
        return appended(self._guest, self._sections.get(FUNCTION), len(self._kernel_own), types)

    def _memories(self) -> bytes:
        # Where the guest has no memory, an empty one that cannot grow keeps its place: the kernel's is number 1.
        _, own = items(self._guest, self._sections.get(MEMORY))
        _, kernel = self._kernel_items(MEMORY)
        return leb(2) + (own or _EMPTY_MEMORY) + kernel[len(_EMPTY_MEMORY) :]

    def _globals(self) -> bytes:
        count, pos = 0, 0
        section = self._sections.get(GLOBAL)
        more, kernel = self._kernel_items(GLOBAL)
        out = []
        if section is not None:
            count, pos = u32(self._guest, section.start, section.end)
            for _ in range(count):
                head, pos = self._guest[pos : pos + 2], pos + 2
                expression, pos = self._expression(pos, section.end)
                out += [head, expression]
        return b"".join((leb(count + more), *out, kernel))

    def _exports(self) -> bytes:
        out = []
        for export in self._info.exports.values():
            index = self._function(export.index) if export.kind == "func" else export.index
            out.append(export_item(export.name, export.kind, index))
        for export in self._kernel_info.exports.values():
            if export.kind != "func":
                shift = len(self._info.globals) if export.kind == "global" else 0
                out.append(export_item(export.name, export.kind, export.index + shift))
        return leb(len(out)) + b"".join(out)

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
            number, pos = u32(wasm, pos, end)
            out += leb(number)
            # Ten million items are nothing that an engine refuses: no object is kept for any of them.
            for _ in range(number):
                if flags & 4:
                    item, pos = self._expression(pos, end)
                else:
                    named = _NUMBER.match(wasm, pos, end)
                    if named is None:
                        raise MalformedError(f"the element at offset {pos} is not readable")
                    item, pos = self._number(named.group()), named.end()
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
            out += b"\xd2" + self._number(found[1:]) if found[0] == 0xD2 else found
            pos = item.end()
            if found == b"\x0b":
                return bytes(out), pos

    def _code(self) -> bytes:
        out: list[bytes | bytearray] = [leb(self._info.functions + len(self._kernel_own))]
        section = self._sections.get(CODE)
        if section is not None:
            for index, (_, start, end) in enumerate(bodies(self._guest, section), len(self._info.imports)):
                body = self._body(start, end, len(self._info.signature(index)[0]))
                out += (leb(len(body)), body)
        for _, text in self._kernel_own:
            moved = bytearray()
            last = 0
            for item in _kernel_names(text):
                moved += text[last : item.start(1)] + self._kernel_number(text[item.start()], item.group(1))
                last = item.end()
            moved += text[last:]
            out += (leb(len(moved)), moved)
        return b"".join(out)

    def _body(self, start: int, end: int, parameters: int) -> bytes | bytearray:
        wasm = self._guest
        first = after_locals(wasm, start, end)
        own = Locals(wasm, start, first, parameters)
        moved = bytearray()
        last = first
        number_of, encoded = self._number, self._encoded
        inlined = self._inlined if own.count < MAX_LOCALS else {}
        for item in walk(wasm, first, end, run_without(CALLS), _NAMES_FUNCTION):
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
            moved += encoded.get(number) or number_of(number)
            last = item.end()
        moved += wasm[last:end]
        return own.header + moved


_EMPTY_MEMORY = b"\1\0\0"
"""As a memory section has it: no page, and never more."""

_CALL = 0x10
_GLOBAL_CODES = (0x23, 0x24)


def _needed(wanted: Iterable[int], own: list[bytes], imported: int) -> list[int]:
    """The kernel's functions (sorted indices) that some of its functions need, themselves included.

    Args:
        wanted: their indices.
        own: bodies of the kernel's functions.
        imported: how many it imports, which come first.
    """
    found: set[int] = set()
    open_ = list(wanted)
    while open_:
        index = open_.pop()
        if index not in found:
            found.add(index)
            if index >= imported:
                open_ += _calls(own[index - imported])
    return sorted(found)


def _calls(body: bytes) -> list[int]:
    # What a function of the kernel calls.
    found = _kernel_names(body)
    return [u32(item.group(1), 0, len(item.group(1)))[0] for item in found if body[item.start()] not in _GLOBAL_CODES]


def _kernel_names(body: bytes) -> Iterator[re.Match[bytes]]:
    plain = run_without(CALLS, GLOBALS, any_memory=True)
    return walk(body, after_locals(body, 0, len(body)), len(body), plain, _KERNEL_NAMES)


_NAMES_FUNCTION = re.compile(b"[" + CALLS + b"](" + LEB + b")")
_KERNEL_NAMES = re.compile(b"[" + CALLS + GLOBALS + b"](" + LEB + b")")
_NUMBER = re.compile(LEB)
_CONSTANT = re.compile(CONSTANT + rb"|\x0b", re.DOTALL)
"""One instruction of a constant expression, or its end."""
