"""The part of the service `kb` that carries out macros in texts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.kb_arguments import CONVERSATION, Label, Map, refusing
from innkeeper.bridge.kb_context import KbContext
from innkeeper.bridge.operation import operation


class KbRendering(KbContext):
    """What guests get of texts with macros."""

    @operation("kb.read", bounds=CONVERSATION)
    async def render(
        self,
        caller: Caller,
        *,
        template: Annotated[str, Field(max_length=256 * 1024)],
        syntax: Literal["macros", "story"] = "macros",
        character: Label = "",
        user: Label = "",
        values: Map | None = None,
        variables: Map | None = None,
        seed: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None,
    ) -> Any:
        """Carries out the macros of a text: {{char}}, {{user}}, names of values, conditions, variables, chance.

        Args:
            template: the text; macros that are unknown stay.
            syntax: `macros`, or `story` for the story strings of text presets.
            character: name of the character.
            user: name of the user.
            values: texts by name.
            variables: of the chat, by name.
            seed: of what chance decides; nil: another one each time.

        Returns:
            {text, variables: map, as they are afterwards, note: text, "" where no bound was met}
        """
        request = {
            "template": template,
            "syntax": syntax,
            "character": character,
            "user": user,
            "values": values or {},
            "variables": variables or {},
            "seed": seed,
        }
        with refusing():
            return dict(await (await self._knowledge()).render(request))
