"""The soak: ten minutes and two million calls, ending in every way in which a call can end, and nothing of them stays.

    python -m tests.measure soak [--calls N] [--seconds S] [--seed N] [--only WORDS]

One host with a home folder. 24 tasks draw cards from a shuffled deck, each the ending of a call (`soak_calls.ENDINGS`
says which, and how many of about 2,000). Beside them files of the home change, appear and go every half second, grants
change, processes that compile come and go, and plugins are loaded from bytes, called and closed (`soak_files`).

Every few seconds nothing is let begin until nothing runs, garbage is collected, and a line is printed of what the
system, C and Python have for the process. Memory counts as it is: nothing is given back to the system for the picture.
At the end:

- each call must have ended as its ending is to end, and each ending have come about hundreds of times;
- flat: resident memory has grown by less than 5 MB from the first third to the end, and so does the line through its
  samples; so have page tables, and what C and Rust have allocated, and there are no more mappings but for a few; Python
  has no type of which there are more objects than at two thirds, and no table of a module that has grown;
- after the host is closed, descriptors, threads, child processes, trio's tasks and tables of modules are what they were
  before it was opened, and its bounds are back to 0.

What stays by design: the pool keeps for each of its places the stack that a guest touched and what `sandbox.pool` says
of its memories. So before the first sample more guests at once than the soak ever has use all of that.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import trio

from . import soak_watch as watch
from .machine import Others
from .soak_calls import ENDINGS, OTHERS
from .soak_course import CALLS, SECONDS, SEED, Course, Plan, soak
from .table import show


def report(plan: Plan, course: Course) -> bool:
    """Prints what happened and the verdict. Returns whether all is as promised."""
    rows: list[list[str]] = []
    meant = [(one.name, one.wanted) for one in ENDINGS] + list(OTHERS)
    for name, wanted in meant:
        others = [
            f"{ended}: {count:,}" for (of, ended), count in course.happened.items() if of == name != wanted != ended
        ]
        rows.append([name, wanted, f"{course.happened[name, wanted]:,}", ", ".join(others)])
    show("Calls by ending", ["ending", "ends with", "times", "or with"], rows)
    show("Files", ["what the host said", "times"], [[kind, f"{n:,}"] for kind, n in sorted(course.changes.items())])
    rate = course.calls / course.seconds
    print(f"{course.calls:,} calls in {course.seconds:.0f} s ({rate:,.0f} a second), seed {plan.seed}")
    print(f"at most {course.most} guests at once; {course.compilers} processes that compiled were seen")
    print(
        f"From a third to the end: resident memory {course.difference / watch.MB:+.2f} MB, by the line through its "
        f"samples {course.slope / watch.MB:+.2f} MB (promise: below {watch.PROMISE / watch.MB:g})"
    )
    for fault in course.faults:
        print(f"NOT AS PROMISED: {fault}")
    print("as promised" if not course.faults else f"MISSED: {len(course.faults)}", flush=True)
    return not course.faults


def main(arguments: Sequence[str] | None = None) -> bool:
    """Runs the soak that the command line asks for. Returns whether all was as promised."""
    parser = argparse.ArgumentParser(prog="python -m tests.measure soak")
    parser.add_argument("--calls", type=int, default=CALLS, help="how many calls, at least")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long, at least")
    parser.add_argument("--seed", type=int, default=SEED, help="of the mixture")
    parser.add_argument("--only", default="", help="words of the endings that are wanted, separated by |")
    chosen = parser.parse_args(arguments)
    plan = Plan(chosen.calls, chosen.seconds, seed=chosen.seed, only=chosen.only, loud=True)
    others = Others()
    met = report(plan, trio.run(soak, plan))
    others.say()
    return met
