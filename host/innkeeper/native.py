"""What code of a native plugin imports from Innkeeper; docs/native-plugins.md describes it."""

from __future__ import annotations

from innkeeper.plugins.native.api import Api, Call, Log, ServiceRefusedError
from innkeeper.plugins.native.hooks import NodeInfo, NodeRefusedError, RunInfo

__all__ = ["Api", "Call", "Log", "NodeInfo", "NodeRefusedError", "RunInfo", "ServiceRefusedError"]
