"""Can a base that comes in be searched by meaning: which model it is of, which there are, what it would cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from innkeeper.errors import UsageError
from innkeeper.knowledge.files.vectors import VectorSet
from innkeeper.knowledge.model.base import Base
from innkeeper.knowledge.tokens.interface import TokenCounter


class Fit(Enum):
    """How what came with a base fits what is here."""

    READY = "ready"
    """Its vectors are of a model that is here."""
    PARTLY = "partly"
    """As `READY`, and some entries have none."""
    UNEMBEDDED = "unembedded"
    """Its model is here, and its vectors did not come with it."""
    OTHER = "other"
    """Its model is not here."""
    UNKNOWN = "unknown"
    """It wants to be searched by meaning, and does not say by which model."""
    PLAIN = "plain"
    """It does not want to be searched by meaning."""


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What is known before a base is embedded.

    Attributes:
        fit: how it fits.
        recorded: the model that the base names, or "".
        brought: models of the vectors that came with it.
        available: keys of the models that are here.
        entries: how many entries it has.
        texts: how many of them have a text and no vector that can be used.
        characters, tokens: of these texts, the tokens as `counter` counts them.
        counter: which tokenizer estimated, or "".
        usable: the vectors that can be used as they are, or None.
        model: the key of the model to be used as a matter of course, or "".
    """

    fit: Fit
    recorded: str
    brought: tuple[str, ...]
    available: tuple[str, ...]
    entries: int
    texts: int
    characters: int
    tokens: int
    counter: str
    usable: VectorSet | None
    model: str

    @property
    def question(self) -> bool:
        """Whether somebody has to say what is to be done (bool)."""
        return self.fit not in (Fit.READY, Fit.PLAIN)

    def sentences(self) -> list[str]:
        """What people are told before they decide."""
        recorded = f"the base was made with the model {self.recorded!r}" if self.recorded else "the base names no model"
        said = {
            Fit.READY: "its vectors came with it and can be used",
            Fit.PARTLY: "its vectors came with it and can be used; some entries have none",
            Fit.UNEMBEDDED: "that model is here, and its vectors did not come with it",
            Fit.OTHER: "that model is not here",
            Fit.UNKNOWN: "some of its entries want to be found by meaning",
            Fit.PLAIN: "nothing in it is found by meaning",
        }
        lines = [f"{recorded}; {said[self.fit]}"]
        if self.question:
            cost = f"{self.texts:,} of {self.entries:,} entries would be embedded: {self.characters:,} characters"
            lines.append(f"{cost}, about {self.tokens:,} tokens" + (f" ({self.counter})" if self.counter else ""))
            lines.append(f"models here: {', '.join(self.available) or 'none'}")
        return lines

    def report(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "fit": self.fit.value,
            "recorded": self.recorded or None,
            "vectors": list(self.brought),
            "models": list(self.available),
            "entries": self.entries,
            "texts": self.texts,
            "characters": self.characters,
            "tokens": self.tokens,
            "tokenizer": self.counter or None,
        }


def check_model(
    base: Base,
    vectors: Sequence[VectorSet],
    available: Callable[[], Sequence[str]],
    counter: TokenCounter | None = None,
    *,
    recorded: str | None = None,
) -> ModelCheck:
    """How a base that comes in fits the models that are here. Blocks where `counter` does, for a thread.

    Args:
        base: that comes in.
        vectors: that came with it.
        available: gives the keys of the models that are here.
        counter: estimates tokens; None: four characters count as one.
        recorded: the model that counts in place of what the base records: that of the base into which it goes, or "".
    """
    models = tuple(available())
    recorded = base.info.embedding_model_id or "" if recorded is None else recorded
    here = find_model(recorded, models) if recorded else ""
    sets = {found.model: found for found in vectors}
    # Vectors of another model than the base's are another base's.
    usable = sets.get(here) if here else None
    if usable is None and not recorded:
        usable = next((sets[model] for model in models if model in sets), None)
    embedded = set(usable.ids) if usable else set()
    texts = [item.entry.text for item in base.items if item.entry.text.strip() and item.entry.id not in embedded]
    characters = sum(map(len, texts))
    if usable is not None:
        fit = Fit.PARTLY if texts else Fit.READY
    elif recorded:
        fit = Fit.UNEMBEDDED if here else Fit.OTHER
    elif vectors:
        fit = Fit.OTHER
    else:
        semantic = any(item.entry.activation_criteria.use_semantic_search for item in base.items)
        fit = Fit.UNKNOWN if semantic else Fit.PLAIN
    tokens = sum(map(counter.count, texts)) if counter is not None else characters // 4
    return ModelCheck(
        fit,
        recorded,
        tuple(sets),
        models,
        len(base.items),
        len(texts),
        characters,
        tokens,
        counter.name if counter is not None else "",
        usable,
        usable.model if usable is not None else here,
    )


def find_model(text: str, available: Sequence[str]) -> str:
    """The key of the model that a text names, or "" (str): its whole key, or its id where one model alone has it."""
    if text in available:
        return text
    found = [key for key in available if text == key.partition("@")[0].partition("/")[0]]
    return found[0] if len(found) == 1 else ""


def choose_model(check: ModelCheck, embed: str | None, no_embed: bool) -> str | None:
    """What the options of a command say: the key of the model to embed with, "" for none, None where they say nothing
    and somebody has to be asked.

    Raises:
        UsageError: both were given, or the model is not here.
    """
    if embed is not None and no_embed:
        raise UsageError("give --embed or --no-embed, not both")
    if no_embed:
        return ""
    if embed is not None:
        found = find_model(embed, check.available)
        if not found:
            raise UsageError(
                f"--embed: {embed[:100]!r} is no model that is here: {', '.join(check.available) or 'none'}"
            )
        return found
    return None if check.question else ""
