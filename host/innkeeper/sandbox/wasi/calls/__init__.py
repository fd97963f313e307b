"""The functions of preview 1. Each module declares those that it holds."""

from types import MappingProxyType

from innkeeper.sandbox.wasi.calls import clock, descriptor, path, process, stream
from innkeeper.sandbox.wasi.functions import declared

FUNCTIONS = MappingProxyType(declared)
"""All functions of preview 1, by name."""

__all__ = ["FUNCTIONS", "clock", "descriptor", "path", "process", "stream"]
