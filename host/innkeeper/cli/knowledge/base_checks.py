"""What is the matter with a base as a whole: its model and vectors, its file, what the store has of it, entries that no
plugin could write, and names that mean two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from innkeeper.knowledge.joined.opening import Knowledge
    from innkeeper.knowledge.model.base import Base
    from innkeeper.storage.knowledge_model import Place

_MOST_NAMED: Final = 5
"""Ids that one remark names."""

_MOST_REMARKS: Final = 1000


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about a base.

    Attributes:
        about: "model", "file", "store", "names" or "plugins".
        message: what is the matter and what to do, as a sentence.
        wrong: whether it is a mistake; else it is good to know.
    """

    about: str
    message: str
    wrong: bool = True


def remarks_of_entries(base: Base) -> list[Remark]:
    """What can be said of a base by its entries alone. Computes, for a thread."""
    return [*_twice(base), *_beyond_guests(base)][:_MOST_REMARKS]


async def remarks_of_kept(knowledge: Knowledge, place: Place, base: Base) -> list[Remark]:
    """What can be said of a base of the home; reads all that the store has of it.

    Args:
        knowledge: of the home.
        place: of the base.
        base: its entries.

    Raises:
        NoSuchError: there is no such base.
    """
    found = [Remark("file", note) for note in knowledge.bases.library.notes(place)]
    found += await _of_model(knowledge, place, base)
    report = await knowledge.bases.library.verify(place)
    found += [Remark("store", problem) for problem in report.problems]
    return found


async def _of_model(knowledge: Knowledge, place: Place, base: Base) -> list[Remark]:
    # What can be made at once is made: the rest is what somebody should know.
    search = await knowledge.bases.search(place)
    live = await knowledge.bases.base(place)
    wanting = sum(item.entry.activation_criteria.use_semantic_search for item in base.items)
    embed = f"`innkeeper kb embed {place.base}`"
    model = live.state.model
    if not model:
        if not wanting:
            return []
        text = f"the base names no model, and {_counted(wanting)} to be found by meaning: {embed}"
        return [Remark("model", text)]
    embedder, trouble = await knowledge.bases.embedder(place)
    if embedder is None:
        return [Remark("model", f"searches and activates by words alone: {trouble}")]
    missing = len(live) - search.retriever.embedded
    if missing <= 0:
        return []
    # A search makes those of the model in the package; what is left then has no meaning that it knows.
    offline = any(each.kind == "offline" and model.startswith(each.id) for each in knowledge.models.all)
    if offline and missing < len(live):
        text = f"{missing:,} of {len(live):,} entries have no vector: the model finds no meaning in what they say"
        return [Remark("model", text, wrong=False)]
    text = f"{missing:,} of {len(live):,} entries have no vector of {model}: {embed}"
    return [Remark("model", text, wrong=bool(wanting))]


def _counted(number: int) -> str:
    return "1 entry wants" if number == 1 else f"{number:,} entries want"


def _twice(base: Base) -> Iterator[Remark]:
    names: dict[str, list[str]] = {}
    for item in base.items:
        if item.entry.displayName and item.entry.management_metadata.is_enabled:
            names.setdefault(item.entry.displayName, []).append(item.entry.id)
    for name, ids in names.items():
        if len(ids) > 1:
            shown = ", ".join(ids[:_MOST_NAMED]) + (f" and {len(ids) - _MOST_NAMED:,} more" * (len(ids) > _MOST_NAMED))
            yield Remark("names", f"{name[:100]!r} is the name of {len(ids):,} entries ({shown})", wrong=False)


def _beyond_guests(base: Base) -> Iterator[Remark]:
    from innkeeper.knowledge.joined.drafts import check_draft
    from innkeeper.storage.knowledge_model import Draft

    for item in base.items:
        entry = item.entry
        keywords = tuple(entry.activation_criteria.keywords)
        draft = Draft(entry.displayName or "", entry.text, keywords, int(entry.usage_metadata.priority))
        try:
            check_draft(draft, None)
        except ValueError as error:
            text = f"{item.entry.name[:100]!r} is more than a plugin may write, so none can change that part: {error}"
            yield Remark("plugins", text, wrong=False)
