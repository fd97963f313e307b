"""How much of anything a prompt is put together from."""

from __future__ import annotations

from typing import Final

MOST_BLOCKS: Final = 200
"""Blocks of a template."""

MOST_ACTIVE: Final = 20_000
"""Active entries."""

MOST_MESSAGES: Final = 50_000
"""Messages of a history; also of all examples together."""

MOST_TEXTS: Final = 1000
"""Named texts, and keys of the parameters that are passed on."""

MOST_CHARACTERS: Final = 32 << 20
"""Characters of all inputs and of the template together."""

MOST_TEMPLATE_TEXT: Final = 256 << 10
"""Characters of one text of a template."""

MOST_TOKENS: Final = 100_000_000
"""A budget."""

MOST_IMAGE: Final = 8 << 20
"""Bytes of one image."""

MOST_IMAGES: Final = 16
"""Images of one prompt."""

MOST_IMAGE_BYTES: Final = 24 << 20
"""Bytes of all images of a prompt."""

MOST_NAME: Final = 200
"""Characters of who says a message, where the inputs name the roles."""

MOST_REPEATED: Final = 200
"""Characters of a text of a template that stands once for each message or entry."""
