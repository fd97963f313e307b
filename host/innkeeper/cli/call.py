"""`innkeeper call`: one function of one plugin, without a workflow."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.files import read_up_to
from innkeeper.cli.output import json_bytes, log_object, usage_object, write_log, write_out
from innkeeper.cli.settings import (
    Settings,
    is_plugin_id,
    journal_option,
    json_option,
    key_values,
    pass_settings,
    plugin_of_home,
    say_unused,
    utf8,
)
from innkeeper.errors import LimitError, UsageError
from innkeeper.sandbox.limits import Limits, parse_duration, parse_size
from innkeeper.sandbox.usage import Result

if TYPE_CHECKING:
    from innkeeper.plugins.settings import Keep
    from innkeeper.sandbox.interface import Engine


@dataclass(frozen=True)
class _Request:
    home: str | None
    file: str
    by_id: bool
    function: str
    text: str | None
    input_file: str | None
    limits: dict[str, Any]
    config: dict[str, str]
    engine: str
    journal: Keep | None
    memo: bool


@click.command()
@click.argument("file")
@click.argument("function")
@click.option("--input", "text", metavar="TEXT", help="Input of the function.")
@click.option("--input-file", metavar="PATH", help="File with the input; - is standard input.")
@click.option("--memory", metavar="SIZE", help="Memory that the guest may use, such as 64MiB.")
@click.option("--cpu", metavar="TIME", help="Processor time that it may use, such as 1s.")
@click.option("--wall", metavar="TIME", help="Time that the call may take, such as 30s.")
@click.option("--config", "pairs", metavar="KEY=VALUE", multiple=True, help="What the guest reads as configuration.")
@click.option(
    "--engine",
    type=click.Choice(["fibers", "extism"]),
    default="fibers",
    show_default=True,
    help="What runs the guest; extism is the extism package in a process of its own, to compare with.",
)
@click.option("--memo", is_flag=True, help="Give what an equal call gave before, if the plugin has no capability.")
@journal_option
@json_option
@pass_settings
def call(
    settings: Settings,
    file: str,
    function: str,
    text: str | None,
    input_file: str | None,
    memory: str | None,
    cpu: str | None,
    wall: str | None,
    pairs: tuple[str, ...],
    engine: str,
    memo: bool,
    journal: Keep | None,
) -> None:
    """Call FUNCTION of FILE, a .wasm file in any folder or the id of a plugin in the home.

    The guest's output goes to standard output as it is, its log to standard error.
    """
    import trio

    from innkeeper.cli.progress import compiling_shown

    if text is not None and input_file is not None:
        raise UsageError("give --input or --input-file, not both")
    limits: dict[str, Any] = {}
    for name, value, parse in (
        ("memory", memory, parse_size),
        ("cpu", cpu, parse_duration),
        ("wall", wall, parse_duration),
    ):
        if value is not None:
            limits[name] = _option(f"--{name}", value, parse)
    config = key_values("--config", pairs)
    if engine == "extism":
        if journal not in (None, "never"):
            raise UsageError("--journal: the engine 'extism' cannot record calls; leave --engine out")
        journal = "never"
        if memo:
            raise UsageError("--memo: nothing is known of what the engine 'extism' answers; leave --engine out")
    by_id = is_plugin_id(file)
    request = _Request(settings.home, file, by_id, function, text, input_file, limits, config, engine, journal, memo)
    with compiling_shown():
        result = trio.run(_call, request, restrict_keyboard_interrupt_to_checkpoints=True)
    _show(result, settings.json)


async def _call(request: _Request) -> Result:
    from innkeeper.composition import open_host

    async with AsyncExitStack() as stack:
        engine = await _oracle(request, stack) if request.engine == "extism" else None
        host = await stack.enter_async_context(
            open_host(
                request.home,
                engine=engine,
                catalogue=request.by_id,
                watch=False,
                schedules=False,
                journal=request.journal,
            )
        )
        await say_unused(host.home)
        plugin = plugin_of_home(host, request.file) if request.by_id else await host.load(request.file)
        limits = replace(plugin.limits, **request.limits)
        try:
            data = _input(request, limits)
        except LimitError as error:
            error.plugin = plugin.id
            raise
        return await plugin.call(request.function, data, limits=limits, config=request.config, memo=request.memo)


async def _oracle(request: _Request, stack: AsyncExitStack) -> Engine:
    import trio

    from innkeeper.plugins.home import open_home
    from innkeeper.sandbox.oracle.engine import open_oracle

    home = await trio.to_thread.run_sync(open_home, request.home)
    return await stack.enter_async_context(open_oracle(home.configuration.bounds))


def _option(option: str, value: str, parse: Callable[[str], float]) -> float:
    try:
        return parse(value)
    except UsageError as error:
        raise UsageError(f"{option}: {error.message}") from None


def _input(request: _Request, limits: Limits) -> bytes:
    """The input of the function.

    Raises:
        UsageError: the text is not UTF-8, or its file cannot be read.
        LimitError: its file is larger than an input may be. It is not read any further, so the engine could not say
            how large it is.
    """
    if request.text is not None:
        return utf8("--input", request.text, "; --input-file takes any bytes")
    if request.input_file is None:
        return b""
    data, size = read_up_to("--input-file", request.input_file, limits.input)
    if len(data) > limits.input:
        amount = f"{size}" if size is not None else f"more than {limits.input}"
        raise LimitError(
            f"the input has {amount} bytes; the limit 'input' is {limits.input}",
            limit="input",
            value=limits.input,
            used=size,
            function=request.function,
        )
    return data


def _show(result: Result, as_json: bool) -> None:
    if not as_json:
        write_log(result.usage.log, result.usage.log_dropped)
        write_out(result.output)
        return
    try:
        text: str | None = result.output.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    write_out(
        json_bytes(
            {
                "output": text,
                "output_base64": b64encode(result.output).decode(),
                "usage": usage_object(result.usage),
                "log": log_object(result.usage),
            }
        )
    )
