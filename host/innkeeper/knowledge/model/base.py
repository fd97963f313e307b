"""What a knowledge base says of itself, beside its entries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.entry import Entry, Name, Names, Part

SCHEMA_VERSION = "1.1"
"""The newest structure of a base's file that this host writes. 1.0 is the seed's; 1.1 has `role`, `depth_offset` and
the logic NOT_ANY and NOT_ALL."""


class BaseInfo(Part):
    """The top level of a base's file without `entries`.

    Attributes:
        kb_id: names the base everywhere; also in a grant.
        kb_version: of its content, as its author counts.
        schema_version: of the structure of the file.
        kb_displayName, kb_description: for people.
        embedding_model_id: the model of its vectors, as `ModelIdentity.key`, or whatever its author wrote.
        created_at, updated_at: as their author wrote them, ISO 8601.
        tags, author: of the base.
        kb_extensions: what others keep in it.
    """

    kb_id: Annotated[str, Field(min_length=1, max_length=bounds.MOST_ID)]
    kb_version: Name = "1.0.0"
    schema_version: Name = "1.0"
    kb_displayName: Name | None = None
    kb_description: Annotated[str, Field(max_length=bounds.MOST_CONTENT)] | None = None
    embedding_model_id: Name | None = None
    created_at: Name | None = None
    updated_at: Name | None = None
    tags: Names = Field(default_factory=list)
    author: Name | None = None
    kb_extensions: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """What people call it: its name, else its id."""
        return self.kb_displayName or self.kb_id


@dataclass(frozen=True, slots=True)
class Item:
    """An entry with the document that it was read in.

    Attributes:
        document: plain data, the truth; never changed in place.
        entry: what this host reads in it.
    """

    document: dict[str, Any]
    entry: Entry


@dataclass(frozen=True, slots=True)
class Base:
    """A whole base, as a file has it.

    Attributes:
        document: the top level without `entries`, the truth; never changed in place.
        info: what this host reads in it.
        items: its entries, in the order of the file; no id is there twice.
    """

    document: dict[str, Any]
    info: BaseInfo
    items: list[Item] = field(default_factory=list)
