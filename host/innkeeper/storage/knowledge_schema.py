"""The tables of knowledge bases. What they promise each other is in docs/knowledge-store.md."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Float, Index, LargeBinary, Table, Text

from innkeeper.storage.columns import NUMBER, ORDERED, metadata

kb_bases: Final = Table(
    "kb_bases",
    metadata,
    Column("owner", ORDERED, primary_key=True),
    Column("base", ORDERED, primary_key=True),
    # The top level of its file without `entries`, as JSON; and what that says of the model of its vectors.
    Column("info", Text, nullable=False),
    Column("model", Text, nullable=False),
    # Grows by one with each step. What a step wrote has its revision as version: none is given twice to an entry.
    Column("revision", NUMBER, nullable=False),
    # What the base holds, and of that what plugins wrote; changed in the transactions that change its entries.
    Column("entries", NUMBER, nullable=False),
    Column("bytes", NUMBER, nullable=False),
    Column("agent_entries", NUMBER, nullable=False),
    Column("agent_bytes", NUMBER, nullable=False),
    # What its history holds, and the newest revision of which something was forgotten.
    Column("history_rows", NUMBER, nullable=False),
    Column("history_bytes", NUMBER, nullable=False),
    Column("forgotten", NUMBER, nullable=False),
    # The largest position that was given to an entry.
    Column("last", Float(53), nullable=False),
    # What made the terms and digests of all entries; "" where some are to be made.
    Column("legs", Text, nullable=False),
    # Grows whenever vectors were made for entries that did not change.
    Column("embedded", NUMBER, nullable=False),
    # The batch that is being put in place, or "": nobody reads or writes entries before that is done.
    Column("folding", Text, nullable=False),
    # The file that it is bound to, or ""; the digest that this had, and the revision, when both were last in step.
    Column("file", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("synced", NUMBER, nullable=False),
    # What is wrong with the file that has the digest `refused`, as JSON; "" for nothing.
    Column("note", Text, nullable=False),
    Column("refused", Text, nullable=False),
    Column("read_only", Boolean, nullable=False),
    # Whether what plugins write waits for somebody's consent.
    Column("approval", Boolean, nullable=False),
    Column("created", Float(53), nullable=False),
    Column("updated", Float(53), nullable=False),
)

kb_entries: Final = Table(
    "kb_entries",
    metadata,
    Column("owner", ORDERED, primary_key=True),
    Column("base", ORDERED, primary_key=True),
    Column("id", ORDERED, primary_key=True),
    # The order of the file.
    Column("position", Float(53), nullable=False),
    Column("version", NUMBER, nullable=False),
    # What filters ask for; the document says the same.
    Column("enabled", Boolean, nullable=False),
    Column("source", Text, nullable=False),
    Column("tags", Text, nullable=False),
    # The plugin that wrote it last, or "".
    Column("author", Text, nullable=False),
    Column("created", Float(53), nullable=False),
    Column("updated", Float(53), nullable=False),
    # Of the text that its vector is made of: sha256, hexadecimal.
    Column("digest", ORDERED, nullable=False),
    Column("size", NUMBER, nullable=False),
    # As JSON.
    Column("document", Text, nullable=False),
    Column("terms", LargeBinary, nullable=False),
)
Index("kb_entries_order", kb_entries.c.owner, kb_entries.c.base, kb_entries.c.position, kb_entries.c.id)
Index("kb_entries_version", kb_entries.c.owner, kb_entries.c.base, kb_entries.c.version)
Index("kb_entries_digest", kb_entries.c.owner, kb_entries.c.base, kb_entries.c.digest)

kb_vectors: Final = Table(
    "kb_vectors",
    metadata,
    Column("owner", ORDERED, primary_key=True),
    Column("base", ORDERED, primary_key=True),
    Column("model", ORDERED, primary_key=True),
    # Of the text: a vector belongs to all entries that have this text, and can never be another text's.
    Column("digest", ORDERED, primary_key=True),
    Column("dimension", NUMBER, nullable=False),
    Column("at", Float(53), nullable=False),
    Column("size", NUMBER, nullable=False),
    # Half-precision floats, little-endian.
    Column("vector", LargeBinary, nullable=False),
)
Index("kb_vectors_at", kb_vectors.c.at)

kb_steps: Final = Table(
    "kb_steps",
    metadata,
    Column("owner", ORDERED, primary_key=True),
    Column("base", ORDERED, primary_key=True),
    Column("revision", NUMBER, primary_key=True, autoincrement=False),
    Column("at", Float(53), nullable=False),
    # What it was: "edit", "import", "undo", "file" and so on; whose, a plugin's id or "".
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("changes", NUMBER, nullable=False),
    # What the base said of itself before, where the step changed that.
    Column("info_before", Text),
)
Index("kb_steps_at", kb_steps.c.at)

kb_history: Final = Table(
    "kb_history",
    metadata,
    Column("number", NUMBER, primary_key=True, autoincrement=True),
    Column("owner", ORDERED, nullable=False),
    Column("base", ORDERED, nullable=False),
    Column("revision", NUMBER, nullable=False),
    Column("entry", ORDERED, nullable=False),
    # "create", "change" or "delete".
    Column("kind", Text, nullable=False),
    Column("at", Float(53), nullable=False),
    Column("author", Text, nullable=False),
    Column("size", NUMBER, nullable=False),
    Column("position", Float(53), nullable=False),
    # What it was before, as JSON; NULL where it was not there.
    Column("before", Text),
    # Numbers of what is forgotten are not used again.
    sqlite_autoincrement=True,
)
Index("kb_history_step", kb_history.c.owner, kb_history.c.base, kb_history.c.revision, kb_history.c.entry)
Index("kb_history_entry", kb_history.c.owner, kb_history.c.base, kb_history.c.entry, kb_history.c.number)
Index("kb_history_number", kb_history.c.owner, kb_history.c.base, kb_history.c.number)
Index("kb_history_at", kb_history.c.at)

kb_batches: Final = Table(
    "kb_batches",
    metadata,
    Column("owner", ORDERED, primary_key=True),
    Column("base", ORDERED, primary_key=True),
    Column("batch", ORDERED, primary_key=True),
    # When something was last staged: one that nobody touches any more is cleaned up.
    Column("touched", Float(53), nullable=False),
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("staged", NUMBER, nullable=False),
    # What the base says of itself afterwards, where that changes.
    Column("info", Text),
    # What becomes of the base's columns of the same names, where it comes from its file.
    Column("digest", Text),
)
Index("kb_batches_touched", kb_batches.c.touched)

kb_staged: Final = Table(
    "kb_staged",
    metadata,
    Column("owner", ORDERED, primary_key=True),
    Column("base", ORDERED, primary_key=True),
    Column("batch", ORDERED, primary_key=True),
    Column("number", NUMBER, primary_key=True, autoincrement=False),
    Column("id", ORDERED, nullable=False),
    Column("expect", NUMBER),
    Column("position", Float(53)),
    Column("enabled", Boolean, nullable=False),
    Column("source", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("size", NUMBER, nullable=False),
    # NULL deletes the entry.
    Column("document", Text),
    Column("terms", LargeBinary, nullable=False),
    Column("model", Text),
    Column("dimension", NUMBER),
    Column("vector", LargeBinary),
)

kb_overlays: Final = Table(
    "kb_overlays",
    metadata,
    Column("owner", ORDERED, primary_key=True),
    Column("base", ORDERED, primary_key=True),
    Column("session", ORDERED, primary_key=True),
    Column("entry", ORDERED, primary_key=True),
    # NULL hides the base's entry.
    Column("document", Text),
    Column("version", NUMBER, nullable=False),
    Column("author", Text, nullable=False),
    Column("at", Float(53), nullable=False),
    Column("size", NUMBER, nullable=False),
)

kb_sessions: Final = Table(
    "kb_sessions",
    metadata,
    Column("owner", ORDERED, primary_key=True),
    Column("base", ORDERED, primary_key=True),
    Column("session", ORDERED, primary_key=True),
    # What activation remembers, and the newest version that was given out, to it or to an overlay.
    Column("state", LargeBinary, nullable=False),
    Column("version", NUMBER, nullable=False),
    # What its overlay holds.
    Column("entries", NUMBER, nullable=False),
    Column("bytes", NUMBER, nullable=False),
    # When somebody last wrote to it: one that nobody touches for long goes, with its overlay.
    Column("at", Float(53), nullable=False),
    Column("size", NUMBER, nullable=False),
)
Index("kb_sessions_at", kb_sessions.c.at)

kb_proposals: Final = Table(
    "kb_proposals",
    metadata,
    Column("number", NUMBER, primary_key=True, autoincrement=True),
    Column("owner", ORDERED, nullable=False),
    Column("base", ORDERED, nullable=False),
    Column("entry", ORDERED, nullable=False),
    # NULL: to delete it.
    Column("document", Text),
    # The version that the entry had when it was proposed; 0 where it was not there.
    Column("expect", NUMBER, nullable=False),
    Column("author", Text, nullable=False),
    Column("at", Float(53), nullable=False),
    Column("size", NUMBER, nullable=False),
    sqlite_autoincrement=True,
)
Index("kb_proposals_base", kb_proposals.c.owner, kb_proposals.c.base, kb_proposals.c.number)
Index("kb_proposals_at", kb_proposals.c.at)
