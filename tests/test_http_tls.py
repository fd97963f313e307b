"""https: the certificate is for the name that was asked for, wherever the connection goes."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import pytest
import trio
import trustme

from innkeeper.bridge.web import dial
from web_servers import Names, ask, home, moved, names, opened, plain, refused, relay, serving, write

__all__ = ["home", "names"]

AUTHORITY = trustme.CA()


def certificate(*identities: str, authority: trustme.CA = AUTHORITY) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*identities).configure_cert(context)
    return context


@pytest.fixture(autouse=True)
def _trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own authority is one that the system trusts."""
    made = dial.system_context

    def context() -> ssl.SSLContext:
        found = made()
        AUTHORITY.configure_trust(found)
        return found

    monkeypatch.setattr(dial, "system_context", context)


def test_no_variable_has_the_keys_of_connections_written_to_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    context = dial.system_context()
    assert context.keylog_filename is None
    assert not (tmp_path / "keys").exists()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_server_cannot_ask_for_another_handshake() -> None:
    assert dial.system_context().options & ssl.OP_NO_RENEGOTIATION


async def test_a_server_that_makes_agreeing_on_keys_take_long_holds_nobody_up(
    home: Path, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Which numbers it does that with is its choice: 8,192 bits of Diffie-Hellman take 180 ms.
    here = threading.get_ident()
    threads: set[bool] = set()
    real = ssl.SSLObject.do_handshake

    def agree(self: ssl.SSLObject) -> None:
        if not self.server_side and self.cipher() is None:
            threads.add(threading.get_ident() == here)
        real(self)

    monkeypatch.setattr(ssl.SSLObject, "do_handshake", agree)
    names.of["api.example.com"] = [["127.0.0.77"]]
    async with serving(plain(bytes(1 << 20)), "127.0.0.77", tls=certificate("api.example.com")) as server:
        web(home, f"{server.named('api.example.com', 'https')}/*")
        async with opened(home) as host:
            answer = await ask(host, server.named("api.example.com", "https"))
            assert answer["ok"]["body"] == bytes(1 << 20)
    assert threads == {False}


def web(home: Path, *scopes: str) -> None:
    write(home, "web", relay("http.request"), requests=["http:*"], grants=[f"http:{scope}" for scope in scopes])


async def test_a_name_is_verified_and_sent_while_the_connection_goes_to_the_checked_address(
    home: Path, names: Names
) -> None:
    wanted: list[str | None] = []
    context = certificate("api.example.com")
    context.sni_callback = lambda _, name, __: wanted.append(name)
    names.of["api.example.com"] = [["127.0.0.77"], ["127.0.0.1"]]
    async with serving(plain(), "127.0.0.77", tls=context) as server:
        web(home, "*")
        url = server.named("api.example.com", "https")
        async with opened(home) as host:
            assert (await ask(host, url))["ok"]["body"] == b"hello"
            refused(await ask(host, url), "denied", "address", 0)
        assert server.asked[0].headers["host"] == f"api.example.com:{server.port}"
    assert wanted == ["api.example.com"]


async def test_an_address_that_is_granted_may_have_a_certificate_of_its_own(home: Path) -> None:
    async with serving(plain(), tls=certificate("127.0.0.1")) as server:
        url = server.named("127.0.0.1", "https")
        web(home, f"{url}/*")
        async with opened(home) as host:
            assert (await ask(host, url))["ok"]["status"] == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("wrong", ["another name", "another authority", "no TLS", "an old TLS"])
async def test_a_server_that_cannot_show_who_it_is_gets_no_request(home: Path, names: Names, wrong: str) -> None:
    tls: ssl.SSLContext | None = certificate("api.example.com")
    if wrong == "another name":
        tls = certificate("www.example.com")
    elif wrong == "another authority":
        tls = certificate("api.example.com", authority=trustme.CA())
    elif wrong == "no TLS":
        tls = None
    else:
        assert tls is not None
        tls.set_ciphers("ALL:@SECLEVEL=0")
        tls.minimum_version, tls.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_1
    names.of["api.example.com"] = [["127.0.0.77"]]
    async with serving(plain(), "127.0.0.77", tls=tls, early=tls is None) as server:
        web(home, "*")
        async with opened(home) as host:
            url = server.named("api.example.com", "https")
            message = refused(await ask(host, url, headers={"X": "for its eyes"}), "failed", "tls", 0)
            assert "127.0.0.77" not in message
        assert all(asked.raw == b"" for asked in server.asked)


async def test_a_redirect_from_https_to_http_needs_a_grant_of_its_own_and_takes_no_credentials(
    home: Path, names: Names
) -> None:
    names.of["api.example.com"] = [["127.0.0.77"]]
    async with serving(plain(), "127.0.0.77") as clear:
        place = clear.named("api.example.com")
        async with serving(moved(lambda asked: place), "127.0.0.77", tls=certificate("api.example.com")) as server:
            url = server.named("api.example.com", "https")
            web(home, f"{url}/*")
            async with opened(home) as host:
                refused(await ask(host, url), "denied", "scope", 1)
                assert clear.connections == 0
                web(home, f"{url}/*", f"{place}/*")
                await host.reload()
                assert "ok" in await ask(host, url, headers={"Authorization": "mine"})
            assert "authorization" not in clear.asked[0].headers


async def test_a_handshake_that_never_ends_is_left(home: Path, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dial, "CONNECT", 0.2)
    names.of["api.example.com"] = [["127.0.0.77"]]

    async def silent(asked: object, stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    async with serving(silent, "127.0.0.77", early=True) as server:
        web(home, "*")
        async with opened(home) as host:
            refused(await ask(host, server.named("api.example.com", "https")), "failed", "time", 0)
