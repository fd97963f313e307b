"""What may follow the name of a capability: which uses a scope allows, and what two scopes have in common.

A scope stands for a set of uses. Every kind of scope is closed under intersection: what two have in common is a scope
again, or nothing. So rights are computed exactly, and one scope covers another if their intersection is that other.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from innkeeper.plugins.urls import Url, normal_host, normal_path, origin, parse_url, split_url


class Scope(ABC):
    """A set of uses."""

    __slots__ = ()

    @property
    @abstractmethod
    def text(self) -> str:
        """Its normal form (str); reading it gives an equal scope."""

    @abstractmethod
    def allows(self, use: str) -> bool:
        """Whether it holds this use. What is no use at all is in no scope."""

    @abstractmethod
    def meet(self, other: Self) -> Self | None:
        """The uses that both allow, exactly; None if there are none. `other` is of the same kind."""


Reader = Callable[[str], Scope]
"""Makes a scope of its text; raises `ValueError` with what would be right."""


@dataclass(frozen=True, slots=True)
class NoScope(Scope):
    """Of a capability whose uses are not told apart."""

    @property
    def text(self) -> str:
        return ""

    def allows(self, use: str) -> bool:
        return True

    def meet(self, other: Self) -> Self | None:
        return self


def no_scope(text: str) -> NoScope:
    """The scope of a capability that takes none."""
    return NoScope()


@dataclass(frozen=True, slots=True)
class AudienceScope(Scope):
    """Who is answered: whoever is logged in, or anybody."""

    public: bool

    @property
    def text(self) -> str:
        return "public" if self.public else "users"

    def allows(self, use: str) -> bool:
        return use in ("", "users") or (use == "public" and self.public)

    def meet(self, other: Self) -> Self | None:
        return self if other.public else other


def read_audience(text: str) -> AudienceScope:
    """users or public; nothing is users."""
    if text not in ("", "users", "public"):
        raise ValueError("it must be users or public")
    return AudienceScope(text == "public")


# --- names ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NameScope(Scope):
    """One name, or all of them.

    Attributes:
        name: the name; "" or "*" for all, as the capability writes it.
        shape: what a name looks like.
    """

    name: str
    shape: re.Pattern[str]

    @property
    def text(self) -> str:
        return self.name

    @property
    def everything(self) -> bool:
        """Whether it stands for all names (bool)."""
        return self.name in ("", "*")

    def allows(self, use: str) -> bool:
        if not self.everything:
            return use == self.name
        # Where the scope may be left out, so may the name: it is then the default one.
        return (use == "" and self.name == "") or self.shape.fullmatch(use) is not None

    def meet(self, other: Self) -> Self | None:
        if self.everything or self == other:
            return other
        return self if other.everything else None


def names(shape: str, right: str, *, everything: str | None = None) -> Reader:
    """A reader of scopes that are one name.

    Args:
        shape: pattern of a name.
        right: what would be right: "must be RIGHT".
        everything: what stands for all names: "*", "" where the scope may be left out, None where nothing does.
    """
    pattern = re.compile(shape)

    def read(text: str) -> NameScope:
        if text != everything and pattern.fullmatch(text) is None:
            raise ValueError(f"it must be {right}" + (", or * for all" if everything == "*" else ""))
        return NameScope(text, pattern)

    return read


# --- topics ---------------------------------------------------------------------------------------------------------

MAX_WORDS = 16
"""Words of a topic."""

_WORD = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class TopicScope(Scope):
    """Topics of a pattern: "*" stands for one word, "**" at the end for one or more."""

    words: tuple[str, ...]

    @property
    def text(self) -> str:
        return ".".join(self.words)

    def allows(self, use: str) -> bool:
        words = use.split(".", MAX_WORDS)
        if len(words) > MAX_WORDS or any(_WORD.fullmatch(word) is None for word in words):
            return False
        own = self.words
        if own[-1] == "**":
            own = own[:-1]
            if len(words) <= len(own):
                return False
        elif len(words) != len(own):
            return False
        return all(one in ("*", word) for one, word in zip(own, words, strict=False))

    def meet(self, other: Self) -> Self | None:
        found = _meet_words(self.words, other.words)
        return None if found is None or len(found) > MAX_WORDS else type(self)(found)


def _meet_words(one: Sequence[str], two: Sequence[str]) -> tuple[str, ...] | None:
    found: list[str] = []
    for position in range(max(len(one), len(two))):
        rest_one, rest_two = one[position:], two[position:]
        if not rest_one or not rest_two:
            return None
        if rest_one[0] == "**":
            return (*found, *rest_two)
        if rest_two[0] == "**":
            return (*found, *rest_one)
        if rest_one[0] != rest_two[0] and "*" not in (rest_one[0], rest_two[0]):
            return None
        found.append(rest_two[0] if rest_one[0] == "*" else rest_one[0])
    return tuple(found)


def read_topics(text: str) -> TopicScope:
    """A pattern of topics from its text."""
    words = tuple(text.split(".", MAX_WORDS))
    if len(words) > MAX_WORDS:
        raise ValueError(f"it must have at most {MAX_WORDS} words")
    if any(word != "*" and _WORD.fullmatch(word) is None for word in words[:-1]) or (
        words[-1] not in ("*", "**") and _WORD.fullmatch(words[-1]) is None
    ):
        raise ValueError("it must be words of A-Z a-z 0-9 _ - joined by '.'; * is one word, ** at the end is the rest")
    return TopicScope(words)


# --- functions of plugins -------------------------------------------------------------------------------------------

_PLUGIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_MAX_FUNCTION = 128


@dataclass(frozen=True, slots=True)
class CallScope(Scope):
    """One function of a plugin, or all of it (None)."""

    plugin: str
    function: str | None

    @property
    def text(self) -> str:
        return self.plugin if self.function is None else f"{self.plugin}/{self.function}"

    def allows(self, use: str) -> bool:
        plugin, slash, function = use.partition("/")
        if not slash or plugin != self.plugin:
            return False
        return _is_function(function) if self.function is None else function == self.function

    def meet(self, other: Self) -> Self | None:
        if self.plugin != other.plugin:
            return None
        if self.function is None or self == other:
            return other
        return self if other.function is None else None


def read_call(text: str) -> CallScope:
    """PLUGIN or PLUGIN/FUNCTION."""
    plugin, slash, function = text.partition("/")
    if _PLUGIN.fullmatch(plugin) is None or (slash and not _is_function(function)):
        raise ValueError("it must be the id of a plugin, or the id, a / and the name of a function")
    return CallScope(plugin, function if slash else None)


def _is_function(text: str) -> bool:
    return 0 < len(text) <= _MAX_FUNCTION and text.isprintable() and text == text.strip()


# --- web ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WebScope(Scope):
    """URLs of http and https.

    Attributes:
        scheme: "http", "https", or "" for both with every host and port.
        host: a host in normal form, "*.example.com" for all below example.com, or "*".
        port: the port.
        path: a path in normal form, or how it begins.
        exact: whether `path` is the whole of it. A query may follow in any case.
    """

    scheme: str
    host: str
    port: int
    path: str
    exact: bool

    @property
    def text(self) -> str:
        if not self.scheme:
            return "*"
        return f"{origin(self.scheme, self.host, self.port)}{self.path}{'' if self.exact else '*'}"

    def allows(self, use: str) -> bool:
        url = _url(use)
        return url is not None and self.allows_url(url)

    @property
    def literal(self) -> bool:
        """Whether it names an address, or this machine as `localhost` (bool). It then means more than a pattern that
        covers it: an address that is not public is only reached under such a scope."""
        return self.host == "localhost" or self.host.endswith("]") or self.host.rpartition(".")[2].isdigit()

    def allows_url(self, url: Url) -> bool:
        """As `allows`, for a URL that was read already."""
        if not self.scheme:
            return True
        return (
            url.scheme == self.scheme
            and url.port == self.port
            and _meet_hosts(self.host, url.host) == url.host
            and (url.path == self.path if self.exact else url.path.startswith(self.path))
        )

    def meet(self, other: Self) -> Self | None:
        if not self.scheme or not other.scheme:
            return other if not self.scheme else self
        host = _meet_hosts(self.host, other.host)
        if (self.scheme, self.port) != (other.scheme, other.port) or host is None:
            return None
        narrow, wide = (
            (self, other) if (self.exact, len(self.path)) >= (other.exact, len(other.path)) else (other, self)
        )
        if narrow.path != wide.path if wide.exact else not narrow.path.startswith(wide.path):
            return None
        return type(self)(self.scheme, host, self.port, narrow.path, narrow.exact)


@lru_cache(maxsize=64)
def _url(text: str) -> Url | None:
    # A plugin may have hundreds of scopes, and reading a long URL takes a millisecond or two: once for all of them.
    try:
        return parse_url(text)
    except ValueError:
        return None


def _meet_hosts(one: str, two: str) -> str | None:
    if one == "*" or one == two:
        return two
    if two == "*":
        return one
    if one.startswith("*") and two.endswith(one[1:]):
        return two
    return one if two.startswith("*") and one.endswith(two[1:]) else None


def read_web(text: str) -> WebScope:
    """SCHEME://HOST[:PORT][/PATH], or "*"."""
    if text == "*":
        return WebScope("", "*", 0, "/", False)
    scheme, host, port, path, query = split_url(text)
    if query is not None or "#" in text:
        raise ValueError("it must have no query and no fragment")
    if host.startswith("*."):
        host = f"*.{normal_host(host[2:])}"
        if host.rpartition(".")[2].isdigit() or host.endswith("]"):
            raise ValueError("what follows *. must be a name such as example.com")
    elif host != "*":
        host = normal_host(host)
    path = "/*" if path is None else path
    exact = not path.endswith("*")
    if "*" in path[:-1]:
        raise ValueError("a path may have one *, at its end")
    return WebScope(scheme, host, port, normal_path(path if exact else path[:-1]), exact)


# --- files ----------------------------------------------------------------------------------------------------------

_ROOTS = ("user", "shared")


@dataclass(frozen=True, slots=True)
class FileScope(Scope):
    """A folder or file of a logical root, with all that is below.

    Attributes:
        root: "user" or "shared".
        parts: names from the root on; none for the whole root.
    """

    root: str
    parts: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"{self.root}://{'/'.join(self.parts)}"

    def allows(self, use: str) -> bool:
        try:
            found = _read_path(use)
        except ValueError:
            return False
        return found.root == self.root and found.parts[: len(self.parts)] == self.parts

    def meet(self, other: Self) -> Self | None:
        narrow, wide = (self, other) if len(self.parts) >= len(other.parts) else (other, self)
        return narrow if narrow.root == wide.root and narrow.parts[: len(wide.parts)] == wide.parts else None


def read_files(text: str) -> FileScope:
    """user://PATH or shared://PATH."""
    if "*" in text:
        raise ValueError("it must have no *: a folder stands for all that is below it")
    return _read_path(text)


def _read_path(text: str) -> FileScope:
    root, separator, path = text.partition("://")
    if not separator or root not in _ROOTS:
        raise ValueError("it must begin with user:// or shared://")
    parts = tuple(path.removesuffix("/").split("/")) if path else ()
    if any(part in ("", ".", "..") or "\\" in part or not part.isprintable() for part in parts):
        raise ValueError("its path must be names joined by '/', none of them empty, '.' or '..'")
    return FileScope(root, parts)
