"""What an operator agrees to is what is written, and nothing is given that nobody was shown."""

from __future__ import annotations

import os
import stat
import tomllib
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.errors import UsageError
from innkeeper.plugins import consent
from innkeeper.plugins.capabilities import KINDS, Capability, parse_capability
from innkeeper.plugins.consent import Plan, plan_consent, revoked, write_grant
from innkeeper.plugins.grant import Grant, format_grant, parse_grant
from innkeeper.plugins.manifest import CapabilityRequest, Manifest
from innkeeper.plugins.quantities import LIMITS
from innkeeper.plugins.rights import effective
from innkeeper.plugins.secret_use import SecretUse
from innkeeper.plugins.tables import MAX_BYTES, SettingsError

DIGEST, OTHER = "ab" * 32, "cd" * 32
LABEL = "manifests/demo.toml"


def read(data: bytes | str) -> Grant:
    return parse_grant(data.encode() if isinstance(data, str) else data, where=LABEL)


def caps(*texts: str) -> tuple[Capability, ...]:
    return tuple(map(parse_capability, texts))


def manifest(*names: str, required: tuple[str, ...] = (), version: str = "1.0") -> Manifest:
    requests = tuple(CapabilityRequest(str(parse_capability(name)), "r", name not in required) for name in names)
    return Manifest("demo", version, "demo", capabilities=requests)


def plan(
    wanted: Manifest | None,
    before: Grant | None = None,
    *deny: str,
    everything: bool = False,
    only: tuple[str, ...] = (),
) -> Plan:
    return plan_consent("demo", wanted, DIGEST, before, deny=deny, everything=everything, chosen=only)


def given_of(found: Plan) -> list[str]:
    return [str(each) for each in found.grant.capabilities]


# --- the file -------------------------------------------------------------------------------------------------------


def test_a_grant_without_the_new_keys_is_what_it_was() -> None:
    found = read(f'sha256 = "{DIGEST}"\ninstance = "shared"\n[limits]\ncpu = 2\n[config]\na = "b"\n')
    assert found == Grant(DIGEST, limits={"cpu": 2.0}, config={"a": "b"}, shared=True)
    assert (found.capabilities, found.asked, found.version) == ((), (), None)


def test_a_grant_gives_capabilities_and_remembers_what_was_asked() -> None:
    found = read(
        f'sha256 = "{DIGEST}"\ncapabilities = ["kv", "http:HTTPS://Api.example.com/v1/*", "kv"]\n'
        '[consent]\nversion = "1.2.0"\nasked = ["kv", "http:*"]\n'
    )
    assert found.capabilities == caps("kv", "http:https://api.example.com/v1/*")
    assert (found.asked, found.version) == (caps("kv", "http:*"), "1.2.0")


def test_every_mistake_of_a_grant_is_found_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read(
            f'sha256 = "{DIGEST}"\ncapabilities = ["kvv", 3, "kv", "clock:utc"]\n'
            '[consent]\nasked = "kv"\nversion = "one two"\nversoin = "1"\n'
        )
    assert caught.value.problems == [
        "manifests/demo.toml: capabilities[0] is not right: 'kvv' is not a capability; did you mean 'kv'?",
        'manifests/demo.toml: capabilities[1] is not right: 3 must be text, such as "kv"',
        "manifests/demo.toml: capabilities[3] is not right: 'clock:utc' has a scope: write 'clock', which takes none",
        "manifests/demo.toml: consent.versoin is not a key here; did you mean 'version'?",
        "manifests/demo.toml: consent.asked is 'kv': it must be a list of capabilities such as [\"kv\"]",
        "manifests/demo.toml: consent.version is 'one two': it must be a version such as \"1.0.0\"",
    ]
    with pytest.raises(SettingsError, match=r"has 300 entries: the most is 256"):
        read(f'sha256 = "{DIGEST}"\ncapabilities = {["kv"] * 300}\n')


_capabilities = st.lists(
    st.sampled_from([kind.example for kind in KINDS.values()] + ["kv", "http:*", "call:p/\"f\\ü'"]), unique=True
).map(lambda texts: caps(*texts))
_quantities = {
    "size": st.integers(1, 1 << 53) | st.sampled_from([1 << 10, 3 << 20, 1 << 30]),
    "count": st.integers(1, 1 << 53),
    "duration": st.floats(min_value=0, max_value=1 << 53, exclude_min=True, allow_nan=False),
}
_limits = st.fixed_dictionaries({}, optional={key: _quantities[unit] for key, unit in LIMITS.items()})
_texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["." * 300, '"""', "\0\x1b\u202e\r\n\\", ""]
)
_hosts = st.lists(
    st.sampled_from(["https://a.example", "http://127.0.0.1:8080", "https://[::1]", "https://xn--bcher-kva.example"]),
    min_size=1,
    unique=True,
).map(tuple)
_uses = st.builds(
    SecretUse,
    _hosts,
    header=st.sampled_from(["Authorization", "X-Key", "x!#$%&'*+.^_`|~"]),
    prefix=st.from_regex(r"(?:[!-~][ -~]{0,63})?", fullmatch=True),
) | st.builds(SecretUse, _hosts, query=st.from_regex(r"[A-Za-z0-9._~-]{1,64}", fullmatch=True))
_grants = st.builds(
    Grant,
    st.text("0123456789abcdef", min_size=64, max_size=64),
    limits=_limits,
    config=st.dictionaries(_texts, _texts, max_size=5),
    shared=st.booleans(),
    capabilities=_capabilities,
    asked=_capabilities,
    version=st.none() | st.from_regex(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}", fullmatch=True),
    secrets=st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,63}", fullmatch=True), _uses, max_size=4),
)


@settings(deadline=None, max_examples=500)
@given(_grants)
def test_a_grant_that_is_written_is_read_as_it_was(grant: Grant) -> None:
    data = format_grant(grant)
    assert read(data) == grant
    assert tomllib.loads(data.decode())["sha256"] == grant.sha256
    assert all(line.isprintable() for line in data.decode().split("\n"))
    assert format_grant(read(data)) == data


def test_a_grant_is_written_as_people_write_it() -> None:
    grant = Grant(
        DIGEST,
        limits={"memory": 128 << 20, "cpu": 0.5, "input": 1000},
        config={"language": "en", "a b": 'say "hi"\n'},
        shared=True,
        capabilities=caps("kv"),
        asked=caps("kv", "clock"),
        version="1.2.0",
    )
    assert format_grant(grant).decode() == (
        f'sha256 = "{DIGEST}"\ncapabilities = [\n    "kv",\n]\ninstance = "shared"\n\n'
        '[consent]\nversion = "1.2.0"\nasked = [\n    "kv",\n    "clock",\n]\n\n'
        '[limits]\nmemory = "128MiB"\ncpu = 0.5\ninput = 1000\n\n'
        '[config]\nlanguage = "en"\n"a b" = "say \\"hi\\"\\u000a"\n'
    )
    assert format_grant(Grant(DIGEST)).decode() == f'sha256 = "{DIGEST}"\n'


# --- plans ----------------------------------------------------------------------------------------------------------


def test_the_first_consent_gives_what_is_asked_and_keeps_what_was_asked() -> None:
    found = plan(manifest("kv", "http:https://a.example/*", "log", version="1.2.0"))
    assert (found.bytes, found.more, found.unmet, found.gone) == ("first", True, (), ())
    assert [item.change for item in found.items] == ["new", "new", "new"]
    assert given_of(found) == ["kv", "http:https://a.example/*"]
    assert found.grant == Grant(DIGEST, capabilities=found.grant.asked, asked=found.grant.asked, version="1.2.0")
    assert found.risk.level == "medium"


def test_a_plugin_without_a_manifest_gets_a_grant_for_its_limits() -> None:
    found = plan(None)
    assert (found.items, found.grant, found.risk.level) == ((), Grant(DIGEST), "none")


def test_what_needs_no_grant_is_not_written_and_cannot_be_denied() -> None:
    found = plan(manifest("log", "config", required=("log",)))
    assert [item.free for item in found.items] == [True, True]
    assert (given_of(found), found.grant.asked, found.unmet) == ([], (), ())
    with pytest.raises(UsageError, match="log cannot be denied: every plugin has it"):
        plan(manifest("log"), None, "log")


def test_new_bytes_that_ask_for_the_same_or_less_are_told_from_those_that_ask_for_more() -> None:
    before = plan(manifest("kv", "http:https://a.example/*", "clock")).grant
    before = Grant(OTHER, capabilities=before.capabilities, asked=before.asked, version="1.0")
    same = plan(manifest("clock", "http:https://a.example/*", "kv"), before)
    assert (same.bytes, same.more, same.gone) == ("changed", False, ())
    fewer = plan(manifest("kv:notes", "http:https://a.example/v1/*"), before)
    assert [item.change for item in fewer.items] == ["narrower", "narrower"]
    assert (fewer.more, fewer.gone) == (False, caps("clock"))
    assert given_of(fewer) == ["kv:notes", "http:https://a.example/v1/*"]
    more = plan(manifest("kv", "http:https://*.example/*", "random"), before)
    assert [item.change for item in more.items] == ["same", "wider", "new"]
    assert more.more
    assert given_of(more) == ["kv", "http:https://*.example/*", "random"]


def test_what_was_denied_or_narrowed_stays_so_until_somebody_says_otherwise() -> None:
    asks = manifest("kv", "clock", "http:https://a.example/*", "random")
    before = plan(asks, None, "clock").grant
    narrowed = Grant(
        OTHER, capabilities=caps("kv", "random", "http:https://a.example/v1/*"), asked=before.asked, version="1.0"
    )
    found = plan(asks, narrowed)
    assert given_of(found) == ["kv", "http:https://a.example/v1/*", "random"]
    assert [(item.whole, item.denied) for item in found.items] == [
        (True, False),
        (False, True),
        (False, False),
        (True, False),
    ]
    wider = plan(manifest("kv", "clock", "http:*"), narrowed)
    assert given_of(wider) == ["kv", "http:https://a.example/v1/*"]
    assert given_of(plan(asks, narrowed, everything=True)) == ["kv", "clock", "http:https://a.example/*", "random"]
    assert given_of(plan(asks, narrowed, "http", everything=True)) == ["kv", "clock", "random"]


def test_what_an_operator_wrote_by_hand_is_not_widened() -> None:
    by_hand = Grant(OTHER, capabilities=caps("http:https://a.example/v1/*"))
    assert given_of(plan(manifest("http:https://a.example/*", "kv"), by_hand)) == ["http:https://a.example/v1/*", "kv"]


def test_after_a_revocation_everything_is_asked_anew_and_the_rest_stays() -> None:
    before = Grant(DIGEST, {"cpu": 2.0}, {"a": "b"}, True, caps("kv"), caps("kv", "clock"), "1.0")
    after = revoked(before)
    assert after == Grant(DIGEST, {"cpu": 2.0}, {"a": "b"}, True)
    found = plan(manifest("kv", "clock"), after)
    assert [item.change for item in found.items] == ["new", "new"]
    assert (found.grant.limits, found.grant.config, found.grant.shared) == ({"cpu": 2.0}, {"a": "b"}, True)


def test_a_consent_that_changes_nothing_is_needless() -> None:
    first = plan(manifest("kv", "clock"), None, "clock")
    assert not first.needless
    assert plan(manifest("kv", "clock"), first.grant).needless
    assert not plan(manifest("kv", "clock"), Grant(OTHER)).needless


def test_denying_what_the_plugin_needs_is_named() -> None:
    found = plan(manifest("kv", "clock", required=("kv",)), None, "kv")
    assert [item.request.name for item in found.unmet] == ["kv"]
    assert given_of(found) == ["clock"]
    assert plan(manifest("kv", required=("kv",)), None).unmet == ()


def test_a_name_alone_denies_all_of_that_name_and_a_wide_scope_all_below_it() -> None:
    asks = manifest("http:https://a.example/*", "http:https://b.example/v1/*", "kv")
    assert given_of(plan(asks, None, "http")) == ["kv"]
    assert given_of(plan(asks, None, "http:*")) == ["kv"]
    assert given_of(plan(asks, None, "http:https://a.example")) == ["http:https://b.example/v1/*", "kv"]
    assert given_of(plan(asks, None, "http", "kv")) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("clock", "'clock' cannot be denied: the plugin does not ask for it; it asks for kv, http:https://a.example/*"),
        ("cloc", "'cloc' cannot be denied: 'cloc' is not a capability; did you mean 'clock'?"),
        ("http:https://b.example", "'http:https://b.example' cannot be denied: the plugin does not ask for it"),
        ("kv:notes", "kv:notes cannot be denied: it is a part of kv, which can only be denied whole"),
        ("http:https://*/v1/*", "it is a part of http:https://a.example/*"),
    ],
)
def test_a_denial_that_would_do_nothing_or_half_is_an_error(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(manifest("kv", "http:https://a.example/*"), None, text)
    assert sentence in caught.value.message


_few = st.lists(
    st.sampled_from(
        ["kv", "kv:a", "kv:b", "clock", "http:*", "http:https://a.example/*", "http:https://*.example/v1/*", "log"]
    ),
    unique=True,
)


@settings(deadline=None, max_examples=500)
@given(_few, _few, _few, st.booleans())
def test_no_plan_gives_more_than_is_asked_and_none_widens_what_is_the_same(
    asked: list[str], before: list[str], granted: list[str], exists: bool
) -> None:
    old = Grant(OTHER, capabilities=caps(*granted), asked=caps(*before)) if exists else None
    found = plan(manifest(*asked), old)
    rights = effective(manifest(*asked).capabilities, found.grant)
    assert rights.problems == ()
    assert all(any(each.covers(one) for each in found.grant.capabilities) for one in rights.capabilities)
    assert all(rights.covers(each) for each in found.grant.capabilities)
    assert read(format_grant(found.grant)) == found.grant
    if old is not None:
        for item in found.items:
            if item.change in ("same", "narrower"):
                assert all(any(each.covers(one) for each in old.capabilities) for one in item.given)
    # Who agreed once and is shown the same again is not asked to agree to anything else.
    assert plan(manifest(*asked), found.grant).needless
    assert not plan(manifest(*asked), found.grant).more


WIDE = manifest("log", "kv", "http:*", "http:https://api.example.com/*", "call:words", required=("kv",))


@pytest.mark.parametrize(
    ("only", "given"),
    [
        (("kv",), ["kv"]),
        (("kv:notes", "kv:more"), ["kv:notes", "kv:more"]),
        (("kv:notes", "kv"), ["kv"]),
        (("http:https://api.example.com/v1/*",), ["http:https://api.example.com/v1/*"]),
        (("http:HTTPS://API.example.com:443/v1/*",), ["http:https://api.example.com/v1/*"]),
        (("http:https://other.example/",), ["http:https://other.example/"]),
        (("http",), ["http:*"]),
        (("call", "kv"), ["kv", "call:words"]),
        (("call:words/count",), ["call:words/count"]),
        # Whoever names an address gives more than the pattern around it.
        (("http:*", "http:http://127.0.0.1:8080/*"), ["http:*", "http:http://127.0.0.1:8080/*"]),
    ],
)
def test_only_this_is_given_as_narrow_as_it_is_said(only: tuple[str, ...], given: list[str]) -> None:
    before = Grant(OTHER, capabilities=caps("clock", "http:http://10.0.0.1/*", "call:words"), asked=caps("http:*"))
    for grant in (None, before):
        found = plan(WIDE, grant, only=only)
        assert given_of(found) == given
        assert all(effective(WIDE.capabilities, found.grant).covers(each) for each in caps(*given))
        assert set(found.grant.asked) == {each.capability for each in WIDE.capabilities if each.name != "log"}
    assert bool(found.unmet) == ("kv" not in only)
    # And so it stays, until somebody says something else.
    again = plan(WIDE, found.grant)
    assert again.needless
    assert given_of(plan(WIDE, found.grant, only=("kv:x",))) == ["kv:x"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("log", "log needs no grant: every plugin has it"),
        ("clock", "'clock' cannot be given: the plugin does not ask for it; it asks for kv, http:*, "),
        ("call:other", "the plugin does not ask for it"),
        ("kb.read:*", "the plugin asks for less, kb.read:world; give that, or a part of it"),
        ("nothing", "'nothing' cannot be given: 'nothing' is not a capability"),
        ("kv:", "has an empty scope"),
    ],
)
def test_nothing_is_given_that_was_not_asked_for(text: str, sentence: str) -> None:
    more = manifest(*(each.name for each in WIDE.capabilities), "kb.read:world")
    with pytest.raises(UsageError) as found:
        plan(more, None, only=("kv", text))
    assert sentence in found.value.message


def test_what_is_given_alone_stands_beside_nothing_that_says_otherwise() -> None:
    for wrong in (lambda: plan(WIDE, None, "kv", only=("kv",)), lambda: plan(WIDE, everything=True, only=("kv",))):
        with pytest.raises(UsageError, match="not both"):
            wrong()
    with pytest.raises(UsageError, match="at most 256"):
        plan(WIDE, only=tuple(f"kv:a{number}" for number in range(300)))


@given(st.lists(st.sampled_from([kind.example for kind in KINDS.values()]), unique=True), st.data())
@settings(deadline=None, max_examples=50)
def test_only_never_gives_more_than_is_asked(asked: list[str], data: st.DataObject) -> None:
    wanted = manifest(*asked)
    only = tuple(data.draw(st.lists(st.sampled_from([kind.example for kind in KINDS.values()]), min_size=1)))
    try:
        found = plan(wanted, only=only)
    except UsageError:
        assert not set(only) <= set(asked) or {"log", "config", "stream"} & set(only)
        return
    assert set(found.grant.capabilities) == set(caps(*only)) <= set(caps(*asked))


def test_a_grant_in_more_pieces_than_it_can_hold_is_an_error() -> None:
    asked = [f"events.subscribe:{''.join(word)}.*.*" for word in product("ab", repeat=5)]
    pieces = caps(*(f"events.subscribe:*.{''.join(word)}.**" for word in product("ab", repeat=5)))
    before = Grant(OTHER, capabilities=pieces, asked=pieces)
    with pytest.raises(UsageError, match=r"it would get 1024 capabilities, the most is 256: .* revoke it first"):
        plan(manifest(*asked), Grant(OTHER, capabilities=pieces))
    assert len(plan(manifest(*asked), revoked(before)).grant.capabilities) == 32


# --- writing --------------------------------------------------------------------------------------------------------


def test_a_grant_is_written_whole_readable_for_all_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "manifests" / "demo.toml"
    grant = Grant(DIGEST, capabilities=caps("kv"))
    mask = os.umask(0o077)
    try:
        write_grant(path, grant, label=LABEL)
    finally:
        os.umask(mask)
    assert read(path.read_bytes()) == grant
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    write_grant(path, revoked(grant), label=LABEL)
    assert read(path.read_bytes()) == Grant(DIGEST)
    assert os.listdir(path.parent) == ["demo.toml"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.toml").write_text("old")
    os.symlink("real.toml", tmp_path / "demo.toml")
    write_grant(tmp_path / "demo.toml", Grant(DIGEST), label=LABEL)
    assert (tmp_path / "demo.toml").is_symlink()
    assert read((tmp_path / "real.toml").read_bytes()) == Grant(DIGEST)


def test_a_grant_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "demo.toml"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    for name in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(consent.os, name, full)
            with pytest.raises(UsageError) as caught:
                write_grant(path, Grant(DIGEST), label=LABEL)
        assert caught.value.message == "manifests/demo.toml: cannot be written: No space left on device"
        assert os.listdir(tmp_path) == ["demo.toml"]
        assert path.read_text() == "old"
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"^manifests/demo\.toml: cannot be written: "):
        write_grant(tmp_path / "file" / "demo.toml", Grant(DIGEST), label=LABEL)


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    for wrong in (Grant("short"), Grant(DIGEST, config={"a": "\ud800"}), Grant(DIGEST, capabilities=caps("kv") * 2)):
        with pytest.raises(UsageError):
            write_grant(path, wrong, label=LABEL)
    with pytest.raises(UsageError, match=f"the most is {MAX_BYTES}; shorten its configuration"):
        write_grant(path, Grant(DIGEST, config={"a": "\n" * 100_000}), label=LABEL)
    assert os.listdir(tmp_path) == []
