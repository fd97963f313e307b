"""Puts a prompt together: the one function that others call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from innkeeper.knowledge.assembly.budget import Kept, by_block, give_way, keep
from innkeeper.knowledge.assembly.compose import compose
from innkeeper.knowledge.assembly.default import default_template
from innkeeper.knowledge.assembly.drafts import Draft, Source
from innkeeper.knowledge.assembly.inputs import Inputs, check_inputs, unused
from innkeeper.knowledge.assembly.media import Images, ReadMedia
from innkeeper.knowledge.assembly.pieces import Filled, fill
from innkeeper.knowledge.assembly.render import name_of, one_string, structured
from innkeeper.knowledge.assembly.report import MOST_CUTS, MOST_TITLE, Cut, Row
from innkeeper.knowledge.assembly.template import Template
from innkeeper.knowledge.tokens.interface import TokenCounter
from innkeeper.knowledge.tokens.named import counter as counter_named


@dataclass(frozen=True, slots=True)
class Assembled:
    """A prompt.

    Attributes:
        messages: each `{role, content}`, the content a text or a list of parts, perhaps with `name`.
        sources: of each message, where the parts of its text come from, in their order.
        prompt: the one string, where the template asks for it; else None. `messages` are there all the same.
        llm_parameters: those of the template, and over them those of the inputs.
        tokens: of the whole prompt, as `tokenizer` counts them.
        tokenizer: its name.
        budget: tokens that there were, less what is reserved for the answer; None: any number.
        over: tokens over the budget, which is more than 0 only where what is required does not fit.
        report: a row for each block, and one for what no block takes.
        notes: sentences on what did not work as it should.
    """

    messages: list[dict[str, Any]]
    sources: list[list[Source]]
    prompt: str | None
    llm_parameters: Mapping[str, Any]
    tokens: int
    tokenizer: str
    budget: int | None
    over: int
    report: list[Row]
    notes: list[str]

    def plain(self) -> dict[str, Any]:
        """As plain data, such as a service gives to a guest."""
        return {
            "prompt_data": self.messages if self.prompt is None else self.prompt,
            "llm_parameters": dict(self.llm_parameters),
            "sources": [
                [
                    {
                        "block": each.block,
                        "base": each.base,
                        "entry": each.entry,
                        "start": each.start,
                        "end": each.end,
                        "exclude_from_history": each.exclude_from_history,
                    }
                    for each in message
                ]
                for message in self.sources
            ],
            "tokens": self.tokens,
            "tokenizer": self.tokenizer,
            "budget": self.budget,
            "over": self.over,
            "report": [row.plain() for row in self.report],
            "notes": self.notes,
        }


def assemble(
    inputs: Inputs,
    template: Template | None = None,
    *,
    counter: TokenCounter | None = None,
    read_media: ReadMedia | None = None,
) -> Assembled:
    """Puts a prompt together. Nothing is kept and nothing waits, but for what `read_media` does.

    A prompt of usual size takes a few milliseconds and belongs into a thread; one of the largest size takes seconds.

    Args:
        inputs: what there is.
        template: what it looks like; None: `default_template`.
        counter: counts tokens; None: the estimate.
        read_media: reads images of entries; None: prompts without images.

    Raises:
        KnowledgeError: the inputs are too many, too long, or have a role that there is not.
    """
    template = template or default_template()
    check_inputs(inputs, template)
    counter = counter_named() if counter is None else counter
    filled = fill(template, inputs, counter)
    kept = keep(template, filled.units, counter)
    budget = None if template.budget is None else template.budget - template.reserve
    factor = 1
    while True:
        drafts = compose(template, by_block(kept))
        tokens = _tokens(template, drafts, counter)
        if budget is None or tokens <= budget or not give_way(kept, template, (tokens - budget) * factor):
            break
        # What a whole costs is not the sum of its parts; twice as much each time, so that this ends soon.
        factor *= 2
    images = Images(read_media)
    said = structured(template, drafts, images)
    notes = unused(inputs, template) + images.notes
    over = max(0, tokens - budget) if budget is not None else 0
    if over:
        notes.append(f"what must be there is {over:,} tokens longer than the budget of {budget:,}")
    return Assembled(
        messages=[message for _, message in said],
        sources=[draft.sources for draft, _ in said],
        prompt=one_string(template, [draft for draft, _ in said]) if template.output == "single_string" else None,
        llm_parameters={**template.llm_parameters, **inputs.llm_parameters},
        tokens=tokens,
        tokenizer=counter.name,
        budget=budget,
        over=over,
        report=_report(template, filled, kept, counter),
        notes=notes,
    )


def _tokens(template: Template, drafts: Sequence[Draft], counter: TokenCounter) -> int:
    if template.output == "single_string":
        return counter.count(one_string(template, drafts))
    total = 0
    for draft in drafts:
        total += counter.count(draft.text) + counter.count(name_of(template, draft)) + template.message_tokens
        total += template.image_tokens * sum(mime.startswith("image/") for _, _, mime in draft.media)
    return total


def _report(template: Template, filled: Filled, kept: Kept, counter: TokenCounter) -> list[Row]:
    staying = by_block(kept)
    gone: dict[int, list[Cut]] = {}
    for unit, reason in kept.gone:
        active = unit.pieces[0].active
        base, entry = (active.base, active.entry) if active else ("", "")
        gone.setdefault(unit.block, []).append(Cut(unit.title[:MOST_TITLE], base, entry, unit.tokens, reason))
    rows = []
    for at, block in enumerate(template.blocks):
        units = staying.get(at, [])
        tokens = sum(counter.count(piece.text) for unit in units for piece in unit.pieces)
        if units:
            tokens += counter.count(block.prefix) + counter.count(block.suffix)
        cuts = gone.get(at, [])
        more = max(0, len(cuts) - MOST_CUTS)
        rows.append(Row(block.id, block.kind, len(units), tokens, block.budget, cuts[:MOST_CUTS], more))
    if filled.unplaced:
        cuts = [
            Cut(active.name[:MOST_TITLE], active.base, active.entry, counter.count(active.text), reason)
            for active, reason in filled.unplaced[:MOST_CUTS]
        ]
        rows.append(Row("", "", 0, 0, None, cuts, max(0, len(filled.unplaced) - MOST_CUTS)))
    return rows
