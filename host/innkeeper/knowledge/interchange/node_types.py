"""Which node types and slots an imported preset is made of: the names that importer and plugins agree on."""

from __future__ import annotations

from typing import Final

ASSEMBLER: Final = "kb:ContextAssembler"
"""Inputs: `history_messages`, `lore_caiu_list_main`, `lore_caiu_list_aux`, `static_text_inputs` (multi),
`current_user_input`, `session_state`; configuration: `template` (as `knowledge.assembly` reads it); outputs:
`prompt_data`, `llm_parameters`."""

APPLICATOR: Final = "kb:VariableApplicator"
"""Inputs: `template` (text with macros), `session_state`, `caiu_list` (active entries, for {{wiBefore}} and
{{wiAfter}}); configuration: `syntax` ("macros" or "story") and `values` (texts by the name that the template has for
them); output: `text`."""

STATIC: Final = "kb:StaticKnowledgeBase"
"""Configuration: `entries` (documents of CAIU entries); output: `caiu_list`."""

LORE: Final = "kb:KeywordMatcher"
"""Inputs: `history_messages`, `current_user_input`, `session_state`; configuration: `reference` (of the project's
knowledge bases, or a base's id); output: `caiu_list`."""

CHARACTER: Final = "core:CharacterCardLoader"
"""Configuration: `cardResource`; output: `characterData`."""

HISTORY: Final = "core:HistoryLoader"
"""Configuration: `historyResource`; output: `historyMessages`."""

RESOURCES: Final = {CHARACTER: "cardResource", HISTORY: "historyResource", LORE: "reference"}
"""By node type the field of its configuration that somebody has to choose: which card, chat or knowledge base."""

INPUT: Final = "core:GroupInput"
OUTPUT: Final = "core:GroupOutput"

LLM: Final = "core:GenericLlmRequest"
"""Inputs: `messages`, `parameters`, `temperature`, `max_tokens`, `top_p`, `seed`, `stream`, `activated_model_id`;
outputs: `response`, `responseText`."""

SLOTS: Final[dict[str, tuple[frozenset[str], frozenset[str]]]] = {
    ASSEMBLER: (
        frozenset(
            {
                "history_messages", "lore_caiu_list_main", "lore_caiu_list_aux", "static_text_inputs",
                "current_user_input", "session_state", "llm_parameters",
            }
        ),
        frozenset({"prompt_data", "llm_parameters"}),
    ),
    APPLICATOR: (frozenset({"template", "session_state", "caiu_list"}), frozenset({"text"})),
    STATIC: (frozenset(), frozenset({"caiu_list"})),
    LORE: (frozenset({"history_messages", "current_user_input", "session_state"}), frozenset({"caiu_list"})),
    CHARACTER: (frozenset(), frozenset({"characterData"})),
    HISTORY: (frozenset(), frozenset({"historyMessages"})),
    LLM: (
        frozenset({"messages", "parameters", "activated_model_id", "temperature", "max_tokens", "top_p", "seed",
                   "stream"}),
        frozenset({"response", "responseText", "usage"}),
    ),
}  # fmt: skip
"""Inputs and outputs that imported workflows connect, by node type."""
