"""Where the rows call other parts, each in one small function."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from innkeeper.knowledge.activation.base import CompiledBase, compile_base
from innkeeper.knowledge.activation.interface import Request, Result
from innkeeper.knowledge.activation.measure import Letters
from innkeeper.knowledge.activation.native import activate
from innkeeper.knowledge.embedding.interface import Embedder
from innkeeper.knowledge.embedding.offline import open_offline
from innkeeper.knowledge.embedding.texts import embedding_text
from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.model.entry import Entry


@asynccontextmanager
async def model() -> AsyncIterator[Embedder]:
    """The offline model, ready."""
    yield await open_offline()


def embedded_text(entry: Entry) -> str:
    """What of an entry is embedded (str)."""
    return embedding_text(entry)


def compiled(items: Sequence[Item]) -> CompiledBase:
    """A base that is ready for activation. Computes; not for trio's thread."""
    return compile_base("bench", items)


async def activated(base: CompiledBase, request: Request) -> Result:
    """Which entries a conversation calls for, hops to threads included."""
    return (await activate([base], request, counter=Letters())).result
