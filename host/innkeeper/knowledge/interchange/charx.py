"""CHARX: a card and its assets in a ZIP archive, also behind a program or a picture that stands before it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any, Final

from innkeeper.knowledge.files.archive import Bounds, open_archive
from innkeeper.knowledge.interchange.reading import MOST_JSON, read_json
from innkeeper.knowledge.model.problems import KnowledgeError

CARD: Final = "card.json"

MOST_CHARX: Final = 256 << 20
"""Bytes of an archive, and of everything in it, unpacked."""

MOST_FILES: Final = 5000
"""Files of one archive."""

BOUNDS: Final = Bounds(size=MOST_CHARX, total=MOST_CHARX, member=MOST_CHARX, members=MOST_FILES)

_SCHEMES: Final = ("embeded://", "embedded://", "__asset:")
_DATE: Final = (1980, 1, 1, 0, 0, 0)


def read_charx(data: bytes, name: str) -> tuple[Any, dict[str, int]]:
    """The card of an archive as plain data, and the sizes of its other files by path, in bytes.

    Args:
        data: the archive; something else may stand before it.
        name: of the file, for messages.

    Raises:
        KnowledgeError: it is no such archive, or something of it is refused.
    """
    with open_archive(data, name, BOUNDS) as archive:
        sizes = dict(archive.sizes)
        if CARD not in sizes:
            found = ", ".join(repr(path[:60]) for path in list(sizes)[:8]) or "nothing"
            raise KnowledgeError(f"has no character card: no {CARD} at its top. It has {found}", source=name)
        raw = read_json(archive.read(CARD, most=MOST_JSON), f"{name}, {CARD}")
        del sizes[CARD]
        return raw, sizes


def has_card(data: bytes, name: str) -> bool:
    """Whether an archive has a card at its top (bool); False where it cannot be read at all."""
    try:
        with open_archive(data, name, BOUNDS) as archive:
            return CARD in archive.sizes
    except KnowledgeError:
        return False


def write_charx(card: bytes, assets: Mapping[str, bytes], name: str) -> bytes:
    """An archive with a card.

    Args:
        card: the card as JSON.
        assets: the other files by path.
        name: of the archive, for messages.

    Raises:
        KnowledgeError: it would be larger than this host reads.
    """
    if len(card) + sum(map(len, assets.values())) > MOST_CHARX:
        raise KnowledgeError(f"card and assets have more than {MOST_CHARX:,} bytes", source=name)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, data in ((CARD, card), *assets.items()):
            info = zipfile.ZipInfo(path, _DATE)
            # Pictures are compressed already, and a bound on how well a file was compressed is everybody's.
            info.compress_type = zipfile.ZIP_STORED
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return out.getvalue()


def read_assets(data: bytes, name: str) -> dict[str, bytes]:
    """The other files of an archive by path, unpacked.

    Raises:
        KnowledgeError: as `read_charx`.
    """
    with open_archive(data, name, BOUNDS) as archive:
        return {path: archive.read(path, most=MOST_CHARX) for path in archive.sizes if path != CARD}


def read_asset(data: bytes, path: str, name: str) -> bytes:
    """One of the other files of an archive, unpacked.

    Raises:
        KnowledgeError: as `read_charx`, or there is none.
    """
    with open_archive(data, name, BOUNDS) as archive:
        if path not in archive.sizes:
            raise KnowledgeError(f"has no file {path[:80]!r}", source=name)
        return archive.read(path, most=MOST_CHARX)


def asset_path(uri: str) -> str | None:
    """Which file of its archive an asset's address means, or None where it means something else.

    Args:
        uri: as the card has it: "embeded://path" (the spelling of the specification), "embedded://path" or
            "__asset:path".
    """
    for scheme in _SCHEMES:
        if uri.lower().startswith(scheme):
            return uri[len(scheme) :].removeprefix("/")
    return None
