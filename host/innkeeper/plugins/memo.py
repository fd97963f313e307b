"""Which calls are pure: those whose result depends on module, function, input, configuration and limits alone.

A fresh guest meets the world through host functions and WASI, and through nothing else. WASI shows nothing of it
without a right, and of the host's functions those of `log` and `config` answer by the call alone; so whoever has no
more than these answers equal calls alike. Nobody has to say so of a plugin, and nobody can say it wrongly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from innkeeper.plugins.rights import Rights
    from innkeeper.sandbox.interface import HostFunction
    from innkeeper.sandbox.wasm import ModuleInfo

Memo = bool | Literal["costly"]
"""Whether a call's result is remembered; "costly": on disk only where the call took long."""

SILENT: Final = frozenset({"log", "config"})
"""Services whose answers depend on the present call alone. `stream` is free, too, and gives what others wrote."""

_PREFIXES = tuple(f"innkeeper_{name}_" for name in sorted(SILENT))


def powerless(rights: Rights) -> bool:
    """Whether nothing that depends on more than the call was granted (bool)."""
    return all(each.name in SILENT for each in rights.capabilities)


def asks(info: ModuleInfo, given: Iterable[HostFunction], offered: Iterable[HostFunction]) -> bool:
    """Whether a module imports a function of the host that may answer by more than the present call (bool).

    What refuses for want of a grant counts as well: the refusal is written down, and may be another one later.

    Args:
        info: what the module says of itself.
        given: host functions of the program that loads it.
        offered: those of the host's services.
    """
    imports = {(each.module, each.name) for each in info.imports}
    return any((each.namespace, each.name) in imports for each in given) or any(
        (each.namespace, each.name) in imports and not each.name.startswith(_PREFIXES) for each in offered
    )
