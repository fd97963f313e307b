"""Prompts of a home's bases, with the pictures that lie beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import trio

from innkeeper.errors import UsageError
from innkeeper.knowledge.assembly.assemble import Assembled, assemble
from innkeeper.knowledge.assembly.default import default_template
from innkeeper.knowledge.assembly.template import Template, read_template
from innkeeper.knowledge.files.media import read_media
from innkeeper.knowledge.joined.bases import Bases
from innkeeper.knowledge.joined.requests import inputs_of
from innkeeper.knowledge.tokens.interface import TokenCounter
from innkeeper.knowledge.tokens.named import counter as counter_named
from innkeeper.storage.knowledge_model import NoSuchError, Place


class Assembling:
    """Puts prompts together."""

    def __init__(self, bases: Bases, counter: TokenCounter) -> None:
        """Args:
        bases: beside whose files media lie.
        counter: counts tokens, unless a request names another.
        """
        self._bases = bases
        self._counter = counter
        self._working = trio.CapacityLimiter(2)

    async def assemble(self, owner: str, request: Mapping[str, Any], allowed: Callable[[str], bool]) -> Assembled:
        """A prompt of the arguments of `kb.assemble`.

        Args:
            owner: whose bases they are.
            request: checked.
            allowed: whether whoever asks may read a base: of another one no file is opened.

        Raises:
            ValueError, KnowledgeError: something is not as it must be.
        """
        inputs = inputs_of(request)
        counter = counter_named(request["tokenizer"]) if request["tokenizer"] else self._counter
        template = _template(request)
        folders = await self._folders(owner, {each.base for each in inputs.active if each.media}, allowed)

        def read(base: str, path: str, most: int) -> bytes:
            folder = folders.get(base)
            if folder is None:
                raise UsageError(f"the picture {path[:80]!r} of the knowledge base {base[:80]!r} cannot be read")
            return read_media(folder, path, most=most)[0]

        return await trio.to_thread.run_sync(
            lambda: assemble(inputs, template, counter=counter, read_media=read), limiter=self._working
        )

    async def _folders(self, owner: str, names: set[str], allowed: Callable[[str], bool]) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for base in names:
            if not allowed(base):
                continue
            try:
                live = await self._bases.base(Place(owner, base))
            except (NoSuchError, ValueError):
                continue
            if live.state.file:
                found[base] = Path(live.state.file).parent
        return found


def _template(request: Mapping[str, Any]) -> Template:
    given = request["template"]
    template = default_template() if given is None else read_template(given)
    changes: dict[str, Any] = {}
    if request["budget"] is not None:
        changes["budget"] = request["budget"]
    if request["form"] == "text":
        changes["output"] = "single_string"
    return template.model_copy(update=changes) if changes else template
