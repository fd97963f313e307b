"""What must let an entry through beside its words: gates, and conditions with the answers of others."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from innkeeper.knowledge.activation.base import CompiledBase
from innkeeper.knowledge.activation.cancelling import end_if_cancelled
from innkeeper.knowledge.activation.compiled import CompiledEntry
from innkeeper.knowledge.activation.conditions import Asker, first_failing
from innkeeper.knowledge.activation.gates import Gates
from innkeeper.knowledge.activation.interface import Outcome, Request
from innkeeper.knowledge.activation.macros import Macros
from innkeeper.knowledge.activation.questions import Asked
from innkeeper.knowledge.activation.session import Session
from innkeeper.knowledge.activation.state import Ref, State


class Admission:
    """Lets entries through, or says why not."""

    def __init__(self, request: Request, session: Session, length: int, macros: Macros, asked: Asked) -> None:
        """Args:
        request: what is asked.
        session: what is remembered.
        length: messages of the conversation.
        macros: whose variables conditions look at.
        asked: answers of others.
        """
        answers = sum(message.role == "assistant" for message in request.messages)
        self._gates = Gates(request, session, length, answers)
        self._context = {"session": request.session, "trigger": request.trigger}
        self._macros = macros
        self._asked = asked
        self._scope = frozenset(request.scope)
        self._references: dict[Ref, bool] = {}

    def closed(self, state: State) -> tuple[Outcome, str] | None:
        """What holds an entry back whatever is said, or None."""
        return self._gates.closed(state.base.id, state.compiled)

    def by_conditions(
        self, states: Sequence[State], sweep: int, forced: set[str]
    ) -> Generator[None, None, list[State]]:
        """Those of which all conditions hold; waits for answers by yielding."""
        asking = [state for state in states if state.compiled.conditions and not _free(state.compiled, forced)]
        answers = {state: self._conditions(state.base, state.compiled) for state in asking}
        if self._asked.open:
            yield
            answers = {state: self._conditions(state.base, state.compiled) for state in asking}
        for state, (holds, why) in answers.items():
            if not holds:
                state.parent = None
                state.end(Outcome.CONDITION, f"{why} ({state.reason})", sweep, settled=False)
        return [state for state in states if state not in answers or answers[state][0]]

    def of_reference(self, ref: Ref, base: CompiledBase) -> Generator[None, None, bool]:
        """Whether a reference may bring an entry: its scope and conditions decide."""
        if ref not in self._references:
            entry = base.entries[ref[1]]
            admits = not self._scope or bool(self._scope & set(entry.entry.management_metadata.tags))
            if admits and entry.conditions:
                if self._conditions(base, entry)[0] is None:
                    yield
                admits = bool(self._conditions(base, entry)[0])
            self._references[ref] = admits
        return self._references[ref]

    def _conditions(self, base: CompiledBase, entry: CompiledEntry) -> tuple[bool | None, str]:
        end_if_cancelled()
        asker = Asker(base.id, entry.id, self._macros.variables, self._macros.revision, self._context, self._asked)
        return first_failing(entry.conditions, asker)


def _free(entry: CompiledEntry, forced: set[str]) -> bool:
    """Whether conditions do not count: somebody wants it in any case."""
    return entry.id in forced or entry.decorators.activate
