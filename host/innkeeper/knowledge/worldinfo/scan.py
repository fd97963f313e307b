"""The scan of SillyTavern 1.15: sweeps over the entries until nothing new becomes active."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from innkeeper.knowledge.activation.interface import Outcome
from innkeeper.knowledge.worldinfo.decorators import ACTIVATE, DONT_ACTIVATE
from innkeeper.knowledge.worldinfo.entry import WorldEntry
from innkeeper.knowledge.worldinfo.gates import State, held_back, kept_from_recursion
from innkeeper.knowledge.worldinfo.groups import Rules, losers
from innkeeper.knowledge.worldinfo.matching import Matching
from innkeeper.knowledge.worldinfo.plan import Plan, Planned
from innkeeper.knowledge.worldinfo.scanned import Fate, Scanned
from innkeeper.knowledge.worldinfo.settings import Scene, Settings
from innkeeper.knowledge.worldinfo.slots import place
from innkeeper.knowledge.worldinfo.timed import Now, TimedEffects
from innkeeper.knowledge.worldinfo.verdicts import Test, Verdicts

MOST_SWEEPS: Final = 4000
"""Sweeps of a scan: two for each message that can be looked at, and as many again. SillyTavern has no bound; a book
that needs more is a chain of entries without end."""

MOST_LOOKS: Final = 500_000
"""Entries that all sweeps of a scan look at together: some seconds."""

MOST_TEXT: Final = 1 << 25
"""Characters of all active entries together, macros replaced. What does not fit is left out."""


def scan(
    plan: Plan,
    settings: Settings,
    scene: Scene,
    *,
    effects: TimedEffects,
    random: Callable[[], float],
    count: Callable[[str], int],
    test: Test | None,
    check: Callable[[], None] = lambda: None,
) -> Scanned:
    """Which entries are active. Plain computing, so that it belongs into a thread.

    Args:
        plan: the entries.
        settings: those for which the plan was made, or others that fit it (`Plan.fits`).
        scene: the moment.
        effects: of the chat; brought up to date. Whoever only tries gives a copy.
        random: a number from 0 to 1.
        count: tokens of a text. Texts are counted one by one.
        test: tests regular expressions; None: none of them matches.
        check: called in each sweep; ends the scan by raising.
    """
    assert plan.fits(settings)
    now = effects.begin((plan.entries[at].entry for at in plan.timed), scene.chat_length)
    made = _Scan(plan, settings, scene, now, random, count, Verdicts(test), check)
    found = made.run()
    effects.commit((entry for entry, _ in found.active), scene.chat_length)
    return found


class _Scan:
    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        scene: Scene,
        now: Now,
        random: Callable[[], float],
        count: Callable[[str], int],
        verdicts: Verdicts,
        check: Callable[[], None],
    ) -> None:
        self._plan, self._settings, self._scene, self._now = plan, settings, scene, now
        self._random, self._count, self._check = random, count, check
        self._verdicts = verdicts
        self._budget = settings.budget
        self._matching = Matching(plan, settings, scene, verdicts)
        self._fates: dict[WorldEntry, Fate] = {}
        self._active: dict[tuple[str, int | str], tuple[WorldEntry, str]] = {}
        # What inclusion groups have, from earlier sweeps and from this one.
        self._taken: dict[str, WorldEntry] = {}
        self._joined: dict[str, WorldEntry] = {}
        self._levels = list(plan.levels)
        self._level = self._levels.pop(0) if self._levels else 0
        self._sweep = 0
        self._looks = 0
        self._overflowed = False
        self._length = 0
        # Tokens of what was said before this sweep.
        self._said = 0
        # Places of entries that may become active, and of those that cannot any more.
        self._pending: set[int] = set()
        self._closed = bytearray(len(plan.entries))

    def run(self) -> Scanned:
        self._open()
        state: State | None = State.INITIAL
        last = State.INITIAL
        while state is not None and not self._ended():
            self._check()
            self._matching.recursing = state is not State.MIN_ACTIVATIONS
            new = self._select(self._sweep_over(state))
            last, state = state, self._next(state, new)
            self._sweep += 1
        self._tell_others(last)
        active = list(self._active.values())
        return Scanned(active, place(active), self._fates, self._overflowed, self._notes(state))

    def _open(self) -> None:
        plan, scene, now = self._plan, self._scene, self._now
        for at in range(len(plan.entries)) if scene.left_out else (*plan.gated, *plan.timed):
            entry = plan.entries[at].entry
            held = held_back(entry, scene, now)
            if held is not None:
                self._closed[at] = 1
                self._fates[entry] = Fate(*held)
        self._add(plan.always)
        self._add(self._matching.hidden)
        self._add(at for at in plan.timed if plan.entries[at].entry in now.sticky)
        if scene.forced:
            self._add(each.at for each in plan.entries if each.entry.key in scene.forced)
        self._add(self._matching.begin())

    def _add(self, places: Iterable[int]) -> None:
        self._pending.update(at for at in places if not self._closed[at])

    def _ended(self) -> bool:
        most = self._settings.max_sweeps
        return self._sweep >= (min(most, MOST_SWEEPS) if most else MOST_SWEEPS) or self._looks >= MOST_LOOKS

    # --- one sweep ---------------------------------------------------------------------------------------------------

    def _sweep_over(self, state: State) -> list[Planned]:
        # Entries that are called for now.
        self._looks += len(self._pending)
        looked = []
        for at in sorted(self._pending):
            each = self._matching.entries[at]
            if each.entry.key in self._active:
                self._close(each)
            elif self._kept(each, state) is None:
                looked.append(each)
        self._matching.ask(looked)
        return [each for each in looked if self._called(each)]

    def _kept(self, each: Planned, state: State) -> str | None:
        if each.entry in self._now.sticky:
            return None
        return kept_from_recursion(each.entry, state, self._level, self._settings.recursive)

    def _called(self, each: Planned) -> bool:
        entry = each.entry
        if entry.decorators:
            if ACTIVATE in entry.decorators:
                return True
            if DONT_ACTIVATE in entry.decorators:
                return False
        return (
            entry.constant or entry.key in self._scene.forced or entry in self._now.sticky or self._matching.met(each)
        )

    def _why(self, each: Planned) -> str:
        entry = each.entry
        if ACTIVATE in entry.decorators:
            return f"it begins with {ACTIVATE}"
        if entry.key in self._scene.forced:
            return "it was asked for"
        if entry.constant:
            return "it is always active"
        if entry in self._now.sticky:
            return f"it sticks for {entry.sticky} messages"
        return self._matching.why(each)

    def _select(self, found: list[Planned]) -> list[tuple[WorldEntry, str, int]]:
        # Groups, chance and budget; the entries that chance let through, with their texts and tokens, those among them
        # that the budget left out.
        sticky = self._now.sticky
        found.sort(key=lambda each: (each.entry not in sticky, each.at))
        planned = {each.entry: each for each in found}
        rules = Rules(
            taken=self._taken,
            sticky=sticky,
            cooldown=self._now.cooldown,
            score=lambda entry: self._matching.score(planned[entry]),
            scoring=self._settings.group_scoring,
            random=self._random,
        )
        lost = losers(list(planned), rules)
        new = []
        spent = 0
        for each in found:
            entry = each.entry
            reason = self._why(each)
            if entry in lost:
                self._fates[entry] = Fate(Outcome.GROUP, f"{reason}; {lost[entry]}", self._sweep)
                continue
            left = None if self._budget is None else max(0.0, self._budget - self._said - spent)
            if self._overflowed and not entry.ignores_budget:
                self._fates[entry] = Fate(Outcome.BUDGET, f"{reason}; the budget had ended before", self._sweep)
                new.append((entry, entry.content, 0))
                continue
            if not self._chance(entry):
                self._close(each)
                chance = f"{reason}; chance ({entry.probability:g} %) was against it"
                self._fates[entry] = Fate(Outcome.PROBABILITY, chance, self._sweep)
                continue
            text = self._scene.substituted(entry.content)
            self._length += len(text)
            if self._length > MOST_TEXT:
                self._close(each)
                self._fates[entry] = Fate(Outcome.FAILED, f"{reason}; all entries together are too long", self._sweep)
                continue
            tokens = self._count(text) if text else 0
            spent += tokens
            new.append((entry, text, tokens))
            if self._budget is not None and self._said + spent >= self._budget and not entry.ignores_budget:
                self._overflowed = True
                over = f"{reason}; its {tokens} tokens do not stay below the budget"
                self._fates[entry] = Fate(Outcome.BUDGET, over, self._sweep, tokens, left)
                continue
            self._close(each)
            self._active[entry.key] = (entry, text)
            if entry.group:
                self._joined[entry.group] = entry
            self._fates[entry] = Fate(Outcome.ACTIVE, reason, self._sweep, tokens, left)
        return new

    def _chance(self, entry: WorldEntry) -> bool:
        if not entry.uses_probability or entry.probability == 100 or entry in self._now.sticky:
            return True
        return self._random() * 100 <= entry.probability

    def _close(self, each: Planned) -> None:
        self._pending.discard(each.at)
        self._closed[each.at] = 1

    # --- between two sweeps ------------------------------------------------------------------------------------------

    def _next(self, state: State, new: list[tuple[WorldEntry, str, int]]) -> State | None:
        feeding = [each for each in new if not each[0].prevents_recursion]
        following = self._following(state, bool(feeding))
        self._taken |= self._joined
        self._joined = {}
        if following is not None:
            self._said += sum(tokens for _, _, tokens in feeding)
            # Even where nobody said anything: from now on there is something said, which may call for sweeps.
            self._add(self._matching.recurse("\n".join(text for _, text, _ in feeding)))
        return following

    def _following(self, state: State, feeding: bool) -> State | None:
        settings, matching = self._settings, self._matching
        # After an older message was looked at, what was said already may go with it.
        again = feeding or (state is State.MIN_ACTIVATIONS and bool(matching.sight.recursion))
        if settings.recursive and again and not self._overflowed:
            return State.RECURSION
        if len(self._active) < settings.min_activations and not self._overflowed:
            depth = settings.depth + matching.widened
            over = 0 < settings.min_activations_depth < depth
            if not over and depth <= len(self._scene.messages):
                self._add(matching.widen())
                return State.MIN_ACTIVATIONS
        if self._levels:
            self._level = self._levels.pop(0)
            return State.RECURSION
        return None

    def _tell_others(self, last: State) -> None:
        # Of those who might have been active: what was in their way in the end.
        for at in sorted(self._pending):
            each = self._matching.entries[at]
            kept = self._kept(each, last)
            if each.entry in self._fates or each.entry.key in self._active:
                continue
            if kept is not None:
                fate = Fate(Outcome.RECURSION, kept, self._sweep - 1)
            elif DONT_ACTIVATE in each.entry.decorators:
                fate = Fate(Outcome.DECORATOR, f"it begins with {DONT_ACTIVATE}", self._sweep - 1)
            else:
                fate = Fate(Outcome.NO_MATCH, self._matching.why(each), self._sweep - 1)
            self._fates[each.entry] = fate

    def _notes(self, state: State | None) -> list[str]:
        notes = []
        if self._verdicts.slow:
            shown = ", ".join(f"/{regex.pattern[:40]}/{regex.flags}" for regex in list(self._verdicts.slow)[:3])
            more = f" and {len(self._verdicts.slow) - 3} more" if len(self._verdicts.slow) > 3 else ""
            notes.append(
                f"regular expressions took too long, or nothing could test them, and match nothing: {shown}{more}"
            )
        if self._matching.work.ended:
            notes.append("there were more keys in longer texts than one activation may search: some were not found")
        if state is not None and not 0 < self._settings.max_sweeps <= self._sweep:
            notes.append(f"the activation ended after {self._sweep} sweeps, though entries still called for others")
        return notes
