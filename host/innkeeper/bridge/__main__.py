"""Prints the reference of the bridge: `python -m innkeeper.bridge md` or `json`."""

from __future__ import annotations

import sys

from innkeeper.bridge.reference import as_json, as_markdown

_FORMS = {"md": as_markdown, "json": as_json}

if len(sys.argv) != 2 or sys.argv[1] not in _FORMS:
    sys.exit("usage: python -m innkeeper.bridge md|json")
sys.stdout.write(_FORMS[sys.argv[1]]())
