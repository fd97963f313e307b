"""Is this a file that we run? One sentence says why not, and what would work.

Names in these sentences come from the guest: they are cut, and nothing in them reaches a terminal as a control
character.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches

from innkeeper.errors import RejectedError
from innkeeper.sandbox import kernel
from innkeeper.sandbox.growth import RESERVED
from innkeeper.sandbox.module_info import Import, MalformedError, ModuleInfo, Signature, UnsupportedError
from innkeeper.sandbox.wasm import MAGIC, VERSION, parse

WASI = "wasi_snapshot_preview1"

_BUILD = "build a core module with an Extism PDK"

_LISTED = 5
"""Missing imports that a message names: enough to see what is wrong, and still a sentence."""

_COMPARED = 500
"""Names that are compared with a missing one in search of the one that was meant."""

_SHOWN = 64
"""Characters of a guest's name that a message shows."""

_PROPOSAL_ADVICE = {
    "threads": "build without threads, atomics and shared memory (no -pthread, no +atomics)",
    "memory64": "build for wasm32 instead of wasm64",
    "garbage collection": "use a compiler that targets linear memory",
    "exceptions": "build without Wasm exceptions (-fno-exceptions or panic=abort)",
    "relaxed SIMD": "build with plain SIMD (no -mrelaxed-simd)",
    "multi-memory": "build with one memory",
    "function references": "build without typed function references",
    "stack switching": "build without stack switching",
    "wide arithmetic": "build without it (no -mwide-arithmetic)",
    "custom page sizes": "build with pages of 64 KiB",
    "compact imports": "build with plain imports",
    "component model": _BUILD,
}
"""What to do about each Wasm proposal that is off."""


def admit(wasm: bytes, *, plugin: str | None, size_limit: int) -> ModuleInfo:
    """What the module says of itself, if it is one that this host may run.

    Args:
        wasm: the bytes of the file.
        plugin: its id, for messages.
        size_limit: bytes that a file may have.

    Raises:
        RejectedError: it is not; the message is one sentence that says what it is and what would work.
    """
    problem = _problem_of_file(wasm, size_limit)
    if problem is None:
        try:
            info = parse(wasm)
        except UnsupportedError as error:
            problem = explain_unsupported(error)
        except MalformedError as error:
            problem = f"the Wasm file is damaged: {error.reason}; copy or build it again"
        else:
            problem = _problem_of_module(info)
            if problem is None:
                return info
    raise RejectedError(problem, plugin=plugin)


def explain_unsupported(error: UnsupportedError) -> str:
    """One sentence (str) for what is not supported, and what would work."""
    if error.proposal is None:
        return f"the module uses what this host does not support: {error.reason}; {_BUILD}"
    return _off(error.proposal, error.reason)


def _off(proposal: str, detail: str) -> str:
    return f"the module needs the Wasm proposal {proposal!r}, which is off here ({detail}); {_advice(proposal)}"


def _advice(proposal: str) -> str:
    return _PROPOSAL_ADVICE.get(proposal, "build without it")


# Repetitions are bounded or possessive: no file makes matching slow.
_LOOKS = (
    (rb"\x7fELF", f"is a native or precompiled ELF file; {_BUILD} (target wasm32)"),
    (rb"\xcf\xfa\xed\xfe|\xce\xfa\xed\xfe", f"is a native macOS program; {_BUILD} (target wasm32)"),
    (rb"MZ.{58}", f"is a native Windows program; {_BUILD} (target wasm32)"),
    (rb"\xca\xfe\xba\xbe", f"is a Java class or a macOS program; {_BUILD} (target wasm32)"),
    (rb"BC\xc0\xde", "is LLVM bitcode; link it for wasm32 first"),
    (rb"!<arch>\n", "is a static library; link it for wasm32 first"),
    (rb"\x1f\x8b", "is compressed with gzip; unpack it first (gunzip)"),
    (rb"\x28\xb5\x2f\xfd", "is compressed with zstd; unpack it first (unzstd)"),
    (rb"\xfd7zXZ\0", "is compressed with xz; unpack it first (unxz)"),
    (rb"BZh[1-9]", "is compressed with bzip2; unpack it first (bunzip2)"),
    (rb"PK\x03\x04|PK\x05\x06", "is a zip archive; unpack it and give the .wasm file in it"),
    (rb".{257}ustar", "is a tar archive; unpack it and give the .wasm file in it"),
    (rb"\x89PNG\r\n", f"is a PNG image; {_BUILD}"),
    (rb"\xff\xd8\xff", f"is a JPEG image; {_BUILD}"),
    (rb"%PDF-", f"is a PDF document; {_BUILD}"),
    (rb"version https://git-lfs", "is a pointer of Git LFS and not the file itself; fetch it (git lfs pull)"),
    (rb"\s{0,99}<(?:!doctype html|html|head|body)\b", "is a web page; download the .wasm file itself"),
    (rb"\s{0,99}<\?xml", f"is an XML document; {_BUILD}"),
    (
        rb"(?:\s++|;;[^\n]*+\n|\(;(?:(?!;\)).)*+;\))*+\((?:module|component|func|memory|import|export|type)\b",
        "is Wasm text; assemble it with wat2wasm",
    ),
    (rb"\s{0,99}[\[{]\s{0,99}[\"\[{\]}\d-]", "is JSON; give the .wasm file and not its manifest or a workflow"),
    (rb"#!", f"is a script; {_BUILD}"),
)


def _problem_of_file(wasm: bytes, size_limit: int) -> str | None:
    if not wasm:
        return f"the file is empty; {_BUILD}"
    if len(wasm) > size_limit:
        return (
            f"the file has {len(wasm)} bytes and this host takes {size_limit} at most; "
            "build it optimised for size and without debug information (wasm-opt -Oz --strip-debug)"
        )
    if wasm[:4] != MAGIC:
        if MAGIC.startswith(wasm):
            return _TRUNCATED
        return f"the file is not Wasm: it {_looks_like(wasm[:4096])}"
    if len(wasm) < 8:
        return _TRUNCATED
    if wasm[4:8] != VERSION:
        if wasm[6:8] == b"\1\0":
            return f"the file is a component, and components are not supported yet; {_BUILD}"
        return f"the file is Wasm of version {int.from_bytes(wasm[4:8], 'little')}, not 1; {_BUILD}"
    return None


_TRUNCATED = "the Wasm file is cut off within its first 8 bytes; copy or build it again"


def _looks_like(head: bytes) -> str:
    for pattern, sentence in _LOOKS:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return sentence
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The cut at the end of `head` may have split a character.
        if error.start < len(head) - 3 or len(head) < 4096:
            return f"begins with the bytes {head[:4].hex(' ')}, which no known kind of file has; {_BUILD}"
    return f"is text; {_BUILD}"


def _problem_of_module(info: ModuleInfo) -> str | None:
    if "linking" in info.custom or "linking" in info.custom_dropped:
        return "the file is an object file of a compiler; link it (wasm-ld, or the compiler without -c)"
    for name in info.exports:
        if name.startswith(RESERVED):
            return f"the module exports {shown(name)}, and names that begin with {RESERVED!r} are the host's; rename it"
    for wanted in info.imports:
        if wanted.name.startswith(RESERVED):
            # They would reach what the rewriting adds to a linked module: its limit, or a memory that it keeps.
            return (
                f"the module imports {shown(wanted.name)}, and names that begin with {RESERVED!r} are the host's; "
                "build it without that import"
            )
        if sentence := _problem_of_import(wanted):
            return sentence
    return _problem_of_memories(info)


def _problem_of_memories(info: ModuleInfo) -> str | None:
    if any(memory.is64 for memory in info.memories):
        return _off("memory64", "a memory with 64-bit addresses")
    if any(table.is64 for table in info.tables):
        return _off("memory64", "a table with 64-bit indices")
    if any(memory.shared for memory in info.memories) or any(table.shared for table in info.tables):
        return _off("threads", "a shared memory or table")
    if len(info.memories) > 1:
        return _off("multi-memory", f"{len(info.memories)} memories")
    return None


# Modules that were built for another host are told by what they import: (module, name), what they are, what to do.
_FOREIGN = tuple(
    (re.compile(module, re.DOTALL), re.compile(name), sentence)
    for module, name, sentence in (
        ("env", "extism_", "built for the older Extism ABI, from before 1.0; rebuild it with a PDK of 1.0 or later"),
        ("wasi_unstable", "", f"built for WASI preview 0; rebuild it for WASI preview 1 ({WASI})"),
        ("wasi:.*", "", f"built for WASI 0.2 or later; rebuild it for WASI preview 1 ({WASI}), target wasm32-wasip1"),
        ("wasix.*", "", f"built for WASIX; rebuild it for WASI preview 1 ({WASI}), target wasm32-wasip1"),
        ("wasi(?!_snapshot_preview1$)[_-].*", "", f"built for another version of WASI; rebuild it for {WASI}"),
        (
            "env",
            "_?emscripten_|_embind_|invoke_[vijfd]+$|__syscall_|__cxa_throw$",
            "built by Emscripten for a JavaScript host; build it with the WASI SDK or `zig cc -target wasm32-wasi`, or "
            "with -sSTANDALONE_WASM",
        ),
        ("GOT\\.(mem|func)", "", "a side module of dynamic linking; link it statically"),
        (
            "__wbindgen.*|wbg|.*_bg\\.js",
            "",
            "built by wasm-bindgen for a JavaScript host; build it with the Extism PDK for Rust, target "
            "wasm32-unknown-unknown or wasm32-wasip1",
        ),
        (
            "gojs|go",
            "runtime\\.|syscall/js\\.",
            "built by Go for a JavaScript host; build it with GOOS=wasip1 and -buildmode=c-shared",
        ),
    )
)


def _problem_of_import(wanted: Import) -> str | None:
    for module, name, sentence in _FOREIGN:
        if module.fullmatch(wanted.module) and name.match(wanted.name):
            return f"the module imports {_label(wanted.module, wanted.name)}: it is {sentence}"
    return None


def resolve(
    info: ModuleInfo,
    available: Mapping[tuple[str, str], Signature],
    modules: Collection[str],
    plugin: str | None = None,
) -> None:
    """Checks that everything which the module imports is there.

    Args:
        info: what the module says of itself.
        available: signatures of the functions that it may import, by module and name; those of the modules that it
            is linked with too (`functions_of`).
        modules: names of the modules that it is linked with; memories, tables and globals come from these alone.
        plugin: its id, for messages.

    Raises:
        RejectedError: something is missing or has another signature; the message is one sentence that lists it.
    """
    for wanted in info.imports:
        if wanted.kind != "func" and wanted.module not in modules:
            label = _label(wanted.module, wanted.name)
            raise RejectedError(
                f"the module imports the {wanted.kind} {label}, and the host gives functions only; "
                f"build it so that it has a {wanted.kind} of its own{_OWN.get(wanted.kind, '')}",
                plugin=plugin,
            )
    missing = list(
        dict.fromkeys(
            (wanted.module, wanted.name, wanted.signature)
            for wanted in info.imports
            if wanted.signature is not None and available.get((wanted.module, wanted.name)) != wanted.signature
        )
    )
    if not missing:
        return
    listed = [
        f"{_label(module, name)} {signature_text(signature)}{_near_miss(module, name, available)}"
        for module, name, signature in missing[:_LISTED]
    ]
    more = f", and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
    raise RejectedError(
        f"the module imports what this host does not have: {', '.join(listed)}{more}; {_cure(missing)}",
        plugin=plugin,
    )


_OWN = {"memory": " (no --import-memory)", "table": " (no --import-table)"}


def functions_of(name: str, info: ModuleInfo) -> dict[tuple[str, str], Signature]:
    """The functions that a module offers to those that are linked with it as `name`, for `resolve`."""
    return {(name, export.name): export.signature for export in info.exports.values() if export.signature is not None}


def _cure(missing: list[tuple[str, str, Signature]]) -> str:
    names = {(module, name) for module, name, _ in missing}
    if ("env", "abort") in names:
        return "build it without that import (AssemblyScript: --use abort=FILE/FUNCTION, an abort of its own)"
    if any(module == WASI for module, _ in names):
        return f"build it against {WASI} as its specification has it"
    if any(module == kernel.ENV for module, _ in names):
        return "rebuild it with an Extism PDK of 1.0 or later"
    return "register them as host functions, link a module that has them, or build the plugin without them"


def _near_miss(module: str, name: str, available: Mapping[tuple[str, str], Signature]) -> str:
    if (module, name) in available:
        return f" (it is there as {signature_text(available[module, name])})"
    elsewhere = [key for key in available if key[1] == name]
    if not elsewhere and len(name) <= _SHOWN:
        # Comparing takes time that grows with the square of the length, and both names may be a guest's.
        siblings = [key[1] for key in available if key[0] == module and len(key[1]) <= _SHOWN][:_COMPARED]
        elsewhere = [(module, close) for close in get_close_matches(name, siblings, 1, 0.75)]
    if not elsewhere:
        return ""
    key = elsewhere[0]
    return f" (did you mean {_label(*key)} {signature_text(available[key])}?)"


def signature_text(signature: Signature) -> str:
    """A signature for people (str): "(i64, i32) -> i64"."""
    parameters, results = (", ".join(types[:16]) + (", ..." if len(types) > 16 else "") for types in signature)
    return f"({parameters}) -> {results if len(signature[1]) == 1 else f'({results})'}"


def shown(name: str) -> str:
    """A guest's name in quotes (str), cut and without control characters, fit for a message."""
    return ascii(name) if len(name) <= _SHOWN else ascii(name[:_SHOWN]) + "..."


def _label(module: str, name: str) -> str:
    return f"{shown(module)} {shown(name)}"


_OFFSET = re.compile(r"\(at offset 0x([0-9a-f]+)\)|at offset (\d+):")
_NOISE = re.compile(r"^(?:\d+: )?(?:Invalid input WebAssembly code at offset \d+: )?|\s*\(at offset 0x[0-9a-f]+\)")

# What the engine's validator says when a module uses a proposal that is off.
_COMPLAINTS = (
    (r"relaxed.simd", "relaxed SIMD"),
    (r"\bthreads\b|\bshared\b.*(?:memor|table|global)|atomic", "threads"),
    (r"memory64|64-bit (?:memor|table)", "memory64"),
    (r"multiple memories|multi.memory", "multi-memory"),
    (r"exception", "exceptions"),
    (r"stack.switching|continuation", "stack switching"),
    (r"function.references", "function references"),
    (r"wide.arithmetic", "wide arithmetic"),
    (r"custom.page.sizes", "custom page sizes"),
    (r"compact.imports", "compact imports"),
    (r"encoded as a component", "component model"),
    (r"\bgc\b", "garbage collection"),
)
_IS_OFF = re.compile(
    r"\bnot (?:enabled|supported|allowed)\b|must be enabled|to be enabled|required?\b|disabled"
    r"|multiple memories|without the|encoded as a component",
    re.IGNORECASE,
)


def explain_compile_error(message: str) -> str:
    """One short sentence (str) for what the engine says about a module that it does not compile.

    Args:
        message: the engine's text, of several lines.
    """
    lines = [line.strip() for line in message[:10_000].splitlines() if line.strip()]
    cause = lines[-1] if lines else "no reason was given"
    for at, line in enumerate(lines):
        if line.startswith(("wasm backtrace", "Stack backtrace", "note: ")) and at:
            cause = lines[at - 1]
            break
    offset = ""
    if found := _OFFSET.search(cause):
        offset = f" at offset {int(found[1], 16) if found[1] else int(found[2])}"
    short = "".join(c if c.isprintable() else " " for c in _NOISE.sub("", cause))
    short = " ".join(short.split())
    if len(short) > 200:
        short = short[:200] + "..."
    if _IS_OFF.search(short):
        for pattern, proposal in _COMPLAINTS:
            if re.search(pattern, short, re.IGNORECASE):
                return _off(proposal, f"{short}{offset}")
    return f"the module is not valid Wasm: {short}{offset}; build it again, with a released version of its compiler"
