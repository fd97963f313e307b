"""The search of one base: built once, kept in step with its changes, asked by whoever looks for entries."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence, Sized
from typing import Final

import numpy as np

from innkeeper.knowledge.embedding.interface import ModelIdentity
from innkeeper.knowledge.retrieval.calibration import Calibration
from innkeeper.knowledge.retrieval.competence import presumed
from innkeeper.knowledge.retrieval.fusion import Balance, balance
from innkeeper.knowledge.retrieval.interface import MOST_HITS, Answer, Change, Filters, Indexed, Mode
from innkeeper.knowledge.retrieval.keyword import score
from innkeeper.knowledge.retrieval.likeness import likeness
from innkeeper.knowledge.retrieval.live import Live
from innkeeper.knowledge.retrieval.pace import Pace
from innkeeper.knowledge.retrieval.ranking import rank, spread_of_words
from innkeeper.knowledge.retrieval.slots import room_for
from innkeeper.knowledge.retrieval.state import State, View
from innkeeper.knowledge.retrieval.vectors import Floats, Spread, as_query
from innkeeper.knowledge.text.scripts import main_script
from innkeeper.knowledge.text.terms import query_terms

_ENABLED: Final = Filters()
_EVERY: Final = Filters(enabled=None)


class Retriever:
    """Searches one base. All methods may be called from any thread.

    Attributes:
        model: that made its vectors, or None without.
        calibration: what cosines mean in it, or None; may be set.
    """

    def __init__(self, model: ModelIdentity | None = None, calibration: Calibration | None = None) -> None:
        self.model = model
        self.calibration = calibration
        self._live = Live(State(None if model is None else model.dimension, room_for(0)))
        self._paces = {mode: Pace(0.0) for mode in Mode}

    @classmethod
    def build(
        cls,
        entries: Iterable[Indexed],
        model: ModelIdentity | None = None,
        calibration: Calibration | None = None,
        *,
        room: int = 0,
        exact: int | None = None,
    ) -> Retriever:
        """A search of some entries. 100,000 take some seconds: for a thread.

        Args:
            entries: each id once, in the order of the base.
            model: that made their vectors. A vector of another dimension, or one that is not finite, is left out.
            calibration: what cosines mean, as kept with the base.
            room: how many entries there are about, where `entries` cannot tell.
            exact: numbers of all vectors up to which each is looked at; None: `vectors.EXACT`.

        Raises:
            ValueError: terms of an entry are of another version of this host; make them anew.
        """
        dimension = None if model is None else model.dimension
        made = cls(model, calibration)
        room = len(entries) if isinstance(entries, Sized) else room
        made._live = Live(State(dimension, room_for(room), exact))
        made._live.load(entries)
        guess = 1e-4 + len(made) * (2e-8 + 1e-10 * (dimension or 0))
        made._paces = {mode: Pace(guess) for mode in Mode}
        return made

    # --- changes ----------------------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change]) -> None:
        """Makes changes, in their order; the next search sees them. Some 0.1 ms for each; many belong into a thread.

        Raises:
            ValueError: terms of an entry cannot be read; nothing is changed then.
        """
        self._live.apply(changes)

    @property
    def wants_upkeep(self) -> bool:
        """Whether `upkeep` has something to do. Quick."""
        return self._live.wanted

    def upkeep(self, stop: threading.Event | None = None) -> None:
        """Merges what is new, drops what is gone, builds the index of a large base. May take a minute, in a thread;
        searches and changes go on meanwhile. Does nothing where another thread is at it.

        Args:
            stop: set: what is not done is left for another time.
        """
        self._live.keep(stop or threading.Event())

    # --- searches ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._live.state.slots.living

    def __contains__(self, id: str) -> bool:
        return id in self._live.state.slots.of

    @property
    def embedded(self) -> int:
        """How many entries have a vector."""
        view = self._live.view((), _EVERY)
        if view.vectors is None:
            return 0
        _, has = view.vectors.read(len(view.alive))
        return int((has & view.alive[: len(has)]).sum())

    def sample(self, most: int) -> Floats:
        """About so many of the base's vectors, from all over it, each of length 1; shape (n, dimension)."""
        view = self._live.view((), _EVERY)
        if view.vectors is None:
            return np.zeros((0, 1), np.float32)
        rows, has = view.vectors.read(len(view.alive))
        slots = np.flatnonzero(has & view.alive[: len(has)])
        return rows[slots[:: max(len(slots) // most, 1)]]

    def expected(self, mode: Mode = Mode.HYBRID) -> float:
        """Seconds that a search takes, by the last ones: what is quicker than a hop to a thread need not make one."""
        return self._paces[mode].seconds

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        vector: Floats | None = None,
        filters: Filters = _ENABLED,
        mode: Mode = Mode.HYBRID,
        exact: bool = False,
    ) -> Answer:
        """The entries that answer a query best.

        Args:
            query: text; the first `terms.MOST_QUERY` characters and `terms.MOST_QUERY_TERMS` terms count.
            k: how many at most, 1 to `MOST_HITS`.
            vector: of the query under the base's model, shape (dimension,); None: only words are searched.
            filters: which ones.
            mode: by what.
            exact: whether every vector is looked at, however many there are.

        Raises:
            ValueError: `k` or the vector is not as it must be.
        """
        if not 1 <= k <= MOST_HITS:
            raise ValueError(f"a search gives 1 to {MOST_HITS} hits, and not {k}")
        with self._paces[mode].measured():
            terms = query_terms(query) if mode is not Mode.SEMANTIC or vector is None else []
            return self._found(self._live.view(terms, filters), query, terms, k, vector, mode, exact)

    def _found(
        self,
        view: View,
        query: str,
        terms: Sequence[str],
        k: int,
        vector: Floats | None,
        mode: Mode,
        exact: bool,
    ) -> Answer:
        notes: list[str] = []
        asked = None
        if mode is not Mode.KEYWORD:
            asked, note = self._query_vector(view, vector)
            notes += note
        competence = self.competence(query)
        if asked is None:
            mode = Mode.KEYWORD
        elif mode is Mode.HYBRID and not terms:
            mode = Mode.SEMANTIC
        elif mode is Mode.HYBRID and balance(competence, 1.0).semantic == 0:
            mode = Mode.KEYWORD
            notes.append(
                f"words alone were searched: the model {self.model.key if self.model else ''} finds little in the "
                f"script {main_script(query)!r} (competence {competence:.2f})"
            )
        found = None
        if mode is not Mode.SEMANTIC:
            found = score(view.places, view.alive, view.lengths, view.living, view.length)
        like = None
        if mode is not Mode.KEYWORD and asked is not None and view.vectors is not None:
            like = likeness(view.vectors, view.nearest, asked, view.allowed, view.alive, k, exact=exact)
        weights = Balance(0.0, 1.0)
        words = Spread(0.0, 0.0)
        if found is not None:
            words = spread_of_words(found, view.living)
            if mode is Mode.HYBRID:
                top = float(np.max(found.scores, initial=0.0, where=view.allowed))
                weights = balance(competence, top / found.most if found.most > 0 else 0.0)
        hits = rank(
            found,
            like,
            weights,
            words,
            k,
            mode=mode,
            living=view.living,
            allowed=view.allowed,
            priorities=view.priorities,
            vectors=view.vectors,
            query=asked,
            ids=view.ids,
        )
        exactly = like is None or like.exact
        return Answer(hits, mode, tuple(notes), exactly, weights.semantic, weights.keyword)

    def competence(self, query: str) -> float:
        """How well the base's model retrieves in a query's script (float, 0 to 1), as measured, else as presumed."""
        script = main_script(query)
        if self.calibration is not None and script in self.calibration.competence:
            return self.calibration.competence[script]
        return presumed(self.model.id if self.model else "", script)

    def _query_vector(self, view: View, vector: Floats | None) -> tuple[Floats | None, list[str]]:
        if view.vectors is None or self.model is None:
            return None, ["words alone were searched: the base has no vectors (`innkeeper kb embed` makes them)"]
        if view.vectors.held == 0:
            return None, ["words alone were searched: no entry has a vector yet (`innkeeper kb embed` makes them)"]
        if vector is None:
            return None, ["words alone were searched: the query has no vector"]
        asked = as_query(vector, self.model.dimension)
        if asked is None:
            return None, ["words alone were searched: the model has nothing to say of the query"]
        return asked, []

    def similarities(self, vector: Floats, *, least: float = -1.0) -> dict[str, float]:
        """The cosines of a text and the entries that likeness of meaning can activate, by id; entries without a vector,
        and those that are not enabled, are left out. One product of matrices.

        Args:
            vector: of the text under the base's model, shape (dimension,).
            least: the smallest cosine that is given.

        Raises:
            ValueError: the vector is not as it must be.
        """
        view = self._live.view((), _ENABLED)
        if view.vectors is None or self.model is None:
            return {}
        asked = as_query(vector, self.model.dimension)
        if asked is None:
            return {}
        like = likeness(view.vectors, None, asked, view.allowed & view.semantic, view.alive, 0, exact=True)
        slots, cosines = like.best(least)
        return {view.ids[slot]: cosine for slot, cosine in zip(slots.tolist(), cosines.tolist(), strict=True)}
