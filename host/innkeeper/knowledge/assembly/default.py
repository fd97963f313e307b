"""The template of a chat, where nobody chose one."""

from __future__ import annotations

from functools import cache

from innkeeper.knowledge.assembly.template import Template, read_template


@cache
def default_template() -> Template:
    """What the user set the model to, lore, the character, more lore, examples, the conversation, what is said after
    it, and the user's words.

    The texts among the inputs that it uses: "system", "persona_description", "character_description",
    "character_personality", "scenario" and "post_history".
    """

    def category(name: str) -> dict[str, list[str]]:
        # Both conditions, so that these blocks are asked before the one that takes the placement alone.
        return {"placements": ["before_prompt"], "tags": [f"st_content_category:{name}"]}

    return read_template(
        {
            "blocks": [
                {"id": "system", "kind": "text", "source": "system"},
                {"id": "system lore", "kind": "entries", "placements": ["system_context"]},
                {"id": "lore before", "kind": "entries", "placements": ["before_prompt"]},
                {"id": "persona", "kind": "text", "source": "persona_description"},
                {"id": "character", "kind": "text", "source": "character_description"},
                {"id": "personality", "kind": "text", "source": "character_personality"},
                {"id": "scenario", "kind": "text", "source": "scenario"},
                {"id": "lore after", "kind": "entries", "placements": ["after_prompt"]},
                {"id": "before examples", "kind": "entries", **category("pre_send_modifier")},
                {"id": "examples", "kind": "examples"},
                {"id": "after examples", "kind": "entries", **category("post_receive_modifier")},
                {"id": "history", "kind": "history"},
                {"id": "notes", "kind": "entries", "placements": ["scratchpad_notes"]},
                {"id": "post-history", "kind": "text", "source": "post_history"},
                {"id": "user input", "kind": "user_input"},
            ],
            "squash": "system",
        }
    )
