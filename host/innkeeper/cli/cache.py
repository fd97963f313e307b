"""`innkeeper cache`: the compiled modules that are kept, and making room."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.output import counted, json_bytes, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import UsageError
from innkeeper.sandbox.limits import parse_duration, parse_size

if TYPE_CHECKING:
    from innkeeper.plugins.configuration import Configuration
    from innkeeper.sandbox.compilation.cache import Cache, Kept

_DAY = 86_400.0


@click.command()
@click.argument("action", type=click.Choice(["list", "prune"]), default="list")
@click.option("--all", "everything", is_flag=True, help="prune: remove every entry.")
@click.option("--older-than", metavar="TIME", help="prune: remove what was not used for so long, such as 30d or 12h.")
@click.option("--to", metavar="SIZE", help="prune: remove what was used longest ago until so much is left: 200MB.")
@json_option
@pass_settings
def cache(settings: Settings, action: str, everything: bool, older_than: str | None, to: str | None) -> None:
    """List the compiled modules that are kept on disk, or prune them.

    Without an option, prune removes what this version would not load, and what is above the cache's bound.
    """
    chosen = [name for name, given in (("--all", everything), ("--older-than", older_than), ("--to", to)) if given]
    if chosen and action == "list":
        raise UsageError(f"{chosen[0]}: write innkeeper cache prune {chosen[0]}")
    if everything and len(chosen) > 1:
        raise UsageError(f"give --all or {chosen[1]}, not both")
    age = None if older_than is None else _age(older_than)
    size = None if to is None else _size(to)
    place = _open(settings.home)
    try:
        if action == "list":
            _list(place, settings.json)
        else:
            _prune(place, everything, age, size, settings.json)
    finally:
        if place.cache is not None:
            place.cache.close()


@dataclass(frozen=True)
class _Place:
    """The cache, who chose its folder, and the fingerprint of what would be loaded."""

    cache: Cache | None
    origin: str
    fingerprint: str


def _open(home: str | None) -> _Place:
    from innkeeper.plugins.home import open_home
    from innkeeper.sandbox.compilation.settings import fingerprint, new_engine

    cache, origin = cache_of(open_home(home).configuration)
    return _Place(cache, origin, fingerprint(new_engine()))


def cache_of(configuration: Configuration) -> tuple[Cache | None, str]:
    """The cache of a host with this configuration, or None where there is none, and who chose its folder (str). The
    caller closes it.

    Raises:
        UsageError: INNKEEPER_CACHE is no absolute path.
    """
    from innkeeper.sandbox.compilation.cache import Cache
    from innkeeper.sandbox.compilation.place import FILE, cache_folder

    folder, origin = cache_folder(configuration.cache, configuration.origins.get("cache", FILE))
    return (None if folder is None else Cache(folder, configuration.bounds.cache_size)), origin


def _list(place: _Place, as_json: bool) -> None:
    now = time.time()
    kept = [] if place.cache is None else place.cache.kept()
    total = sum(item.size for item in kept)
    if as_json:
        write_out(json_bytes(_report(place, kept, total), indent=2))
        return
    if place.cache is None:
        write_line(f"the cache is off ({place.origin})")
        return
    if place.cache.problem is not None:
        write_line(place.cache.problem)
        return
    if kept:
        write_table(
            ("plugin", "sha256", "wasm", "size", "compiled", "last use", "state"),
            [
                (
                    (item.label.plugin or "-") if item.label else "-",
                    item.label.digest[:8] if item.label else "-",
                    _bytes(item.label.size) if item.label else "-",
                    _bytes(item.size),
                    _ago(now - item.label.made) if item.label else "-",
                    _ago(now - item.used),
                    _state(item, place.fingerprint),
                )
                for item in kept
            ],
        )
    most = _bytes(place.cache.max_bytes)
    write_line(f"{counted(len(kept), 'module')}, {_bytes(total)} of {most} in {place.cache.folder} ({place.origin})")


def _report(place: _Place, kept: list[Kept], total: int) -> dict[str, Any]:
    cache = place.cache
    return {
        "folder": None if cache is None else str(cache.folder),
        "origin": place.origin,
        "problem": None if cache is None else cache.problem,
        "size": total,
        "max_size": None if cache is None else cache.max_bytes,
        "entries": [
            {
                "file": item.name,
                "plugin": item.label.plugin or None if item.label else None,
                "sha256": item.label.digest if item.label else None,
                "wasm_size": item.label.size if item.label else None,
                "size": item.size,
                "made": item.label.made if item.label else None,
                "used": round(item.used),
                "state": _state(item, place.fingerprint),
            }
            for item in kept
        ],
    }


def _prune(place: _Place, everything: bool, age: float | None, size: int | None, as_json: bool) -> None:
    cache = place.cache
    count = freed = 0
    if cache is not None:
        fingerprint = place.fingerprint
        if everything:
            count, freed = cache.prune(drop=lambda item: True)
        elif age is not None or size is not None:
            count, freed = cache.prune(to=size, older_than=age)
        else:
            count, freed = cache.prune(to=cache.max_bytes, drop=lambda item: _state(item, fingerprint) != _CURRENT)
        if cache.problem is not None:
            raise UsageError(cache.problem)
    if as_json:
        write_out(json_bytes({"removed": count, "bytes": freed}, indent=2))
    else:
        write_line(f"removed {counted(count, 'file')}, {_bytes(freed)}")


_CURRENT = "current"


def _state(item: Kept, fingerprint: str) -> str:
    if item.label is None:
        return f"not used: {item.problem}"
    return _CURRENT if item.label.fingerprint == fingerprint else "of another version or machine"


def _age(text: str) -> float:
    text = text.strip().lower()
    try:
        return parse_duration(text.removesuffix("d") + "h") * 24 if text.endswith("d") else parse_duration(text)
    except UsageError:
        raise UsageError(f"--older-than: {text[:60]!r} is not a duration; write it like 30d, 12h or 10min") from None


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except UsageError as error:
        raise UsageError(f"--to: {error.message}") from None


def _bytes(size: float) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} B"


def _ago(seconds: float) -> str:
    for unit, factor in (("d", _DAY), ("h", 3600.0), ("min", 60.0)):
        if seconds >= factor:
            return f"{seconds / factor:.0f} {unit} ago"
    return "just now"
