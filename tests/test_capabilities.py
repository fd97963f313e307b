"""What a capability allows: every spelling of one right is one value, and no spelling of a use gets around a scope."""

from __future__ import annotations

from itertools import dropwhile, product, takewhile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.bridge.offer import operations
from innkeeper.plugins import scopes
from innkeeper.plugins.capabilities import FREE, KINDS, MAX_TEXT, Capability, parse_capability
from innkeeper.plugins.grant import Grant
from innkeeper.plugins.manifest import CapabilityRequest
from innkeeper.plugins.rights import NONE, SERVED, WASI, Rights, effective
from innkeeper.plugins.risk import LEVELS, risk, risk_of_all
from innkeeper.plugins.urls import Url, parse_url

DIGEST = "ab" * 32
quick = settings(deadline=None, max_examples=300)

# --- what hypothesis makes: few words, so that scopes and uses meet often -------------------------------------------

_word = st.sampled_from(["a", "b", "A-1"])
_stars = st.sampled_from(["a", "b", "*"])
_pattern = st.builds(
    lambda words, last: ".".join([*words, *last]), st.lists(_stars, max_size=3), st.sampled_from([["**"], ["*"], ["b"]])
)
_host = st.sampled_from(["a.example", "b.a.example", "x.b.a.example", "aa.example", "127.0.0.1", "[::1]"])
_hosts = _host | st.sampled_from(["*", "*.example", "*.a.example", "*.b.a.example"])
_port = st.sampled_from(["", ":443", ":80", ":8080"])
_path = st.lists(st.sampled_from(["v1", "v", "%41", "A", "x%2Fy", "~"]), max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
_paths = st.builds(lambda path, end: path + end, _path, st.sampled_from(["", "*", "/*"])) | st.just("")
_scheme = st.sampled_from(["http", "https", "HTTPS"])
_web = st.builds(lambda s, h, p, path: f"{s}://{h}{p}{path}", _scheme, _hosts, _port, _paths) | st.just("*")
_url = st.builds(
    lambda s, h, p, path, q: f"{s}://{h}{p}{path}{q}", _scheme, _host, _port, _path, st.sampled_from(["", "?q=1", "#f"])
)
_file = st.builds(
    lambda root, parts: f"{root}://{'/'.join(parts)}",
    st.sampled_from(["user", "shared"]),
    st.lists(st.sampled_from(["a", "b", "ab"]), max_size=3),
)
_call = st.sampled_from(["p", "q", "p/f", "p/g", "q/f"])

SCOPES = {
    "kv": st.sampled_from(["", "a", "b"]),
    "events.subscribe": _pattern,
    "call": _call,
    "http": _web,
    "kb.read": st.sampled_from(["*", "a", "b"]),
    "files.read": _file,
}
USES = {
    "kv": st.sampled_from(["", "a", "b", "c", "no name"]),
    "events.subscribe": st.lists(_word, min_size=1, max_size=5).map(".".join),
    "call": st.sampled_from(["p/f", "p/g", "q/f", "p", "p/", "r/f"]),
    "http": _url,
    "kb.read": st.sampled_from(["a", "b", "c", "*", ""]),
    "files.read": _file,
}


@st.composite
def capabilities(draw: st.DrawFn, name: str) -> Capability:
    scope = draw(SCOPES[name])
    return parse_capability(f"{name}:{scope}" if scope else name)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Capability, Capability, str]:
    """Two capabilities of one name, and a use of it."""
    name = draw(st.sampled_from(sorted(SCOPES)))
    return draw(capabilities(name)), draw(capabilities(name)), draw(USES[name])


def test_nobody_is_on_the_way_to_this_machine_and_somebody_may_be_on_each_other_way() -> None:
    for host, clear in {
        "localhost": False,
        "127.0.0.1": False,
        "[::1]": False,
        "192.168.0.1": True,
        "a.b": True,
    }.items():
        assert ("who is on the way" in risk(parse_capability(f"http:http://{host}:8080")).reason) is clear


@quick
@given(pairs())
def test_the_text_of_a_capability_is_read_as_the_same_capability(found: tuple[Capability, Capability, str]) -> None:
    for each in found[:2]:
        assert parse_capability(str(each)) == each


@settings(deadline=None, max_examples=2000)
@given(pairs())
def test_what_two_have_in_common_allows_just_what_both_allow(found: tuple[Capability, Capability, str]) -> None:
    one, two, use = found
    for both in (one.meet(two), two.meet(one)):
        assert (both is not None and both.allows(use)) == (one.allows(use) and two.allows(use))
        if both is not None:
            assert parse_capability(str(both)) == both
            assert one.covers(both)
            assert two.covers(both)


@settings(deadline=None, max_examples=2000)
@given(pairs())
def test_what_covers_another_allows_every_use_of_it(found: tuple[Capability, Capability, str]) -> None:
    one, two, use = found
    assert one.covers(one)
    if one.covers(two) and two.allows(use):
        assert one.allows(use)


def test_a_pattern_of_topics_covers_another_just_where_it_has_all_its_topics() -> None:
    words = ["a", "b", "z"]
    topics = [".".join(each) for length in range(1, 5) for each in product(words, repeat=length)]
    patterns = [
        parse_capability("events.publish:" + ".".join((*head, last)))
        for length in range(3)
        for head in product(["a", "b", "*"], repeat=length)
        for last in ("a", "b", "*", "**")
    ]
    holds = {each: {topic for topic in topics if each.allows(topic)} for each in patterns}
    for one, two in product(patterns, repeat=2):
        assert one.covers(two) == (holds[one] >= holds[two]), (one, two)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_has_an_example_that_is_read_and_a_risk(name: str) -> None:
    found = parse_capability(KINDS[name].example)
    assert (found.name, str(found)) == (name, KINDS[name].example)
    assert bool(found.scope) == (KINDS[name].scope != "none")
    assert risk(found).level in LEVELS
    assert (name in FREE) == (risk(found).level == "none")


def test_the_page_of_capabilities_says_what_the_code_does() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs/capabilities.md").read_text(encoding="utf-8")
    below = page.split("\n## The list\n")[1].split("\n")
    table = takewhile(lambda line: line.startswith("|"), dropwhile(lambda line: not line.startswith("|"), below))
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in table][2:] == [
        [
            f"`{name}`",
            kind.scope,
            f"`{kind.example}`",
            kind.title,
            risk(parse_capability(kind.example)).level,
            "yes" if kind.available else "not yet",
        ]
        for name, kind in KINDS.items()
    ]


def test_only_what_the_host_has_is_available_and_what_reaches_nobody_is_free() -> None:
    offered = {each.capability for each in operations()}
    assert {name for name, kind in KINDS.items() if kind.available} == WASI | SERVED | offered
    assert sorted(FREE) == sorted(name for name, kind in KINDS.items() if kind.free) == ["config", "log", "stream"]
    assert all(KINDS[name].scope == "none" for name in FREE)


def test_a_url_is_read_once_however_many_scopes_a_plugin_has(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(text: str) -> Url:
        read.append(text)
        return parse_url(text)

    monkeypatch.setattr(scopes, "parse_url", counted)
    rights = Rights(tuple(parse_capability(f"http:https://h{number}.example/*") for number in range(100)))
    for url, count in (
        ("https://h99.example/of-this-test", 1),
        ("https://no.example/of-this-test", 1),
        ("x" * 9000, 1),
    ):
        read.clear()
        for _ in range(2):
            assert rights.allows("http", url) == ("h99" in url)
        assert len(read) == count


# --- names and scopes that are wrong --------------------------------------------------------------------------------


def refusal(text: str) -> ValueError | None:
    try:
        parse_capability(text)
    except ValueError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "'' is not a capability; there are: log, config, kv"),
        ("htpp:https://a.b", "'htpp' is not a capability; did you mean 'http'?"),
        ("HTTP:https://a.b", "'HTTP' is not a capability; did you mean 'http'?"),
        (" kv", "' kv' is not a capability; did you mean 'kv'?"),
        ("kb", "'kb' is not a capability; did you mean 'kb.read' or 'kb.write'?"),
        ("clock:utc", "'clock:utc' has a scope: write 'clock', which takes none"),
        ("clock:", "'clock:' has a scope"),
        ("kv:", "'kv:' has an empty scope: write 'kv' for all, or like 'kv:notes'"),
        ("kv:*", "'kv:*' has a wrong scope: it must be a name"),
        ("kv:a/b", "has a wrong scope"),
        ("http", "'http' has no scope: write it like 'http:https://api.example.com/v1/*'"),
        ("kb.read:", "'kb.read:' has no scope"),
        ("kb.read:a b", "it must be the id of a knowledge base, of A-Z a-z 0-9 . _ -, or * for all"),
        ("secrets:*", "it must be one name"),
        ("events.publish:a..b", "it must be words"),
        ("events.publish:a.**.b", "it must be words"),
        ("events.publish:a.b*", "it must be words"),
        ("events.publish:" + ".".join("a" * 17), "it must have at most 16 words"),
        ("call:Words", "it must be the id of a plugin"),
        ("call:words/", "it must be the id of a plugin"),
        ("call:words/\x1b[2J", "it must be the id of a plugin"),
        ("call:*", "it must be the id of a plugin"),
        ("files.read:notes", "it must begin with user:// or shared://"),
        ("files.read:file:///etc", "it must begin with user:// or shared://"),
        ("files.read:user://a/../b", "none of them empty, '.' or '..'"),
        ("files.read:user:///a", "none of them empty"),
        ("files.read:user://a//b", "none of them empty"),
        ("files.read:user://a\\..\\b", "none of them empty"),
        ("files.read:user://a/*", "a folder stands for all that is below it"),
        ("http:ftp://a.example/", "the scheme must be https or http"),
        ("http:api.example.com", "it must begin with https:// or http://"),
        ("http:https://", "the host must have 1 to 253 characters"),
        ("http:https:///path", "the host must have 1 to 253 characters"),
        ("http:https://u:p@a.example/", "no user or password"),
        ("http:https://a.example@b.example/", "no user or password"),
        ("http:https://a.example/?q=1", "no query"),
        ("http:https://a.example/#f", "no query and no fragment"),
        ("http:https://a.example:0/", "the port must be 1 to 65535"),
        ("http:https://a.example:65536/", "the port must be 1 to 65535"),
        ("http:https://a.example:http/", "must be a host"),
        ("http:https://a.*.example/", "the host must be a name"),
        ("http:https://a*.example/", "the host must be a name"),
        ("http:https://*example/", "the host must be a name"),
        ("http:https://*.*.example/", "the host must be a name"),
        ("http:https://*.0.0.1/", "an IPv4 address"),
        ("http:https://*.10.0.0.1/", "must be a name such as example.com"),
        ("http:https://*.[::1]/", "must be a host"),
        ("http:https://[::g]/", "must be a host"),
        ("http:https://[1::2::3]/", "must be an IPv6 address"),
        ("http:https://[fe80::1%25eth0]/", "must be a host"),
        ("http:https://127.1/", "must be an IPv4 address"),
        ("http:https://2130706433/", "must be an IPv4 address"),
        ("http:https://0x7f000001/", "must be an IPv4 address"),
        ("http:https://0177.0.0.1/", "must be an IPv4 address"),
        ("http:https://a.example/a*b", "a path may have one *, at its end"),
        ("http:https://a.example/**", "a path may have one *, at its end"),
        ("http:https://a.example/v1/../*", "no segment '.' or '..'"),
        ("http:https://a.example/v1/%2e%2E/*", "no segment '.' or '..'"),
        ("http:https://a.example/v1/%", "have other characters"),
        ("http:https://a.example/v1 /", "have other characters"),
        ("http:https://a.example\\b.example/", "the host must be a name"),
        ("http:https://a.example/\\..", "have other characters"),
        ("http:https://a.example\n/", "the host must be a name"),
        ("http:https://a.example/\n", "have other characters"),
        ("http:https://-a.example/", "the host must be a name"),
        ("http:https://\u00ad/", "punycode"),
        ("kv:" + "a" * 300, "has 303 characters: the most is 200"),
        ("http:https://a.example/" + "a" * 190, "the most is 200"),
    ],
)
def test_a_wrong_capability_is_one_sentence_that_says_what_would_be_right(text: str, sentence: str) -> None:
    said = str(refusal(text))
    assert sentence in said, said
    assert said.isprintable()
    assert len(said) < 600


def test_a_name_that_becomes_too_long_in_punycode_is_refused() -> None:
    with pytest.raises(ValueError, match="when its host is written in punycode"):
        parse_capability(f"http:https://{'.'.join(['ü' * 12] * 10)}/")


@quick
@given(st.text(max_size=60) | st.builds(lambda name, text: f"{name}:{text}", st.sampled_from(sorted(KINDS)), st.text()))
def test_any_text_is_a_capability_in_normal_form_or_one_sentence(text: str) -> None:
    error = refusal(text)
    if error is not None:
        assert str(error).isprintable()
        return
    found = parse_capability(text)
    assert parse_capability(str(found)) == found
    assert len(str(found)) <= MAX_TEXT


@quick
@given(pairs(), st.text(max_size=80))
def test_no_use_makes_a_check_fail_and_what_is_no_use_is_not_allowed(
    found: tuple[Capability, Capability, str], use: str
) -> None:
    found[0].allows(use)
    assert not found[0].allows(f"{use}\n")
    assert not found[0].allows("\0")


# --- the web --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("HTTPS://API.Example.COM:443/v1/*", "https://api.example.com/v1/*"),
        ("https://api.example.com", "https://api.example.com/*"),
        ("https://api.example.com.", "https://api.example.com/*"),
        ("https://api.example.com/", "https://api.example.com/"),
        ("http://a.example:0080/x", "http://a.example/x"),
        ("https://bücher.example/*", "https://xn--bcher-kva.example/*"),
        ("https://а.example", "https://xn--80a.example/*"),  # Cyrillic: not the "a" that it looks like
        ("https://1２7.0.0.1", "https://127.0.0.1/*"),
        ("https://[0:0:0:0:0:0:0:1]:8443/", "https://[::1]:8443/"),
        ("https://a.example/%7euser/%2f*", "https://a.example/~user/%2F*"),
        ("https://*.Example.com/*", "https://*.example.com/*"),
        ("https://*", "https://*/*"),
        ("*", "*"),
    ],
)
def test_a_scope_of_the_web_has_one_normal_form(text: str, normal: str) -> None:
    assert str(parse_capability(f"http:{text}")) == f"http:{normal}"


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/v1/",
        "https://api.example.com/v1/a/b?q=../..#x",
        "HTTPS://API.example.com.:443/v1/x",
        "https://api.example.com/%761/x",
        "https://api.example.com/v1/a%2Fb",
        "https://api.example.com/v1/..a/...",
    ],
)
def test_every_spelling_of_a_granted_url_is_allowed(url: str) -> None:
    assert parse_capability("http:https://api.example.com/v1/*").allows(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://api.example.com",
        "https://api.example.com/v1",
        "https://api.example.com/v2/",
        "https://api.example.com/V1/",
        "http://api.example.com/v1/",
        "http://api.example.com:443/v1/",
        "https://api.example.com:8443/v1/",
        "https://api.example.com.evil.example/v1/",
        "https://evil.example/v1/",
        "https://x.api.example.com/v1/",
        "https://api.example.com@evil.example/v1/",
        "https://evil.example\\@api.example.com/v1/",
        "https://evil.example#@api.example.com/v1/",
        "https://evil.example?@api.example.com/v1/",
        "https://user@api.example.com/v1/",
        "https://api.example.com/v1/../admin",
        "https://api.example.com/v1/./../admin",
        "https://api.example.com/v1/%2e%2e/admin",
        "https://api.example.com/v1/.%2E/admin",
        "https://api.example.com/v1/..%2fadmin",
        "https://api.example.com/v1/..%5Cadmin",
        "https://api.example.com/v1/%252e%252e/admin",
        "https://api.example.com/v1/%25252e%25252e%25252fadmin",
        "https://api.example.com/v1/..;/admin",
        "https://api.example.com/v1/..;a=b/admin",
        "https://api.example.com/v1/" + "%" + "25" * 30 + "2e",
        "https://api.example.com/v1/\r\nHost: evil.example",
        "https://api.example.com/v1/ x",
        "https://api.example.com/v1/\tx",
        "https://api.example.com/v1/ü",
        "https://api.example.com/v1/?q=\r\n",
        "https://api.example.com\t/v1/",
        " https://api.example.com/v1/",
        "https:api.example.com/v1/",
        "https:/api.example.com/v1/",
        "//api.example.com/v1/",
        "file:///v1/",
        "https://api.example.com/v1/" + "a" * 9000,
    ],
)
def test_no_other_url_is_allowed(url: str) -> None:
    assert not parse_capability("http:https://api.example.com/v1/*").allows(url)


def test_a_host_with_a_star_is_all_below_it_and_not_itself() -> None:
    below = parse_capability("http:https://*.example.com/*")
    assert below.allows("https://a.example.com/")
    assert below.allows("https://a.b.example.com/")
    for other in ("example.com", "aexample.com", "a.example.com.evil.example", ".example.com", "*.example.com"):
        assert not below.allows(f"https://{other}/"), other
    assert parse_capability("http:https://*").allows("https://anything.example/at/all?x")
    assert not parse_capability("http:https://*").allows("http://anything.example/")
    everything = parse_capability("http:*")
    assert everything.allows("http://10.0.0.1:8080/x")
    assert not everything.allows("ftp://a.example/")
    assert everything.covers(below)
    assert not below.covers(everything)


def test_a_url_is_requested_as_it_was_checked() -> None:
    url = parse_url("HTTPS://API.Example.com.:443/%7eme/%2f?q=%20#f")
    assert str(url) == "https://api.example.com/~me/%2F?q=%20"
    assert parse_url(str(url)) == url
    assert str(parse_url("http://a.example")) == "http://a.example/"
    assert str(parse_url("https://[::1]:80/?")) == "https://[::1]:80/?"


@quick
@given(_url)
def test_the_normal_form_of_a_url_is_read_as_itself(text: str) -> None:
    assert parse_url(str(parse_url(text))) == parse_url(text)


_pieces = st.sampled_from(
    [
        *"aZ0.-_~:/?#[]@!$&'()*+,;=% \\\t\n",
        "https://",
        "http://",
        "//",
        "..",
        "%2e",
        "%2F",
        "a.example",
        "b.example:80",
        "[::1]",
        "ü",
    ]
)


@settings(deadline=None, max_examples=2000)
@given(
    st.lists(_pieces, max_size=8).map("".join), st.sampled_from(["", "https://", "http://a.example", "http://[::1]"])
)
def test_another_reader_of_urls_finds_the_same_server_in_what_is_accepted(text: str, start: str) -> None:
    try:
        url = parse_url(start + text)
    except ValueError:
        return
    for each in (str(url), start + text):
        other = urlsplit(each)
        if each.isascii():
            assert (other.hostname or "").removesuffix(".") == url.host.strip("[]")
        assert (other.port or {"http": 80, "https": 443}[other.scheme]) == url.port
        assert (other.username, other.password) == (None, None)
    assert str(url).isascii()
    assert str(url).isprintable()
    assert parse_url(str(url)) == url
    assert not {".", ".."} & set(unquote(url.path).replace("\\", "/").split("/"))


# --- other scopes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        ("kv", ("", "notes"), ("a/b", "\n", "*")),
        ("kv:notes", ("notes",), ("", "Notes", "notes2")),
        ("clock", ("",), ()),
        ("events.publish:a.*", ("a.b",), ("a", "a.b.c", "b.a", "a.*", "a.", "")),
        ("events.publish:a.**", ("a.b", "a.b.c"), ("a", "b.a", "a.**", "a..b")),
        ("events.publish:**", ("a", "a.b.c"), ("", ".", "a.", "a b", ".".join("a" * 17))),
        ("call:words", ("words/count", "words/a/b"), ("words", "words/", "word/s", "words2/count", "words/ x")),
        ("call:words/count", ("words/count",), ("words/counts", "words", "words/coun", "words/count/")),
        ("kb.read:*", ("world",), ("", "*", "a b")),
        ("secrets:KEY", ("KEY",), ("key", "KEY2", "", "*")),
        ("llm.chat", ("", "openai/gpt-4o", "llama3:8b"), ("a b", "*")),
        ("llm.chat:small", ("small",), ("", "large")),
        ("files.read:user://", ("user://", "user://a/b"), ("shared://a", "user://../a", "a", "user:///a")),
        (
            "files.read:user://a/b/",
            ("user://a/b", "user://a/b/c", "user://a/b/*"),
            ("user://a", "user://a/bc", "user://a/b/../c", "user://A/b", "shared://a/b", "user://a/b/\0"),
        ),
    ],
)
def test_a_scope_allows_its_own_uses_and_no_others(text: str, yes: tuple[str, ...], no: tuple[str, ...]) -> None:
    found = parse_capability(text)
    assert [use for use in yes if not found.allows(use)] == []
    assert [use for use in no if found.allows(use)] == []


def test_writing_is_not_reading() -> None:
    write = parse_capability("files.write:user://a")
    assert not write.covers(parse_capability("files.read:user://a"))
    assert write.meet(parse_capability("files.read:user://a")) is None


# --- risk -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("log", "none"),
        ("kv", "low"),
        ("clock", "low"),
        ("events.subscribe:a.b", "low"),
        ("events.subscribe:a.*", "medium"),
        ("events.subscribe:**", "high"),
        ("events.publish:**", "medium"),
        ("kb.read:world", "low"),
        ("kb.read:*", "medium"),
        ("kb.write:world", "high"),
        ("files.read:user://a", "medium"),
        ("files.read:user://", "high"),
        ("files.write:user://a", "high"),
        ("http:https://api.example.com/v1/*", "medium"),
        ("http:http://api.example.com/v1/*", "high"),
        ("http:https://*.example.com", "high"),
        ("http:http://*.example.com", "highest"),
        ("http:https://*", "highest"),
        ("http:*", "highest"),
        ("http:https://localhost", "high"),
        ("http:http://localhost:8080/v1/*", "high"),
        ("http:http://127.0.0.1:8080/*", "high"),
        ("http:http://[::1]:8080", "high"),
        ("http:http://192.168.0.1", "highest"),
        ("http:http://127.example.com", "high"),
        ("http:http://localhost.example.com", "high"),
        ("http:https://printer", "high"),
        ("http:https://nas.local", "high"),
        ("http:https://192.168.0.1", "high"),
        ("http:https://[::ffff:127.0.0.1]", "high"),
        ("http:https://169.254.169.254", "high"),
        ("http:https://8.8.8.8", "medium"),
    ],
)
def test_the_risk_follows_from_the_scope(text: str, level: str) -> None:
    found = risk(parse_capability(text))
    assert found.level == level
    assert found.reason.isprintable()
    assert not found.reason.endswith(".")


@quick
@given(pairs())
def test_what_covers_more_is_not_less_risky(found: tuple[Capability, Capability, str]) -> None:
    one, two, _ = found
    if one.name == "http" and "http://" in two.scope:
        return  # One host without https may be worse than several with it; "*" is the worst anyway.
    private = one.name == "http" and risk(two).reason.endswith("its network")
    if one.covers(two) and not private:
        assert risk(one).rank >= risk(two).rank


def test_starting_any_workflow_is_at_least_as_risky_as_calling_any_one_plugin() -> None:
    found = risk(parse_capability("scheduler.submit"))
    assert found.level == "high"
    assert "every node of this home, native ones apart" in found.reason
    assert found.rank > risk(parse_capability("call:words")).rank


def test_reading_and_reaching_out_are_worse_together_and_it_is_said_why() -> None:
    def of(*texts: str) -> tuple[str, str]:
        found = risk_of_all(map(parse_capability, texts))
        return found.level, found.reason

    assert of()[0] == "none"
    assert of("kv", "kb.read:world")[0] == "low"
    assert of("kv", "http:https://a.example/*")[0] == "medium"
    level, reason = of("kb.read:world", "http:https://a.example/*")
    assert level == "high"
    assert reason == (
        "it can give away what it gets through kb.read:world: it reaches out through http:https://a.example/*"
    )
    assert of("files.read:user://a", "http:https://a.example")[0] == "high"
    assert of("files.read:user://", "http:https://a.example")[0] == "highest"
    assert of("secrets:KEY", "http:https://a.example")[0] == "high"
    assert of("kb.read:world", "http:*")[0] == "highest"
    assert "and 2 more" in of(*(f"kb.read:{name}" for name in "abcd"), "http.serve")[1]


@quick
@given(st.lists(pairs().map(lambda found: found[0]), max_size=6))
def test_a_set_is_at_least_as_risky_as_each_of_it(found: list[Capability]) -> None:
    assert all(risk_of_all(found).rank >= risk(each).rank for each in found)


# --- rights ---------------------------------------------------------------------------------------------------------


def requests(*texts: str) -> list[CapabilityRequest]:
    return [CapabilityRequest(str(parse_capability(text)), "r") for text in texts]


def granted(*texts: str) -> Grant:
    return Grant(DIGEST, capabilities=tuple(map(parse_capability, texts)))


def test_without_a_grant_or_a_request_there_is_nothing_but_what_is_free() -> None:
    for rights in (NONE, effective([], None), effective([], granted("kv")), effective(requests("kv"), None)):
        assert [name for name in KINDS if rights.scopes(name)] == ["log", "config", "stream"]
        assert rights.allows("log")
        assert rights.allows("config")
        assert not rights.allows("kv")
        assert not rights.allows("no such thing")


def test_rights_are_what_is_requested_and_granted() -> None:
    rights = effective(
        requests("kv", "http:https://api.example.com/v1/*", "kb.read:world", "events.subscribe:a.*", "log"),
        granted("kv:notes", "http:https://*.example.com/*", "events.subscribe:*.b"),
    )
    assert rights.scopes("kv") == ("notes",)
    assert rights.scopes("http") == ("https://api.example.com/v1/*",)
    assert rights.scopes("events.subscribe") == ("a.b",)
    assert rights.allows("kv", "notes")
    assert not rights.allows("kv")
    assert rights.missing == (parse_capability("kb.read:world"),)
    assert rights.covers(parse_capability("events.subscribe:a.b"))
    assert not rights.covers(parse_capability("events.subscribe:a.*"))


def test_what_is_granted_beyond_the_requests_has_no_effect_and_is_named() -> None:
    rights = effective(requests("kv:notes"), granted("kv", "http:*", "log"))
    assert rights.capabilities == (parse_capability("kv:notes"),)
    assert rights.problems == (
        "kv is granted, and only kv:notes requested; the rest has no effect",
        "http:* is granted, and not requested; it has no effect",
    )


@st.composite
def asked_and_given(draw: st.DrawFn) -> tuple[list[Capability], list[Capability], str, str]:
    name = draw(st.sampled_from(sorted(SCOPES)))
    some = st.lists(capabilities(name), max_size=4)
    return draw(some), draw(some), name, draw(USES[name])


@settings(deadline=None, max_examples=1000)
@given(asked_and_given())
def test_a_use_is_allowed_just_where_a_request_and_a_grant_allow_it(
    found: tuple[list[Capability], list[Capability], str, str],
) -> None:
    asked, given_, name, use = found
    rights = effective(requests(*map(str, asked)), granted(*map(str, given_)))
    expected = any(each.allows(use) for each in asked) and any(each.allows(use) for each in given_)
    assert rights.allows(name, use) == expected
    assert all(any(each.covers(one) for each in given_) for one in rights.capabilities)
    assert all(any(each.covers(one) for each in asked) for one in rights.capabilities)
    assert Rights(rights.capabilities).allows(name, use) == expected
