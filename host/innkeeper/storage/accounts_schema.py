"""The tables of users, and of what says who somebody is. Each row belongs to its user, whose id is the owner of all
that belongs to that user."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Boolean, Column, Float, Index, LargeBinary, Table, Text

from innkeeper.storage.columns import NUMBER, ORDERED, metadata

users: Final = Table(
    "users",
    metadata,
    # The user's id.
    Column("owner", ORDERED, primary_key=True),
    Column("username", Text, nullable=False),
    # What two names have in common that people take for the same.
    Column("name_key", ORDERED, nullable=False, unique=True),
    # As argon2id writes it; NULL: nobody logs in by one.
    Column("password", Text),
    Column("is_admin", Boolean, nullable=False),
    Column("disabled", Boolean, nullable=False),
    # sha256 of the picture, hexadecimal; NULL: there is none.
    Column("avatar", Text),
    Column("created", Float(53), nullable=False),
    Column("updated", Float(53), nullable=False),
)

avatars: Final = Table(
    "avatars",
    metadata,
    Column("owner", ORDERED, primary_key=True),
    Column("digest", Text, nullable=False),
    # As media types have it: "image/png".
    Column("type", Text, nullable=False),
    Column("size", NUMBER, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

service_api_keys: Final = Table(
    "service_api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", ORDERED, nullable=False),
    Column("name", Text, nullable=False),
    # The first characters of the key, by which it is found.
    Column("prefix", ORDERED, nullable=False),
    # As argon2id writes it.
    Column("hashed_key", Text, nullable=False, unique=True),
    # What it reaches, with a space between.
    Column("scopes", Text, nullable=False),
    Column("created", Float(53), nullable=False),
    # When it ends; NULL: never.
    Column("ends", Float(53)),
    Column("used", Float(53)),
)
Index("service_api_keys_owner", service_api_keys.c.owner, service_api_keys.c.created)
Index("service_api_keys_prefix", service_api_keys.c.prefix)

external_credentials: Final = Table(
    "external_credentials",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", ORDERED, nullable=False),
    Column("service_name", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    # First and last characters of a long one; "" of others.
    Column("hint_first", Text, nullable=False),
    Column("hint_last", Text, nullable=False),
    Column("created", Float(53), nullable=False),
    # Which master key it is under.
    Column("master_key", ORDERED, nullable=False),
    Column("size", NUMBER, nullable=False),
    Column("encrypted", LargeBinary, nullable=False),
)
Index("external_credentials_owner", external_credentials.c.owner, external_credentials.c.created)
Index("external_credentials_key", external_credentials.c.master_key, external_credentials.c.id)

master_keys: Final = Table(
    "master_keys",
    metadata,
    # There is one row: which master key credentials are written under.
    Column("name", Text, primary_key=True),
    Column("id", Text, nullable=False),
)

sessions: Final = Table(
    "sessions",
    metadata,
    # sha256 of the cookie's token, hexadecimal.
    Column("hash", ORDERED, primary_key=True),
    Column("owner", ORDERED, nullable=False),
    Column("created", Float(53), nullable=False),
    # When it was last used, or a little before.
    Column("seen", Float(53), nullable=False),
    Column("ends", Float(53), nullable=False),
)
Index("sessions_owner", sessions.c.owner, sessions.c.created)
Index("sessions_ends", sessions.c.ends)

invitations: Final = Table(
    "invitations",
    metadata,
    # That there is one row of this id is what lets one setup token be used once.
    Column("id", ORDERED, primary_key=True),
    # Who invited.
    Column("owner", ORDERED, nullable=False),
    # sha256 of the token, hexadecimal.
    Column("hash", ORDERED, nullable=False, unique=True),
    Column("is_admin", Boolean, nullable=False),
    Column("created", Float(53), nullable=False),
    Column("ends", Float(53), nullable=False),
)
Index("invitations_ends", invitations.c.ends)
