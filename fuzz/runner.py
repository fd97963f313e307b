"""Runs a target's process, watches it, and keeps what it found."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.child import FOUND, ROOM, read_current
from fuzz.target import FOLDER, kind, module_of

CRASHES = FOLDER / "crashes"
ROOT = FOLDER.parent

_MOST_DEFECTS = 20
_MOST_PROCESSES = 300
"""Findings after which a target is left alone, unlike ones and all: what is wrong is known by then."""

_STARTING = 60.0
"""Seconds that a process may take until its first input."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that broke a promise.

    Attributes:
        what: in a line: the exception, the signal, "a hang".
        file: where the input is kept.
        report: what the process said on standard error.
    """

    what: str
    file: Path
    report: str


@dataclass(slots=True)
class Outcome:
    """What a target did.

    Attributes:
        name: the target's.
        seed: the seed of its first process; each further one takes the next number.
        cases: inputs that were tried.
        seconds: how long, in all.
        outcomes: what became of the inputs of its last process, unless that found something: the most frequent first.
        findings: what broke a promise, one for each kind.
    """

    name: str
    seed: int
    cases: int = 0
    seconds: float = 0.0
    outcomes: list[tuple[str, int]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        outcomes = f" with {len(self.outcomes)} outcomes" if self.outcomes else ""
        found = f", FOUND {len(self.findings)}" if self.findings else ""
        return f"{self.name}: {self.cases:,} inputs{outcomes} in {self.seconds:.1f} s, seed {self.seed}{found}"


def run_target(
    name: str,
    *,
    seed: int,
    seconds: float | None = None,
    cases: int | None = None,
    module: str | None = None,
    crashes: Path = CRASHES,
    guided: bool = False,
) -> Outcome:
    """Runs a target for so long or so many inputs; after a finding, a new process goes on.

    Args:
        name: the target's.
        seed: where its chance begins.
        seconds: how long.
        cases: how many inputs.
        module: the module that has it, if it is not one of this folder.
        crashes: where inputs that found something are kept.
        guided: let coverage lead the search; for so many seconds, with a target that can.
    """
    module = module or module_of(name)
    outcome = Outcome(name, seed)
    defects: set[str] = set()
    begin = time.monotonic()
    for attempt in range(_MOST_PROCESSES):
        if len(defects) >= _MOST_DEFECTS:
            break
        arguments = [f"--seed={seed + attempt}"]
        if seconds is not None:
            left = seconds - (time.monotonic() - begin)
            if left <= 0:
                break
            arguments.append(f"--seconds={left}")
        if guided:
            arguments.append("--guided")
        if cases is not None:
            if outcome.cases >= cases:
                break
            arguments.append(f"--cases={cases - outcome.cases}")
        done, outcome.outcomes, what, data, report = _process(module, arguments)
        outcome.cases += done
        if what is None:
            break
        defect = _defect(what, report)
        if defect not in defects:
            defects.add(defect)
            outcome.findings.append(_kept(name, what, data, report, crashes))
        if not done:
            # It does not even start.
            break
    outcome.seconds = time.monotonic() - begin
    return outcome


def replay(name: str, file: Path, module: str | None = None) -> tuple[str | None, str]:
    """Tries one input in a process of its own: what it breaks (None if nothing), and what the process said."""
    _, outcomes, what, _, report = _process(module or module_of(name), [f"--replay={file}"])
    return what, report if what else str(outcomes)


def minimise(name: str, file: Path, *, tries: int = 300, module: str | None = None) -> bytes:
    """The input with as much cut off as it can lose while it still breaks the same promise."""
    what, report = replay(name, file, module)
    data = file.read_bytes()
    if what is None:
        return data
    wanted = _defect(what, report)
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / "input"
        step = max(1, len(data) // 2)
        at = 0
        while step and tries:
            if at >= len(data):
                at, step = 0, step // 2
                continue
            shorter = data[:at] + data[at + step :]
            candidate.write_bytes(shorter)
            tries -= 1
            what, report = replay(name, candidate, module)
            if what is not None and _defect(what, report) == wanted:
                data = shorter
            else:
                at += step
    return data


def _process(module: str, arguments: Sequence[str]) -> tuple[int, list[tuple[str, int]], str | None, bytes, str]:
    """One process: inputs begun, what became of them, what it broke (None: nothing), its last input, standard error."""
    target = kind(module)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        current, errors, output = (Path(folder) / name for name in ("current", "stderr", "stdout"))
        current.write_bytes(b"")
        os.truncate(current, ROOM + (1 << 16))
        with errors.open("wb") as stderr, output.open("wb") as stdout:
            process = subprocess.Popen(
                [sys.executable, "-m", "fuzz.child", module, str(current), *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, "TMPDIR": folder},
            )
            try:
                ended_for = _watch(process, current, target.hang, target.memory)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
        report = errors.read_bytes()[-20_000:].decode("utf-8", "replace")
        done, data = read_current(current)
        lines = output.read_bytes().splitlines()
    code = process.returncode
    if ended_for is not None:
        return done, [], ended_for, data, report
    if code == 0:
        return done, [(word, count) for word, count in json.loads(lines[-1])] if lines else [], None, data, report
    if code == FOUND:
        return done, [], _last_line(report), data, report
    died = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return done, [], f"the process died: {died}", data, report


def _watch(process: subprocess.Popen[bytes], current: Path, hang: float, memory: int) -> str | None:
    """Waits for the process's end; says why it must be ended if one input takes too long or too much."""
    seen, since = 0, time.monotonic()
    while process.poll() is None:
        time.sleep(0.05 if not seen else 0.2)
        with current.open("rb") as file:
            count = int.from_bytes(file.read(8), "little")
        now = time.monotonic()
        if count != seen:
            seen, since = count, now
        if now - since > (hang if seen else _STARTING):
            # The traceback of all threads says where it hangs.
            process.send_signal(signal.SIGABRT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            return f"a hang: one input took more than {hang:g} s"
        used = _resident(process.pid)
        if used > memory:
            return f"too much memory: {used >> 20} MiB"
    return None


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _last_line(report: str) -> str:
    """The exception's own line; those of a group's exceptions stand behind bars."""
    bare = (re.sub(r"^[\s|]+\| ", "", line) for line in report.splitlines())
    lines = [line for line in bare if re.match(r"[A-Za-z_][\w.]*(?:: |$)", line)]
    return lines[-1][:300] if lines else "an exception"


def _defect(what: str, report: str) -> str:
    """What findings of one defect have in common: the exception, and the last two places of its traceback."""
    places = re.findall(r'File "[^"]*/([^/"]+)", line (\d+)', report)
    return f"{what.partition(':')[0]} {places[-2:]}"


def _kept(name: str, what: str, data: bytes, report: str, crashes: Path) -> Finding:
    crashes.mkdir(parents=True, exist_ok=True)
    file = crashes / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    file.write_bytes(data)
    file.with_suffix(".txt").write_text(f"{what}\n\n{report}")
    return Finding(what, file, report)
