"""The part of the service `kb` that turns a conversation into context: activation, assembly, vectors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.kb_arguments import (
    CONVERSATION,
    Base,
    Bases,
    Id,
    Label,
    Labels,
    Map,
    Messages,
    Profile,
    Session,
    Text,
    refusing,
)
from innkeeper.bridge.kb_references import References
from innkeeper.bridge.kb_writing import KbWriting
from innkeeper.bridge.operation import operation
from innkeeper.bridge.scan import DataBounds
from innkeeper.sandbox.present import present_call
from innkeeper.storage.knowledge_model import Place

_TEXTS = DataBounds(size=512 * 1024, depth=3, elements=200)

OTHERS = 6.0
"""Seconds that regular expressions, plugins and models may take for one activation; less where the call has less."""


def _seconds() -> float:
    # So that an answer without what was too slow is still in time.
    call = present_call()
    return OTHERS if call is None else max(0.0, min(OTHERS, 0.6 * call.left))


class KbContext(KbWriting):
    """What guests get for a conversation."""

    @operation("kb.read", use="bases", refers=True, bounds=CONVERSATION)
    async def activate(
        self,
        caller: Caller,
        *,
        bases: Bases,
        messages: Messages,
        profile: Profile = "native",
        texts: Map | None = None,
        injected: Annotated[list[Text], Field(max_length=100)] | None = None,
        scan_depth: Annotated[int, Field(ge=0, le=1000)] = 4,
        budget: Annotated[int, Field(ge=0, le=10_000_000)] | None = None,
        recursion: Annotated[int, Field(ge=0, le=100)] = 3,
        variables: Map | None = None,
        session: Session = "",
        seed: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None,
        trigger: Label = "normal",
        character: Label = "",
        character_tags: Labels | None = None,
        user: Label = "",
        scope: Labels | None = None,
        force: Annotated[list[Id], Field(max_length=1000)] | None = None,
        related: bool = True,
        explain: Annotated[list[Id], Field(max_length=100)] | None = None,
        dry_run: bool = False,
        settings: Map | None = None,
        trace: Literal["none", "active", "all"] = "active",
    ) -> Any:
        """Says which entries a conversation calls for, in the order in which they are inserted, and why.

        Args:
            bases: ids of the knowledge bases, or references of the run's project.
            messages: the conversation, the newest last: list of {content, role: "system", "user" or "assistant", name}.
            profile: whose rules hold: this host's, or SillyTavern's.
            texts: further texts that entries may look at, by what they are: `persona_description` and so on.
            injected: texts that every entry looks at.
            scan_depth: how many of the newest messages are looked at.
            budget: tokens that active entries may have together; nil: as many as there are.
            recursion: how often at most what active entries say activates others.
            variables: values by name.
            session: under which once-per-session, timed effects and changes of this session live; empty: none of them.
            seed: of what chance decides; nil: another one each time.
            trigger: the kind of generation: `normal`, `continue`, `impersonate`, `swipe`, `regenerate` or `quiet`.
            character: name of the character.
            character_tags: of the character.
            user: name of the user.
            scope: tags of which an entry must have one; nil: all entries.
            force: ids of entries that are active whatever their criteria say.
            related: whether entries that belong to active ones are brought, as the budget allows.
            explain: ids of entries that the trace tells of in any case.
            dry_run: whether nothing of the session is changed.
            settings: further settings of the profile.
            trace: which entries it tells of: none, those that came into question, or 1,000 others as well; 2,000 lines
                at most.

        Returns:
            {active: list of {base, entry, name, text, priority, placement, role, depth, outlet, tokens,
            exclude_from_history, media, tags, entry_type}, trace: list of {base, entry, name, outcome, reason, sweep,
            score, tokens, budget}, looked_at: integer, tokens: integer, budget: integer or nil, tokenizer: text,
            variables: map, seed: integer, notes: list of text}
        """
        request = {
            "messages": messages,
            "profile": profile,
            "texts": texts or {},
            "injected": injected or [],
            "scan_depth": scan_depth,
            "budget": budget,
            "recursion": recursion,
            "variables": variables or {},
            "session": session,
            "seed": seed,
            "trigger": trigger,
            "character": character,
            "character_tags": character_tags or [],
            "user": user,
            "scope": scope or [],
            "force": force or [],
            "related": related,
            "explain": explain or [],
            "dry_run": dry_run,
            "settings": settings or {},
            "trace": trace,
            "seconds": _seconds(),
        }
        with refusing():
            answer = dict(await (await self._knowledge()).activate(caller.owner, bases, request))
        return References(caller).shown(answer)

    @operation("kb.read", bounds=CONVERSATION)
    async def assemble(
        self,
        caller: Caller,
        *,
        active: Annotated[list[Map], Field(max_length=1000)] | None = None,
        history: Messages | None = None,
        texts: Map | None = None,
        user_input: Text = "",
        examples: Annotated[list[Text], Field(max_length=100)] | None = None,
        template: Map | None = None,
        budget: Annotated[int, Field(ge=0, le=10_000_000)] | None = None,
        form: Literal["messages", "text"] = "messages",
        tokenizer: Label = "",
        parameters: Map | None = None,
    ) -> Any:
        """Makes the messages for a model of active entries, a conversation and texts.

        Args:
            active: entries as `kb.activate` gives them.
            history: the conversation, the newest last: list of {content, role, name}.
            texts: by the name of the block that they are for.
            user_input: what the user says now.
            examples: dialogues, the most important first.
            template: the blocks and their order; nil: the usual one.
            budget: tokens of all; nil: as many as there are.
            form: a list of messages, or one text.
            tokenizer: that counts; empty: the host's.
            parameters: of the model, passed through.

        Returns:
            {messages: list of {role, content}, text: text or nil, parameters: map, sources: list of lists of {block,
            base, entry, start, end, exclude_from_history}, tokens: integer, tokenizer: text, budget: integer or nil,
            over: integer, report: list of {block, kind, kept, tokens, budget, cut, more}, notes: list of text}
        """
        references = References(caller)
        request = {
            "active": references.resolved(active or []),
            "history": history or [],
            "texts": texts or {},
            "user_input": user_input,
            "examples": examples or [],
            "template": template or None,
            "budget": budget,
            "form": form,
            "tokenizer": tokenizer,
            "parameters": parameters or {},
        }
        with refusing():
            knowledge = await self._knowledge()
            answer = dict(await knowledge.assemble(caller.owner, request, references.readable))
        return references.shown(answer)

    @operation("kb.read", use="base", refers=True, bounds=_TEXTS)
    async def embed(
        self, caller: Caller, *, base: Base, texts: Annotated[list[Text], Field(min_length=1, max_length=64)]
    ) -> Any:
        """Makes vectors of texts, by the model of a base. It is `unavailable` where that is not here or does not
        answer, and `quota` where guests had as many vectors as they may.

        Args:
            base: id of the knowledge base, or a reference of the run's project.
            texts: what vectors are made of; the first 8,000 characters of each, and as many as have 65,536 numbers
                together.

        Returns:
            {model: text, dimension: integer, vectors: list of lists of floats, each of length 1 or all zeros}
        """
        with refusing():
            return dict(await (await self._knowledge()).embed(Place(caller.owner, base), texts))
