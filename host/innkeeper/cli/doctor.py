"""`innkeeper doctor`: versions, the engine's self-check, the home, the cache, and the bounds in force."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.output import json_bytes, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import Kind

if TYPE_CHECKING:
    from innkeeper.plugins.configuration import Configuration
    from innkeeper.plugins.home import Home

_PACKAGES = ("innkeeper", "wasmtime", "extism", "trio", "pydantic", "msgpack", "click", "rich", "platformdirs")


@click.command()
@click.option("--security", is_flag=True, help="Check the configuration against the threat model instead.")
@json_option
@pass_settings
def doctor(settings: Settings, security: bool) -> int:
    """Check this installation: versions, whether the engine works, the home, the cache, bounds and limits in force.

    Ends with 70 if the engine's self-check fails. --security looks at who else could read or change files, what
    plugins were given, settings that help an attacker, and the machine; it changes nothing, and ends with 1 if
    something is bad.
    """
    import trio

    from innkeeper.plugins.home import open_home

    home = open_home(settings.home)
    wrong = trio.run(_self_check, home, settings.home, restrict_keyboard_interrupt_to_checkpoints=True)
    if security:
        from innkeeper.cli.security.report import inspect_security, show_security

        found = trio.run(inspect_security, home, wrong, restrict_keyboard_interrupt_to_checkpoints=True)
        return show_security(found, as_json=settings.json)
    report = _report(home, wrong)
    if settings.json:
        write_out(json_bytes(report, indent=2))
    else:
        for line in _lines(report):
            write_line(line)
    return Kind.INTERNAL.exit_code if wrong else 0


async def _self_check(home: Home, chosen: str | None) -> list[str]:
    """What the self-check found wrong. Whatever it raises is a finding: an engine that does not even open, say."""
    try:
        from innkeeper.cli.selfcheck import check_engine
        from innkeeper.plugins.host import open_host
        from innkeeper.sandbox.engine import open_engine

        async with (
            # Without the cache, so that compiling is checked too.
            open_engine(home.configuration.bounds) as engine,
            # Chosen as the home was: by its path it would be one that somebody named, and so believed.
            open_host(chosen, engine=engine, catalogue=False) as host,
        ):
            return await check_engine(host)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def _report(home: Home, wrong: list[str]) -> dict[str, Any]:
    from innkeeper.plugins.listing import unused_decisions

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "self_check": {"ok": not wrong, "problems": wrong},
        "home": {
            "path": str(home.path),
            "origin": home.origin,
            "believed": home.believed,
            "problems": unused_decisions(home),
            "plugins": [str(place.plugins) for place in home.places if place.plugins.is_dir()],
        },
        "cache": _cache(home.configuration),
        "settings": _settings(home.configuration),
    }


def _cache(configuration: Configuration) -> dict[str, Any]:
    """Where compiled modules are kept, and why not."""
    from innkeeper.cli.cache import cache_of

    cache, origin = cache_of(configuration)
    if cache is None:
        return {"folder": None, "origin": origin, "problem": None, "size": 0}
    try:
        size = sum(item.size for item in cache.kept())
        return {"folder": str(cache.folder), "origin": origin, "problem": cache.problem, "size": size}
    finally:
        cache.close()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _settings(configuration: Configuration) -> list[dict[str, Any]]:
    """Every bound and limit in force, with where it comes from."""
    from innkeeper.sandbox.compilation.settings import STACK

    sections = (
        ("bounds", asdict(configuration.bounds)),
        ("limits", {**asdict(configuration.ceiling), "stack": STACK}),
        ("defaults", asdict(configuration.defaults)),
    )
    return [
        {
            "section": section,
            "name": name,
            "value": value,
            "from": configuration.origins.get(f"{section}.{name}") or origin_of(section, name),
        }
        for section, values in sections
        for name, value in values.items()
    ]


def origin_of(section: str, name: str) -> str:
    """Where the value of a bound or a limit comes from that nobody chose (str)."""
    measured = {"live_guests": "vm.max_map_count", "guest_memory": "half of the memory", "workers": "cores"}
    if section == "bounds":
        return measured.get(name, "built in")
    # The engine has one size of stack for all of its guests.
    return "fixed" if name == "stack" else "built in"


def _lines(report: dict[str, Any]) -> list[str]:
    from innkeeper.plugins.quantities import BOUNDS, LIMITS
    from innkeeper.plugins.quantities import units as units_of

    packages = ", ".join(f"{name} {found or 'missing'}" for name, found in report["packages"].items())
    lines = [
        f"Python      {report['python']} ({sys.implementation.name}) on {report['platform']}",
        f"packages    {packages}",
        f"self-check  {'ok' if report['self_check']['ok'] else 'FAILED'}",
        *(f"  {problem}" for problem in report["self_check"]["problems"]),
        f"home        {report['home']['path']} ({report['home']['origin']})",
        *(f"  {problem}" for problem in report["home"]["problems"]),
        *(f"  plugins in {folder}" for folder in report["home"]["plugins"]),
        *_cache_lines(report["cache"]),
    ]
    titles = {
        "bounds": "bounds: what all guests share",
        "limits": "limits: the most of one call",
        "defaults": "defaults: of a call without a grant",
    }
    units = {**BOUNDS, **LIMITS, "stack": "size"}
    section = None
    for item in report["settings"]:
        if item["section"] != section:
            section = item["section"]
            lines.append(titles[section])
        lines.append(f"  {item['name']:<18}{units_of()[units[item['name']]].show(item['value']):>12}  {item['from']}")
    return lines


def _cache_lines(cache: dict[str, Any]) -> list[str]:
    from innkeeper.plugins.units import show_size

    if cache["folder"] is None:
        return [f"cache       off ({cache['origin']})"]
    used = f"  {cache['problem']}" if cache["problem"] else f"  {show_size(cache['size'])} in use"
    return [f"cache       {cache['folder']} ({cache['origin']})", used]
