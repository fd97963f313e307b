"""Runs the targets of this folder, each in a process of its own that is bounded and watched."""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz.binaryen import WASM_OPT
from fuzz.guided import installed
from fuzz.runner import CRASHES, Outcome, minimise, replay, run_target
from fuzz.target import kind, module_of, names, summary


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    known = names()
    parser = argparse.ArgumentParser("python -m fuzz", description=__doc__)
    parser.add_argument("each", nargs="?", type=float, metavar="SECONDS", help="for each target; 10 by default")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="as --only")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this target; may be repeated")
    parser.add_argument("--seconds", type=float, help="for each target")
    parser.add_argument("--cases", type=int, help="so many inputs for each target, instead of seconds")
    parser.add_argument("--seed", type=int, help="where chance begins; printed, and another one each time by default")
    parser.add_argument("--jobs", type=int, default=1, help="targets at the same time; 1 by default")
    parser.add_argument("--guided", action="store_true", help="let coverage lead the search; needs atheris")
    parser.add_argument("--crashes", type=Path, default=CRASHES, metavar="FOLDER", help="where findings are kept")
    parser.add_argument("--list", action="store_true", help="say which targets there are")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="try a kept input again")
    parser.add_argument("--minimise", type=Path, metavar="FILE", help="cut a kept input down, to FILE.min")
    options = parser.parse_args(arguments)
    options.only += options.targets
    unknown = set(options.only) - set(known)
    if unknown:
        parser.error(f"there is no target {min(unknown)!r}; there are: {', '.join(known)}")
    if options.seconds is None:
        options.seconds = options.each
    if options.seconds is None and options.cases is None:
        options.seconds = 10.0
    for amount, unit in ((options.seconds, "seconds"), (options.cases, "cases"), (options.jobs, "jobs")):
        if amount is not None and not amount > 0:
            parser.error(f"the {unit} must be more than 0")
    if options.guided:
        if not installed():
            parser.error("--guided needs atheris: pip install '.[fuzz]'")
        able = [name for name in known if kind(module_of(name)).guided]
        if options.cases is not None or set(options.only) - set(able):
            parser.error(f"--guided takes seconds, and these targets: {', '.join(able)}")
        options.only = options.only or able
    for file in (options.replay, options.minimise):
        if file is not None and not file.is_file():
            parser.error(f"there is no file {file}")
        if file is not None and _target_of(file) not in known:
            parser.error(f"the name of {file} does not begin with a target's")
    return options


def _target_of(file: Path) -> str:
    return file.name.partition("-")[0]


def _all(options: argparse.Namespace) -> list[Outcome]:
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed

    def one(name: str) -> Outcome:
        outcome = run_target(
            name,
            seed=seed,
            seconds=options.seconds,
            cases=options.cases,
            crashes=options.crashes.resolve(),
            guided=options.guided,
        )
        lines = [str(outcome)]
        for finding in outcome.findings:
            place = os.path.relpath(finding.file)
            lines.append(f"  {finding.what}\n  kept; try it again: python -m fuzz --replay {place}")
        print("\n".join(lines), flush=True)
        return outcome

    if WASM_OPT is None:
        print("wasm-opt is not there (Debian: the package binaryen), so only our own generator makes modules")
    with ThreadPoolExecutor(options.jobs) as pool:
        return list(pool.map(one, options.only or names()))


def main(arguments: Sequence[str]) -> int:
    """Runs what the command line says.

    Returns:
        The exit code: 0, or 1 if something was found.
    """
    options = _arguments(arguments)
    if options.list:
        for name in names():
            print(f"{name:16} {summary(name)}")
        return 0
    if options.replay:
        what, report = replay(_target_of(options.replay), options.replay)
        print(report)
        print(what or "nothing is broken")
        return 1 if what else 0
    if options.minimise:
        data = minimise(_target_of(options.minimise), options.minimise)
        shorter = options.minimise.with_name(options.minimise.name + ".min")
        shorter.write_bytes(data)
        print(f"{len(data)} bytes are in {shorter}")
        return 0
    outcomes = _all(options)
    found = [outcome.name for outcome in outcomes if outcome.findings]
    if found:
        print(f"found something: {', '.join(found)}; see {os.path.relpath(options.crashes)}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
