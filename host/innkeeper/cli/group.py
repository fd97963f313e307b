"""Finds a subcommand, runs it, and turns how it ended into an exit code and one line."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import click

from innkeeper.cli.lazy import LazyGroup
from innkeeper.cli.output import (
    error_object,
    forget_stdout,
    innkeeper_error,
    json_bytes,
    lines_of,
    log_object,
    usage_object,
    usage_of,
    write_error,
    write_log,
    write_out,
)
from innkeeper.cli.settings import Settings, key_values
from innkeeper.errors import CancelledError, InnkeeperError, Kind, UsageError

BROKEN_PIPE = 128 + 13
"""Exit code of a command whose reader went away: what a shell reports of one that SIGPIPE ended."""

_COMPLETE = "_INNKEEPER_COMPLETE"
"""The variable through which shells ask click for completions."""

_COMMANDS = {
    "run": "Run a workflow.",
    "serve": "Serve HTTP and WebSocket for editors and chat front ends.",
    "user": "List and invite users, change passwords and roles.",
    "key": "List, make and revoke API keys, rotate the master key.",
    "work": "Execute the queue and fire schedules, in the foreground.",
    "runs": "List, show, cancel or retry runs of the queue.",
    "watch": "Show a run of the queue as it goes on.",
    "schedule": "Run workflows at a time, or again and again.",
    "graph": "Draw a workflow as SVG.",
    "call": "Call one function of a plugin.",
    "inspect": "Show what a .wasm file is, wants and offers.",
    "project": "Make, list or show projects.",
    "kb": "Make, search, explain and exchange knowledge bases.",
    "card": "Show, import and export character cards.",
    "preset": "Make a workflow of a preset of SillyTavern.",
    "plugins": "List the plugins of the home, or resume one that is paused.",
    "grant": "Show what a plugin asks for, and give it.",
    "grants": "List the grants of the home.",
    "revoke": "Take a plugin's capabilities away.",
    "trust": "Let a native plugin run, with all rights of the host.",
    "distrust": "Take a native plugin's trust away.",
    "audit": "Show what was granted, refused, paused and loaded natively.",
    "owner": "Show how much is kept of an owner, or erase it.",
    "journals": "List, show, export or delete the calls that were kept.",
    "replay": "Run a call again that was kept, and compare.",
    "memo": "Count or erase the results of calls that are remembered.",
    "cache": "List or prune the compiled modules that are kept.",
    "backup": "Write what the home keeps into one file.",
    "restore": "Make a home of a backup.",
    "bench": "Measure speed beside Extism and wasmtime-py.",
    "home": "Show the home, or accept the working directory as one.",
    "config": "Show the host's settings and where each comes from.",
    "doctor": "Check this installation.",
}

_MODULES = {"revoke": "grant", "distrust": "trust"}
"""Where a command lies that has no module of its own name."""


def _show_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"innkeeper {version('innkeeper')}")
        context.exit(0)


@click.command(cls=LazyGroup, room="innkeeper.cli", lines=_COMMANDS, modules=_MODULES)
@click.option("--home", metavar="FOLDER", help="Folder with plugins/, manifests/ and innkeeper.toml.")
@click.option(
    "--set",
    "options",
    metavar="KEY=VALUE",
    multiple=True,
    help="A setting, over the file and variables; may be repeated.",
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show the version."
)
@click.pass_context
def innkeeper(context: click.Context, home: str | None, options: tuple[str, ...]) -> None:
    """Innkeeper runs WebAssembly plugins with limits.

    Exit codes: 0 success, 1 the guest failed, 2 usage, 3 the file was rejected, 4 a limit was reached, 5 a capability
    was denied, 6 cancelled, 7 the host was busy, 70 a defect of Innkeeper.
    """
    context.ensure_object(Settings).home = home
    if options:
        from innkeeper.plugins.home import OPTIONS

        token = OPTIONS.set(key_values("--set", options))
        context.call_on_close(lambda: OPTIONS.reset(token))


def run_command(arguments: Sequence[str]) -> int:
    """Runs a command; says how it ended; returns the exit code. Raises nothing for what a user or a guest did."""
    settings = Settings()
    try:
        if _COMPLETE in os.environ:
            from click.shell_completion import shell_complete

            return shell_complete(innkeeper, {}, "innkeeper", _COMPLETE, os.environ[_COMPLETE])
        # Not click's own `main`: it writes of Ctrl-C and of broken pipes by itself.
        with innkeeper.make_context("innkeeper", list(arguments), obj=settings) as context:
            result = innkeeper.invoke(context)
        # A command returns an exit code where it has one other than 0.
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except BrokenPipeError:
        forget_stdout()
        return BROKEN_PIPE
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return Kind.USAGE.exit_code
    except click.ClickException as error:
        settings.json = settings.json or "--json" in arguments
        return _report(UsageError(_advice(error)), settings)
    except click.Abort:
        return _report(innkeeper_error(KeyboardInterrupt()), settings)
    except BaseException as error:
        if isinstance(error, SystemExit | GeneratorExit):
            raise
        if isinstance(error, BaseExceptionGroup) and error.subgroup(BrokenPipeError) is not None:
            forget_stdout()
            return BROKEN_PIPE
        found = innkeeper_error(error)
        # A second Ctrl-C while the first is reported would end in a traceback.
        with _deaf() if isinstance(found, CancelledError) else nullcontext():
            if os.environ.get("INNKEEPER_TRACEBACK") == "1":
                import traceback

                traceback.print_exception(error)
            return _report(found, settings)


@contextmanager
def _deaf() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def _report(error: InnkeeperError, settings: Settings) -> int:
    if settings.json:
        try:
            write_out(json_bytes(_report_object(error)))
        except (OSError, InnkeeperError):
            forget_stdout()
    else:
        usage = usage_of(error)
        if usage is not None:
            write_log(usage.log, usage.log_dropped)
        for line in lines_of(error):
            write_error(f"innkeeper: {line}")
    return error.kind.exit_code


def _report_object(error: InnkeeperError) -> dict[str, Any]:
    usage = usage_of(error)
    cost = {} if usage is None else {"usage": usage_object(usage), "log": log_object(usage)}
    return {"error": error_object(error), **cost}


def _advice(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "innkeeper"
    return f"{message.rstrip('.')} (see {where} --help)"
