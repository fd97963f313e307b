"""WASI preview 1: what a guest sees of a system, by default nothing that moves.

It knows no engine. An engine declares each of FUNCTIONS under WASI_MODULE and calls its handler with the guest's
Wasi and GuestMemory; `WasiFunction` says how.
"""

from innkeeper.sandbox.wasi.calls import FUNCTIONS
from innkeeper.sandbox.wasi.errors import Errno, ProcExit
from innkeeper.sandbox.wasi.functions import WASI_MODULE, Later, WasiFunction
from innkeeper.sandbox.wasi.lines import Log
from innkeeper.sandbox.wasi.memory import GuestMemory, MemoryFault
from innkeeper.sandbox.wasi.rights import NONE, Preopen, WasiRights
from innkeeper.sandbox.wasi.state import Wasi

__all__ = [
    "FUNCTIONS",
    "NONE",
    "WASI_MODULE",
    "Errno",
    "GuestMemory",
    "Later",
    "Log",
    "MemoryFault",
    "Preopen",
    "ProcExit",
    "Wasi",
    "WasiFunction",
    "WasiRights",
]
