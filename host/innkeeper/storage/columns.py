"""What all tables are made of: the one metadata, and the types that databases spell differently."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Integer, MetaData, Text
from sqlalchemy.dialects import postgresql

metadata: Final = MetaData()

ORDERED: Final = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Text in the order of its bytes in UTF-8, which is SQLite's own."""

NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")
"""A whole number of 64 bits. SQLite counts rows by itself only where the type is INTEGER."""
