"""A group of commands of which each is imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """Imports a subcommand when it is used: `innkeeper call` must not pay for what `innkeeper run` needs."""

    def __init__(
        self,
        *arguments: Any,
        room: str,
        lines: Mapping[str, str],
        modules: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        """Args:
        arguments: as of click's group, like options.
        room: the package in which each command has a module of its name; "-" in a name is "_" there.
        lines: what each command does, by name, in the order in which help lists them.
        modules: where a command lies that has no module of its own name.
        options: as of click's group.
        """
        super().__init__(*arguments, **options)
        self._room = room
        self._lines = lines
        self._modules = modules or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lines)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lines:
            return None
        name = cmd_name.replace("-", "_")
        module = import_module(f"{self._room}.{self._modules.get(cmd_name, name)}")
        # A keyword of Python is no name of a function.
        command = getattr(module, name, None) or getattr(module, f"{name}_")
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._lines.items()))
