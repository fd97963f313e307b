"""What became of an import, as people and programs read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innkeeper.cli.output import counted, write_line

if TYPE_CHECKING:
    from innkeeper.cli.knowledge.import_sources import Found
    from innkeeper.cli.settings import Settings


def say_reports(settings: Settings, reports: list[dict[str, Any]]) -> None:
    """Says what became of each file, unless --json says it."""
    for report in [] if settings.json else reports:
        entries = f"{report['created']:,} new, {report['changed']:,} changed, {report['same']:,} as they were"
        entries += f", {report['deleted']:,} deleted" if report["deleted"] else ""
        more = f", {report['media']:,} media" if report["media"] else ""
        more += f", {report['vectors']:,} vectors" if report["vectors"] else ""
        write_line(f"{report['file']} ({report['kind']}) -> {report['base']}: {entries}{more}")
        if report["problems"]:
            write_line(f"{report['file']}: {counted(len(report['problems']), 'problem')}, said above")


def report_of(name: str, found: Found, base_id: str, counts: tuple[int, int, int, int], media: int) -> dict[str, Any]:
    """What became of what was found, as --json says it.

    Args:
        name: of the file.
        found: what was in it.
        base_id: of the base that has it now.
        counts: entries that were created, changed, the same and deleted.
        media: how many media came with it.
    """
    created, changed, same, deleted = counts
    return {
        "file": name,
        "kind": found.kind,
        "base": base_id,
        "created": created,
        "changed": changed,
        "same": same,
        "deleted": deleted,
        "media": media,
    }
