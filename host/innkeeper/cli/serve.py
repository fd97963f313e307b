"""`innkeeper serve`: the host with its HTTP server in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from innkeeper.cli.host_process import Said, drain_seconds, taken, until_told
from innkeeper.cli.settings import Settings, json_option, pass_settings, say_unused
from innkeeper.errors import Kind, UsageError

if TYPE_CHECKING:
    import socket


@click.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on, in place of [server] host.")
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port, in place of [server] port; 0: any free one.")
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="FOLDER", help="The home folder, made where it is missing."
)
@click.option("--drain", metavar="TIME", help="At the end, wait so long for what runs, in place of [server] drain.")
@json_option
@pass_settings
def serve(settings: Settings, host: str | None, port: int | None, data: Path | None, drain: str | None) -> int:
    """Serve HTTP and WebSocket for editors and chat front ends, and execute the queue, until Ctrl-C or SIGTERM.

    Contains `innkeeper work`. Without configuration it listens on http://127.0.0.1:3233, for this machine alone.

    \b
    innkeeper serve
    innkeeper serve --data ./home --port 8080
    """
    import trio

    from innkeeper.composition.databases import database_server
    from innkeeper.plugins.home import open_home

    if data is not None:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.home = str(data)
    home = open_home(settings.home)
    if home.doubt:
        raise UsageError(f"{home.path}: nothing is executed: {home.doubt}")
    server = home.configuration.server
    seconds = drain_seconds(drain, server.drain)
    lock = taken(home, shared=database_server(home))
    try:
        from innkeeper.server.telemetry.logs import logging_to

        sockets = _listening(host if host is not None else server.host, port if port is not None else server.port)
        with logging_to(None, server.log_format, server.log_level):
            return trio.run(_serve, settings, sockets, seconds, restrict_keyboard_interrupt_to_checkpoints=True)
    finally:
        lock.release()


def _listening(host: str, port: int) -> list[socket.socket]:
    from innkeeper.server.serving import listening

    try:
        return listening(host, port)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}; choose another with --host or --port"
        ) from None


async def _serve(settings: Settings, sockets: list[socket.socket], drain: float) -> int:
    import trio

    from innkeeper.composition.interpreter import settle_interpreter
    from innkeeper.composition.serving import open_parts
    from innkeeper.server.accounts.modes import addresses_of, check_listening
    from innkeeper.server.accounts.signing_in import setup_token
    from innkeeper.server.app import make_app
    from innkeeper.server.serving import serve_app, url_of

    said = Said(settings.json, logs=True)
    async with open_parts(settings.home, on_change=said.change) as parts, trio.open_nursery() as serving:
        accounts = parts.accounts
        check_listening(accounts.mode, addresses_of(sockets), password=not accounts.open)
        await say_unused(parts.home)
        parts.scheduler.told = said.step
        settle_interpreter()
        stop = trio.Event()
        url = url_of(sockets[0])
        serving.start_soon(serve_app, make_app(parts), sockets, stop)
        token = await setup_token(accounts)
        if token is not None:
            said.setup(token, url, accounts.several)
        said.ready(f"serving {url} from {parts.home.path}", url=url, home=str(parts.home.path))
        await until_told(parts.scheduler, drain, said, parts.stopping.set)
        stop.set()
    return Kind.CANCELLED.exit_code if said.interrupted else 0
