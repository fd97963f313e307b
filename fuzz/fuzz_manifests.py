"""Manifests, grants and innkeeper.toml: bytes, changed examples, and tables with the right keys and odd values.

Whatever they are: what was read is within its ranges, or ManifestError, RejectedError or UsageError with sentences that
can be printed, in bounded time and memory.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from fuzz.mutation import assert_printable, mutated, number, outline, text
from fuzz.target import MIB, Target

from innkeeper.errors import InnkeeperError, UsageError
from innkeeper.plugins.configuration import parse_configuration
from innkeeper.plugins.grant import parse_grant
from innkeeper.plugins.manifest import ID, read_manifest
from innkeeper.plugins.quantities import BOUNDS, LIMITS
from innkeeper.plugins.tables import ManifestError, SettingsError, problems_of
from innkeeper.sandbox.limits import CEILING, DEFAULTS, parse_duration, parse_size

_MANIFEST = b"""id = "shout"
version = "1.0.0"
name = "Shout"
description = "Says it louder"
author = "a"
license = "MIT"
homepage = "https://example.org"
namespace = "shout"
abi = "extism-1"
codec = "json"
instance = "shared"
[limits]
memory = "32MiB"
cpu = 0.5
host_calls = 10
[[capabilities]]
name = "log"
reason = "to say what it does"
optional = true
[[nodes]]
type = "Shout"
function = "shout"
displayName = "Shout"
modeConfigKey = "mode"
defaultModeId = "soft"
[nodes.inputs.text]
dataFlowType = "STRING"
required = true
multi = true
config = { default = "hi", min = 1 }
[nodes.outputs.out]
dataFlowType = "STREAM"
matchCategories = ["a"]
[nodes.modes.soft]
id = "soft"
[nodes.configSchema.mode]
dataFlowType = "STRING"
"""
_GRANT = b"""sha256 = "%s"
instance = "shared"
[limits]
memory = "128MiB"
cpu = "5s"
wall = 3
[config]
language = "en"
""" % (b"0123456789abcdef" * 4)
_CONFIGURATION = b"""[bounds]
live_guests = 2000
guest_memory = "2GiB"
workers = 2
[limits]
memory = "2GiB"
cpu = 120
[defaults]
cpu = "2s"
"""
_KEYS = (
    "id", "version", "name", "description", "author", "license", "homepage", "namespace", "abi", "codec", "instance",
    "limits", "nodes", "capabilities", "reason", "optional", "type", "function", "inputs", "outputs", "dataFlowType",
    "modes", "config", "configSchema", "sha256", "bounds", "defaults", "matchCategories", "modeConfigKey", *LIMITS,
    *BOUNDS,
)  # fmt: skip
_WORDS = (
    b'"""', b"'''", b"[[", b"]]", b"[", b"]", b"{", b"}", b"=", b".", b",", b"#", b"\r", b"\0", b"\x1b[2J", b"\x7f",
    b"\xc2\x9b",
    b"\xff", b"\\u0000", b"\\u001b", b"\\U0010ffff", b"\\ud800", b"inf", b"nan", b"-nan", b"1e400",
    b"0x7fffffffffffffff", b"0b1",
    b"1979-05-27T07:32:00Z", b"07:32:00", b"true", b'"64MiB"', b'"1e308s"', b'"0.1B"', b'"-1"', b'" 5 s"', b"9" * 5000,
    b"[" * 600, b"{a=" * 600, b"a." * 300, b"a.b.c = 1\n", *(key.encode() for key in _KEYS),
)  # fmt: skip


class Fuzz(Target):
    """The first byte says what it is read as, the rest is the file."""

    guided = True
    address_space = 1024 * MIB
    hang = 15.0

    def seeds(self) -> Sequence[bytes]:
        return (b"\0" + _MANIFEST, b"\1" + _MANIFEST, b"\2" + _GRANT, b"\3" + _CONFIGURATION, b"\4" + b"1.5 GB")

    def generate(self, rng: random.Random, pool: Sequence[bytes]) -> bytes:
        match rng.randrange(12):
            case 0:
                return bytes([rng.randrange(5)]) + rng.randbytes(rng.randrange(60))
            case 1:
                return bytes([rng.randrange(4)]) + rng.choice(_WORDS) * rng.choice((2, 50, 2000))
            case 2 | 3 | 4:
                return bytes([rng.randrange(4)]) + _table(rng)
            case 5:
                return b"\4" + text(rng).encode("utf-8", "replace")
            case _:
                return mutated(rng, rng.choice(pool), pool, _WORDS)

    async def check(self, data: bytes) -> str:
        kind, content = data[0] if data else 0, data[1:]
        before = time.thread_time()
        try:
            what = _read(kind % 5, content)
        except (ManifestError, SettingsError, UsageError) as error:
            _explained(error)
            what = f"{kind % 5} {outline(problems_of(error)[0])}"
        assert time.thread_time() - before < 8
        return what


def _read(kind: int, content: bytes) -> str:
    if kind < 2:
        sections, beside = ((content,), None) if kind else ((), content)
        manifest = read_manifest(sections, beside, where="a.wasm", exports=["shout"])
        assert manifest is not None
        assert ID.fullmatch(manifest.id)
        assert ID.fullmatch(manifest.namespace)
        assert set(manifest.limits) <= set(LIMITS)
        assert all(value > 0 for value in manifest.limits.values())
        assert all(node.function == "shout" for node in manifest.nodes)
        for request in manifest.capabilities:
            assert_printable(request.name, 400)
        return f"manifest {len(manifest.nodes)} {len(manifest.capabilities)} {manifest.codec}"
    if kind == 2:
        grant = parse_grant(content, where="manifests/a.toml")
        assert len(grant.sha256) == 64
        assert all(isinstance(value, str) for value in grant.config.values())
        grant.apply(DEFAULTS, CEILING, "manifests/a.toml")
        return f"grant {len(grant.limits)} {len(grant.config)} {grant.shared}"
    if kind == 3:
        configuration = parse_configuration(content)
        configuration.defaults.within(configuration.ceiling)
        return f"configuration {len(configuration.origins)}"
    quantity = content.decode("utf-8", "replace")
    seconds = parse_duration(quantity)
    assert 0 < seconds < float("inf")
    assert parse_size(quantity) >= 0
    return "quantity"


def _explained(error: InnkeeperError) -> None:
    for problem in problems_of(error):
        assert_printable(problem, 2000)
    assert_printable(error.message, 60_000)


def _table(rng: random.Random) -> bytes:
    lines: list[str] = []
    for _ in range(rng.randrange(30)):
        key = rng.choice(_KEYS) if rng.random() < 0.9 else _basic(text(rng))
        match rng.randrange(8):
            case 0:
                lines.append(f"[{key}]")
            case 1:
                lines.append(f"[[{key}]]")
            case 2:
                lines.append(f"[{rng.choice(_KEYS)}.{key}]")
            case _:
                lines.append(f"{key} = {_value(rng)}")
    return "\n".join(lines).encode("utf-8", "replace")


def _value(rng: random.Random, depth: int = 3) -> str:
    match rng.randrange(9 if depth else 7):
        case 0:
            return str(number(rng) * rng.choice((1, -1)))
        case 1:
            return rng.choice(("true", "false", "inf", "-nan", "1e308", "0.5", "1979-05-27", "07:32:00", "0.1"))
        case 7:
            return f"[{', '.join(_value(rng, depth - 1) for _ in range(rng.randrange(4)))}]"
        case 8:
            pairs = (f"{rng.choice(_KEYS)} = {_value(rng, depth - 1)}" for _ in range(rng.randrange(4)))
            return "{" + ", ".join(pairs) + "}"
        case _:
            return _basic(text(rng))


def _basic(value: str) -> str:
    return '"' + "".join(c if c.isalnum() else f"\\u{ord(c):04x}" for c in value if ord(c) < 0xD800) + '"'
