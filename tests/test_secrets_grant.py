"""Where a secret goes, as an operator says it: in the grant's file, on the command line, in what is shown."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.errors import UsageError
from innkeeper.plugins.capabilities import parse_capability
from innkeeper.plugins.consent import plan_consent, revoked
from innkeeper.plugins.grant import Grant, parse_grant
from innkeeper.plugins.manifest import Manifest, parse_manifest
from innkeeper.plugins.secret_use import SecretUse, parse_option, read_origin
from innkeeper.plugins.tables import SettingsError
from test_cli_grant import WASM, Home, home, words

__all__ = ["home"]

DIGEST = "0" * 64
HEAD = f'sha256 = "{DIGEST}"\n'
USE = SecretUse(("https://api.example.com",), "Authorization", "Bearer ")


def read(text: str) -> Grant:
    return parse_grant((HEAD + text).encode(), where="manifests/demo.toml")


def manifest(*names: str) -> Manifest:
    entries = "".join(f"[[capabilities]]\nname = '{name}'\nreason = 'r'\noptional = true\n" for name in names)
    return parse_manifest(f"id = 'demo'\nversion = '1.0'\n{entries}".encode(), where="demo.toml", exports=())


# --- the file -------------------------------------------------------------------------------------------------------


def test_a_grant_says_where_each_secret_goes() -> None:
    found = read(
        '[secrets.KEY]\nheader = "Authorization"\nprefix = "Bearer "\n'
        'hosts = ["HTTPS://API.example.com:443", "https://api.example.com/"]\n'
        '[secrets.OTHER]\nquery = "key"\nhosts = ["http://[0:0::1]:8080"]\n'
    )
    assert found.secrets == {"KEY": USE, "OTHER": SecretUse(("http://[::1]:8080",), query="key")}


def test_every_mistake_is_said_at_once_with_its_key() -> None:
    text = (
        '[secrets.KEY]\nheadr = "X"\nhosts = ["https://a.example/v1", "ftp://b", "https://*.c.example", "https://u@d"]\n'
        "[secrets.BOTH]\n"
        'header = "X"\nquery = "x"\nhosts = ["https://a.example"]\n'
        '[secrets.NONE]\nhosts = ["https://a.example"]\n'
        '[secrets.PREFIX]\nquery = "x"\nprefix = "y"\nhosts = ["https://a.example"]\n'
        '[secrets.HOST]\nheader = "hOST"\nhosts = ["https://a.example"]\n'
        '[secrets.AGENT]\nheader = "User-Agent"\nhosts = ["https://a.example"]\n'
        '[secrets.LINES]\nheader = "X\\r\\nY"\nprefix = "a\\nb"\nhosts = []\n'
        '[secrets.FIELD]\nquery = "a&b"\n'
        '[secrets."not a name"]\nheader = "X"\nhosts = ["https://a.example"]\n'
    )
    with pytest.raises(SettingsError) as caught:
        read(text)
    keys = [problem.removeprefix("manifests/demo.toml: ").split()[0] for problem in caught.value.problems]
    assert keys == [
        "secrets.KEY.headr",
        "secrets.KEY.hosts[0]",
        "secrets.KEY.hosts[1]",
        "secrets.KEY.hosts[2]",
        "secrets.KEY.hosts[3]",
        "secrets.BOTH.",
        "secrets.NONE.",
        "secrets.PREFIX.",
        "secrets.HOST.",
        "secrets.AGENT.",
        "secrets.LINES.header",
        "secrets.LINES.prefix",
        "secrets.LINES.hosts",
        "secrets.FIELD.query",
        "secrets.FIELD.hosts",
        "secrets.not",
    ]


def test_a_value_in_the_place_of_a_table_is_not_repeated() -> None:
    # Who writes the value into the grant has misunderstood; nobody else should read it.
    with pytest.raises(SettingsError) as caught:
        read('[secrets]\nKEY = "hunter2-hunter2"\n')
    assert "hunter2" not in str(caught.value)


# --- the option -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "use"),
    [
        ("KEY=bearer@https://api.example.com", USE),
        (
            "KEY=header:X-Key@https://a.example,http://localhost:80",
            SecretUse(("https://a.example", "http://localhost"), "X-Key"),
        ),
        ("KEY=query:key@https://a.example/,https://A.example", SecretUse(("https://a.example",), query="key")),
    ],
)
def test_an_option_says_name_place_and_servers(text: str, use: SecretUse) -> None:
    assert parse_option(text) == ("KEY", use)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "KEY",
        "KEY=bearer",
        "KEY=@https://a.example",
        "=bearer@https://a.example",
        "A-B=bearer@https://a.example",
        "KEY=bearer@",
        "KEY=bearer:x@https://a.example",
        "KEY=header:@https://a.example",
        "KEY=header:Host@https://a.example",
        "KEY=header:a b@https://a.example",
        "KEY=query:a&b@https://a.example",
        "KEY=body:x@https://a.example",
        "KEY=bearer@https://*.example",
        "KEY=bearer@https://a.example/v1",
        "KEY=bearer@https://u@a.example",
        "KEY=bearer@a.example",
        "KEY=bearer@https://a.example,",
        "KEY=bearer@" + ",".join(["https://a.example"] * 100),
    ],
)
def test_what_is_no_such_option_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_option(text)


@given(st.text() | st.text("htps:/@,=KEYabc.*[]%?# \n"))
@settings(deadline=None)
def test_whatever_an_option_is_it_is_read_or_refused_with_a_sentence(text: str) -> None:
    for reader in (parse_option, read_origin):
        found = None
        try:
            reader(text)
        except ValueError as error:
            found = str(error)
        assert found is None or found.isprintable()


# --- the consent ----------------------------------------------------------------------------------------------------


def test_a_place_needs_a_request_and_stays_as_long_as_there_is_one() -> None:
    asks = manifest("secrets:KEY", "http:https://api.example.com/*")
    first = plan_consent("demo", asks, DIGEST, None, secrets={"KEY": USE})
    assert first.grant.secrets == {"KEY": USE}
    assert first.placeless == ()
    again = plan_consent("demo", asks, DIGEST, first.grant)
    assert again.needless
    assert again.grant.secrets == {"KEY": USE}
    moved = {"KEY": SecretUse(("https://other.example",), "X-Key")}
    assert not plan_consent("demo", asks, DIGEST, first.grant, secrets=moved).needless
    assert plan_consent("demo", asks, DIGEST, first.grant, secrets=moved).grant.secrets == moved
    # A version that does not ask for it any more loses the place: one that asks again does not find it ready.
    assert plan_consent("demo", manifest("kv"), DIGEST, first.grant).grant.secrets == {}
    assert revoked(first.grant).secrets == {}
    with pytest.raises(UsageError, match="'OTHER' cannot be placed: the plugin does not ask for it; it asks for KEY"):
        plan_consent("demo", asks, DIGEST, None, secrets={"OTHER": USE})


def test_a_secret_without_a_place_is_named() -> None:
    found = plan_consent("demo", manifest("secrets:KEY", "secrets:B"), DIGEST, None, secrets={"KEY": USE})
    assert found.placeless == ("B",)
    assert plan_consent("demo", manifest("secrets:KEY"), DIGEST, None, deny=["secrets"]).placeless == ()


def test_a_secret_that_is_denied_has_no_place() -> None:
    asks = manifest("secrets:KEY")
    before = plan_consent("demo", asks, DIGEST, None, secrets={"KEY": USE}).grant
    denied = plan_consent("demo", asks, DIGEST, before, deny=["secrets:KEY"]).grant
    assert denied.secrets == {}
    for deny, grant in ((["secrets"], None), ([], denied)):
        with pytest.raises(UsageError, match="is not given now, or was left out before; --all gives it after all"):
            plan_consent("demo", asks, DIGEST, grant, deny=deny, secrets={"KEY": USE})
    again = plan_consent("demo", asks, DIGEST, denied, everything=True, secrets={"KEY": USE})
    assert again.grant.secrets == {"KEY": USE}


def test_an_address_that_was_named_by_hand_is_not_swallowed_by_the_pattern_around_it() -> None:
    granted = tuple(map(parse_capability, ("http:*", "http:http://127.0.0.1:8080/*")))
    before = Grant(DIGEST, capabilities=granted, asked=granted[:1], version="1.0")
    found = plan_consent("demo", manifest("http:*"), DIGEST, before)
    assert found.grant.capabilities == granted
    assert found.needless
    denied = plan_consent("demo", manifest("http:*"), DIGEST, before, deny=["http"])
    assert denied.grant.capabilities == ()
    asked = plan_consent("demo", manifest("http:*", "http:http://127.0.0.1:8080/*"), DIGEST, None)
    assert asked.grant.capabilities == granted


def test_the_commands_show_place_and_servers_and_never_a_value(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNKEEPER_SECRET_KEY", "hunter2-hunter2")
    home.plugin(WASM, "secrets:KEY", "http:https://api.example.com/*")
    text = words(home.run("grant", "demo", code=2))
    assert "nothing was granted" in text
    text = words(home.run("grant", "demo", "--yes"))
    assert "the secret KEY would have no place to go to" in text
    text = words(home.run("grant", "demo", "--yes", "--secret", "KEY=bearer@https://api.example.com,http://localhost"))
    assert (
        "the secret KEY goes in the header Authorization (after 'Bearer '), for https://api.example.com, "
        "http://localhost" in text
    )
    assert "who is on the way" not in text, "to this machine nobody is"
    assert home.grant().secrets["KEY"].hosts == ("https://api.example.com", "http://localhost")
    found = home.json("grant", "demo")
    assert found["placeless"] == []
    assert list(found["secrets"]) == ["KEY"]
    home.run("grant", "demo", "--yes", "--secret", "KEY=bearer@http://192.168.0.1:80")
    text += words(home.run("grant", "demo"))
    assert "high: who is on the way to http://192.168.0.1 can read the secret KEY (no https)" in text
    assert "secret KEY in the header Authorization" in words(home.run("grants"))
    assert "hunter2" not in text + home.run("grants") + home.grant_file.read_text()
    assert home.run("revoke", "demo").startswith("manifests/demo.toml: took away secrets:KEY")
    assert home.grant().secrets == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["KEY=nowhere@https://a.example"],
            "--secret 'KEY' is not right: where it goes must",
        ),
        (["OTHER=bearer@https://a.example"], "the secret 'OTHER' cannot be placed"),
        (["KEY=bearer@https://a.example", "KEY=query:k@https://a.example"], "KEY is there twice"),
    ],
)
def test_a_mistake_in_the_option_is_a_sentence_and_writes_nothing(home: Home, options: list[str], message: str) -> None:
    home.plugin(WASM, "secrets:KEY")
    arguments = [part for option in options for part in ("--secret", option)]
    assert message in home.run("grant", "demo", "--yes", *arguments, code=2)
    assert not home.grant_file.exists()
