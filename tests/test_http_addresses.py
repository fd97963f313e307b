"""Which addresses are everybody's: never one that `ipaddress` knows not to be."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.bridge.web.addresses import is_public

_NETWORKS = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10", "224.0.0.0/4")]
_NETWORKS += [ipaddress.ip_network(text) for text in ("::ffff:0:0/96", "64:ff9b::/96", "2002::/16", "2001::/16")]
_addresses = (
    st.ip_addresses()
    | st.sampled_from(_NETWORKS).flatmap(lambda network: st.ip_addresses(network=network))
    | st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)
    | st.integers(0, 2**61 - 1).map(lambda rest: ipaddress.IPv6Address((1 << 125) + (rest << 64)))
)


@given(_addresses)
@settings(deadline=None, max_examples=500)
def test_what_is_public_is_global_unicast_to_python_too(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if is_public(address):
        assert address.is_global
        kinds = ("multicast", "private", "loopback", "reserved", "link_local", "unspecified")
        assert not [kind for kind in kinds if getattr(address, f"is_{kind}")]


@given(st.ip_addresses(v=4))
@settings(deadline=None)
def test_an_address_inside_of_another_is_never_public(inner: ipaddress.IPv4Address) -> None:
    number = int(inner)
    for outer in (
        ipaddress.IPv6Address(f"::ffff:{inner}"),
        ipaddress.IPv6Address(number),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + number),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b:1::")) + number),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("2002::")) + (number << 80)),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("2001::")) + (number ^ 0xFFFFFFFF)),
    ):
        assert not is_public(outer)


@pytest.mark.parametrize("text", ["1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001:81b::200e"])
def test_the_internets_own_are_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.100.100.200",
        "127.0.0.1",
        "168.63.129.16",
        "169.254.169.254",
        "172.31.255.255",
        "192.0.2.7",
        "192.168.0.1",
        "198.19.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2001:0:53aa:64c::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700::1111%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_special_ones_are_not(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))
