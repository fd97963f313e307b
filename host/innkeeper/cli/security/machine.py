"""What the settings say, and what the machine gives: policies, journals, endpoints; user, crashes, kernel, memory."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from pathlib import Path

from innkeeper.cli.security.finding import Finding, fine, or_fine
from innkeeper.plugins.configuration import Configuration
from innkeeper.plugins.configuration_sources import strange_variables
from innkeeper.plugins.units import show_size
from innkeeper.plugins.urls import leaves_in_clear
from innkeeper.sandbox.bounds import MAPPINGS_TAKEN, Bounds, memory_of_machine, most_mappings

_AUDIT_DAYS = 7.0
"""Days of the audit log that somebody who looks once a week needs."""

_CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")


def check_settings(configuration: Configuration, environment: Mapping[str, str]) -> list[Finding]:
    """What of the configuration helps an attacker (list of Finding)."""
    return [*_policy(configuration), *_journal(configuration), *_llm(configuration), *_variables(environment)]


def check_machine(bounds: Bounds, engine: list[str]) -> list[Finding]:
    """What of the process and the machine helps an attacker (list of Finding).

    Args:
        bounds: what all guests may use together.
        engine: what the engine's self-check found wrong.
    """
    return [*_engine(engine), *_user(), *_core(), *_mappings(bounds), *_memory(bounds)]


def _policy(configuration: Configuration) -> list[Finding]:
    policy, found = configuration.policy, list[Finding]()
    if policy.new_bytes != "ask":
        said = "policy.new_bytes = same: other bytes of a plugin take its grant over if they ask for no more"
        found.append(
            Finding("policy", "warn", said, "policy.new_bytes = ask, unless you trust whoever updates plugins")
        )
    if not policy.failures:
        said = "policy.failures = 0: a plugin that fails again and again is never paused"
        found.append(Finding("policy", "warn", said, "policy.failures = 60"))
    if configuration.retention.audit_days < _AUDIT_DAYS:
        days = configuration.retention.audit_days
        said = f"retention.audit_days = {days:g}: what was granted and refused is forgotten before anybody looks"
        found.append(Finding("policy", "warn", said, "retention.audit_days = 90"))
    return or_fine("policy", found)


def _journal(configuration: Configuration) -> list[Finding]:
    journal = configuration.journal
    if journal.keep != "all":
        return [fine("journal", f"journal.keep = {journal.keep}")]
    said = f"journal.keep = all: inputs and answers of every call lie in state/ for {journal.days:g} days, unencrypted"
    return [Finding("journal", "warn", said, "journal.keep = errors, or fewer journal.days")]


def _llm(configuration: Configuration) -> list[Finding]:
    found = [
        Finding(
            "llm",
            "bad" if endpoint.secret else "warn",
            f"llm.endpoints.{name} is reached over http: {'its key and ' if endpoint.secret else ''}all texts travel "
            "in the clear",
            "use https, or an endpoint on this machine",
        )
        for name, endpoint in configuration.llm.endpoints.items()
        if leaves_in_clear(endpoint.url)
    ]
    return or_fine("llm", found, "" if configuration.llm.endpoints else "no endpoint of a language model is configured")


def _variables(environment: Mapping[str, str]) -> list[Finding]:
    found = [
        Finding("variables", "warn", text, "correct it: what you meant is not in force")
        for text in strange_variables(environment)
    ]
    if environment.get("INNKEEPER_TRACEBACK") == "1":
        said = "INNKEEPER_TRACEBACK=1: errors show Python's own traces, with paths and what they carry"
        found.append(Finding("variables", "warn", said, "unset it where others read the output"))
    return or_fine("variables", found)


def _engine(wrong: list[str]) -> list[Finding]:
    advice = "install the wasmtime that Innkeeper asks for, or a newer one; run nothing until then"
    return or_fine("engine", [Finding("engine", "bad", text, advice) for text in wrong])


def _user() -> list[Finding]:
    if os.geteuid() != 0:
        return [fine("user")]
    said = "the host runs as root: a fault of the engine, or a native plugin, has the whole machine"
    return [Finding("user", "warn", said, "run it as a user of its own")]


def _core() -> list[Finding]:
    if resource.getrlimit(resource.RLIMIT_CORE)[0] != 0:
        said = "a crash of the host writes its memory, with secrets in it, into a core file"
        return [Finding("core", "warn", said, "ulimit -c 0, or LimitCORE=0 in its service")]
    try:
        piped = _CORE_PATTERN.read_text().startswith("|")
    except OSError:
        piped = False
    if piped:
        said = "the system hands the memory of a process that crashes to a program (kernel.core_pattern)"
        return [Finding("core", "info", said, "look at what that program keeps, and for whom")]
    return [fine("core")]


def _mappings(bounds: Bounds) -> list[Finding]:
    needed, most = bounds.live_guests * MAPPINGS_TAKEN, most_mappings()
    if needed > most:
        said = (
            f"{bounds.live_guests:,} live guests take up to {needed:,} mappings; the kernel ends a process at {most:,}"
        )
        advice = f"raise vm.max_map_count, or set bounds.live_guests to {most // 10:,}"
        return [Finding("mappings", "bad", said, advice)]
    return [fine("mappings", f"the kernel allows {most:,} mappings, for {bounds.live_guests:,} live guests")]


def _memory(bounds: Bounds) -> list[Finding]:
    there = memory_of_machine()
    compiling = bounds.compile_jobs * bounds.compile_memory
    together = bounds.guest_memory + bounds.bytes_in_flight + compiling
    if bounds.guest_memory + bounds.bytes_in_flight > there:
        said = f"guests may use {show_size(bounds.guest_memory + bounds.bytes_in_flight)} of {show_size(there)}"
        return [Finding("memory", "bad", said, "lower bounds.guest_memory: the system ends whom it likes otherwise")]
    if together > there:
        said = f"guests and compiling may use {show_size(together)} of {show_size(there)} together"
        return [Finding("memory", "warn", said, "lower bounds.guest_memory, compile_jobs or compile_memory")]
    return [fine("memory", f"guests and compiling may use {show_size(together)} of {show_size(there)} at most")]
