"""The terms of an entry as bytes, which a store keeps beside it.

In little-endian: version and three zeros (4 bytes), the number of terms n (u4), the length of the text in terms (u4);
then n ids of terms in ascending order (u8 each), and n times how often each is in the name (u1 each), in the keywords,
in the content. More than 255 times is 255 times.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from innkeeper.knowledge.model.entry import Entry
from innkeeper.knowledge.text.terms import MOST_TERMS, content_terms, entry_keys, name_terms, term_id

TERMS_VERSION: Final = 1
"""Of how terms are made. Bytes of another version are made anew of the entry."""

FIELDS: Final = ("name", "keywords", "content")
"""Where in an entry a term is, in the order of the counts."""

_HEAD = struct.Struct("<B3xII")


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one entry.

    Attributes:
        ids: `terms.term_id` of each, ascending; shape (n,), uint64.
        counts: how often each is in each of `FIELDS`; shape (3, n), uint8.
        length: of the entry in terms.
    """

    ids: NDArray[np.uint64]
    counts: NDArray[np.uint8]
    length: int


def count_terms(*fields: Iterable[str]) -> Terms:
    """The terms of some texts, `MOST_TERMS` at most.

    Args:
        fields: terms of each of `FIELDS`, in their order.
    """
    found: dict[str, list[int]] = {}
    length = 0
    for field, terms in enumerate(fields):
        for term in terms:
            counts = found.get(term)
            if counts is None:
                if len(found) >= MOST_TERMS:
                    continue
                counts = found[term] = [0, 0, 0]
            counts[field] += 1
            # Single characters of scripts without spaces are there beside the pairs that have them.
            length += len(term) > 1 or term.isascii()
    ids = np.fromiter(map(term_id, found), np.uint64, len(found))
    ids, places = np.unique(ids, return_index=True)
    counted = np.minimum(np.array(list(found.values()), np.int64).reshape(-1, len(FIELDS)), 255).astype(np.uint8)
    return Terms(ids, np.ascontiguousarray(counted[places].T), length)


def entry_terms(entry: Entry) -> bytes:
    """The terms of an entry as bytes, 12 and 11 for each of at most `MOST_TERMS`. Linear in the entry's text."""
    keys = (term for key in entry_keys(entry) for term in name_terms(key))
    terms = count_terms(name_terms(entry.displayName or ""), keys, content_terms(entry.text))
    head = _HEAD.pack(TERMS_VERSION, len(terms.ids), terms.length)
    return head + terms.ids.astype("<u8").tobytes() + terms.counts.tobytes()


def read_terms(data: bytes) -> Terms:
    """The terms that bytes mean.

    Raises:
        ValueError: they are no terms of this version; `entry_terms` makes them anew.
    """
    if len(data) < _HEAD.size:
        raise ValueError("the terms of an entry are cut short")
    version, number, length = _HEAD.unpack_from(data)
    if version != TERMS_VERSION:
        raise ValueError(f"the terms of an entry are of version {version}, and not of {TERMS_VERSION}")
    if number > MOST_TERMS or len(data) != _HEAD.size + 11 * number:
        raise ValueError("the terms of an entry have another length than they say")
    ids = np.frombuffer(data, "<u8", number, _HEAD.size).astype(np.uint64, copy=False)
    if number > 1 and not bool((ids[1:] > ids[:-1]).all()):
        raise ValueError("the terms of an entry are not in order")
    counts = np.frombuffer(data, np.uint8, 3 * number, _HEAD.size + 8 * number).reshape(3, number)
    return Terms(ids, counts, length)


@dataclass(frozen=True, slots=True)
class ManyTerms:
    """The terms of some entries, one after the other.

    Attributes:
        ids: `terms.term_id` of each, ascending within an entry; shape (n,), uint64.
        counts: how often each is in each of `FIELDS`; shape (3, n), uint8.
        sizes: how many terms each entry has; shape (entries,), int64.
        lengths: of the entries in terms; shape (entries,), int64.
    """

    ids: NDArray[np.uint64]
    counts: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    lengths: NDArray[np.int64]


def read_many(blobs: Sequence[bytes]) -> ManyTerms:
    """As `read_terms`, of many at once: a tenth of the time.

    Raises:
        ValueError: those of one are no terms of this version.
    """
    ids: list[bytes] = []
    counts: list[list[bytes]] = [[] for _ in FIELDS]
    sizes, lengths = [], []
    for data in blobs:
        size = len(data)
        if size < _HEAD.size:
            read_terms(data)
        version, number, length = _HEAD.unpack_from(data)
        begin = _HEAD.size + 8 * number
        if version != TERMS_VERSION or number > MOST_TERMS or size != begin + 3 * number:
            # It says what is wrong.
            read_terms(data)
        ids.append(data[_HEAD.size : begin])
        for each in counts:
            each.append(data[begin : begin + number])
            begin += number
        sizes.append(number)
        lengths.append(length)
    every = np.frombuffer(b"".join(ids), "<u8").astype(np.uint64, copy=False)
    many = np.array(sizes, np.int64)
    if len(every) > 1:
        rising = every[1:] > every[:-1]
        ends = np.cumsum(many)[:-1]
        rising[ends[(ends > 0) & (ends < len(every))] - 1] = True
        if not bool(rising.all()):
            raise ValueError("the terms of an entry are not in order")
    counted = np.stack([np.frombuffer(b"".join(each), np.uint8) for each in counts])
    return ManyTerms(every, counted, many, np.array(lengths, np.int64))
