"""What a job's outcome means to whoever wanted the module: one sentence with the reason and what to do."""

from __future__ import annotations

import signal

from innkeeper.errors import InnkeeperError, InternalError, RejectedError
from innkeeper.sandbox import admission
from innkeeper.sandbox.compilation.frames import Status
from innkeeper.sandbox.compilation.process import Answer, Death
from innkeeper.sandbox.leb import u32
from innkeeper.sandbox.limits import GIB, KIB, MIB
from innkeeper.sandbox.wasm import CODE, MalformedError, UnsupportedError, parse

_NO_MEMORY = ("memory allocation of", "os error 12", "Cannot allocate memory", "MemoryError")
"""How the compiler says that it got no more."""

_SMALLER = "build it with smaller functions or with less in it (-Os, no generated tables as code)"


def _size_text(size: int) -> str:
    for unit, factor in (("GB", 1000**3), ("MB", 1000**2), ("kB", 1000)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} B"


def is_spoilt(outcome: Answer | Death) -> bool:
    """Whether its child is not to be used again: it ended, or its memory did not suffice. Where it had done other jobs
    before, what they left behind may be the reason."""
    if isinstance(outcome, Death):
        return True
    return outcome.status is Status.MEMORY or (outcome.status is Status.INVALID and _no_memory(_text(outcome)))


def is_too_long(outcome: Answer | Death) -> bool:
    """Whether the module took more processor time than it may, which is counted for each job by itself."""
    return isinstance(outcome, Death) and outcome.code == -signal.SIGXCPU


def judge(outcome: Answer | Death, wasm: bytes, *, cpu: int, memory: int) -> bytes:
    """The artifact.

    Args:
        outcome: what the child said, or how it ended.
        wasm: the module; reading it may take a while, where it was not compiled.
        cpu: seconds of processor time that it had.
        memory: bytes that it had.

    Raises:
        RejectedError: the module is not one that this host runs.
        InternalError: the child failed by itself.
    """
    if isinstance(outcome, Death):
        raise _of_death(outcome, wasm, cpu, memory)
    if outcome.status is Status.ARTIFACT:
        return outcome.data
    raise _of_answer(outcome, wasm, memory)


def stuck(wasm: bytes, wall: float) -> RejectedError:
    """The module took more time than it may."""
    return RejectedError(
        f"compiling had not ended after {wall:g} s; {_describe(wasm)}; try again when the machine is less busy, "
        "or raise 'compile_cpu' in innkeeper.toml"
    )


def _describe(wasm: bytes) -> str:
    """What is large in a module (str): "the module is 7.5 MB with one function of 7.4 MB"."""
    text = f"the module is {_size_text(len(wasm))}"
    try:
        info = parse(wasm)
        code = next((section for section in info.sections if section.id == CODE), None)
        if code is None:
            return text
        largest = _largest_function(wasm[code.start : code.end])
    except MalformedError:
        return text
    functions = "one function" if info.functions == 1 else f"{info.functions:,} functions"
    if largest * 2 >= len(wasm):
        return f"{text} with one function of {_size_text(largest)}"
    return f"{text} with {functions}"


def _largest_function(code: bytes) -> int:
    count, at = u32(code, 0, len(code))
    largest = 0
    for _ in range(count):
        size, at = u32(code, at, len(code))
        at += size
        largest = max(largest, size)
    return min(largest, len(code))


def _too_large(wasm: bytes, memory: int) -> RejectedError:
    amount = f"{memory / GIB:.3g} GiB" if memory >= GIB else f"{memory / MIB:.3g} MiB"
    return RejectedError(
        f"compiling needed more than {amount} of memory; {_describe(wasm)}; {_SMALLER}, "
        "or raise 'compile_memory' in innkeeper.toml"
    )


def _of_answer(answer: Answer, wasm: bytes, memory: int) -> InnkeeperError:
    if is_spoilt(answer):
        return _too_large(wasm, memory)
    status, text = answer.status, _text(answer)
    if status is Status.INVALID:
        return RejectedError(admission.explain_compile_error(text))
    if status is Status.UNSUPPORTED:
        proposal, _, reason = text.partition("\n")
        return RejectedError(admission.explain_unsupported(UnsupportedError(reason, proposal or None)))
    if status is Status.MALFORMED:
        return RejectedError(f"the module cannot be used: {text}")
    if status is Status.REJECTED:
        return RejectedError(text)
    return InternalError(f"the process that compiles failed: {text[:KIB]}")


def _of_death(death: Death, wasm: bytes, cpu: int, memory: int) -> InnkeeperError:
    if is_too_long(death):
        return RejectedError(
            f"compiling took more than {cpu} s of processor time; {_describe(wasm)}; {_SMALLER}, "
            "or raise 'compile_cpu' in innkeeper.toml"
        )
    if _no_memory(death.said):
        return _too_large(wasm, memory)
    if death.code == -signal.SIGKILL:
        return RejectedError(
            f"the compiler was killed from outside, as a system does that runs out of memory; {_describe(wasm)}; "
            "try again with more memory free"
        )
    if death.code < 0:
        return RejectedError(
            f"the compiler crashed (signal {-death.code}); {_describe(wasm)}; build it with another version of its "
            "compiler or with other optimisations"
        )
    last = death.said.strip().rpartition("\n")[2][:KIB]
    said = f": {admission.shown(last)}" if last else ""
    return InternalError(f"the process that compiles ended with code {death.code}{said}")


def _text(answer: Answer) -> str:
    return answer.data.decode("utf-8", "replace")


def _no_memory(text: str) -> bool:
    return any(words in text for words in _NO_MEMORY)
