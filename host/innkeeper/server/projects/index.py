"""What is known of the files of workflows, so that finding one by its id reads only those that changed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from innkeeper.workflow.formats.parts import is_stored

MOST_KNOWN: Final = 20_000
"""Files that are known, of all users: some kilobytes each at most."""

_MOST_TEXT = 2000
_MOST_REFERENCES = 256


@dataclass(frozen=True, slots=True)
class Summary:
    """What lists say of a workflow.

    Attributes:
        id: that of the document, else the name of its file without its end.
        name, description: for people.
        updated_at: as it stands in the document.
        creation_method: as it stands in the document.
        referenced: ids of other workflows, as they stand in the document.
    """

    id: str
    name: str
    description: str | None = None
    updated_at: str | None = None
    creation_method: str | None = None
    referenced: tuple[str, ...] | None = None


class Index:
    """Summaries by file and stamp. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: OrderedDict[tuple[bytes, str], tuple[str, Summary | None]] = OrderedDict()

    def get(self, key: tuple[bytes, str], stamp: str) -> tuple[Summary | None] | None:
        """What is known of a file (a tuple of one: None in it for what is no workflow), or None.

        Args:
            key: the tree's folder and the path of the file.
            stamp: of the file.
        """
        with self._lock:
            found = self._known.get(key)
            if found is None or found[0] != stamp:
                return None
            self._known.move_to_end(key)
            return (found[1],)

    def put(self, key: tuple[bytes, str], stamp: str, summary: Summary | None) -> None:
        """Keeps what was found out."""
        with self._lock:
            self._known[key] = stamp, summary
            self._known.move_to_end(key)
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)


def summary_of(value: Any, stem: str) -> Summary | None:
    """What lists say of a document, or None: it is no workflow.

    Args:
        value: of the file.
        stem: the name of the file without its end.
    """
    if not isinstance(value, dict) or not isinstance(value.get("nodes"), list):
        return None
    id_ = value.get("id" if is_stored(value) or "workflowId" not in value else "workflowId")
    referenced = value.get("referencedWorkflows")
    return Summary(
        _text(id_) or stem,
        _text(value.get("name")) or stem,
        _text(value.get("description")),
        _text(value.get("updatedAt")),
        _text(value.get("creationMethod")),
        tuple(each for each in referenced[:_MOST_REFERENCES] if isinstance(each, str) and len(each) <= 256)
        if isinstance(referenced, list)
        else None,
    )


def _text(value: Any) -> str | None:
    return value[:_MOST_TEXT] if isinstance(value, str) else None
