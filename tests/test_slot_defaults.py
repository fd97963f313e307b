"""What an input that is not required gets when nobody gives it anything."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.plugins.nodes import InputDefinition
from innkeeper.workflow.checking.values import default_of


@pytest.mark.parametrize(
    ("slot", "value"),
    [
        ({"dataFlowType": "STRING"}, ""),
        ({"dataFlowType": "INTEGER"}, 0),
        ({"dataFlowType": "FLOAT"}, 0.0),
        ({"dataFlowType": "BOOLEAN"}, False),
        ({"dataFlowType": "OBJECT"}, {}),
        ({"dataFlowType": "ARRAY"}, []),
        ({"dataFlowType": "BINARY"}, None),
        ({"dataFlowType": "WILDCARD"}, None),
        ({"dataFlowType": "CONVERTIBLE_ANY"}, None),
        ({"dataFlowType": "STRING", "isStream": True, "config": {"default": "x"}}, None),
        ({"dataFlowType": "STREAM", "config": {"default": "x"}}, None),
        ({"dataFlowType": "STRING", "config": {"default": "x", "suggestions": ["y"]}}, "x"),
        ({"dataFlowType": "STRING", "config": {"default": None, "suggestions": ["y", "z"]}}, "y"),
        ({"dataFlowType": "INTEGER", "config": {"suggestions": [{"value": 7, "label": "seven"}]}}, 7),
        ({"dataFlowType": "INTEGER", "config": {"suggestions": []}}, 0),
        ({"dataFlowType": "STRING", "multi": True}, []),
    ],
)
def test_a_default_goes_before_a_suggestion_and_that_before_what_is_empty(slot: dict[str, Any], value: Any) -> None:
    found = default_of(InputDefinition.model_validate(slot))
    assert (type(found), found) == (type(value), value)
