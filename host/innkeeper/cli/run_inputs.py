"""The values of a workflow's interface inputs, from `--input` and `--input-file`."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from innkeeper.bridge.codec import parse_json
from innkeeper.bridge.scan import DEFAULT_BOUNDS, MalformedError
from innkeeper.cli.files import read_up_to
from innkeeper.cli.settings import key_values
from innkeeper.errors import UsageError
from innkeeper.workflow.checking.values import misfit
from innkeeper.workflow.formats.payload import InterfaceSlot, WorkflowPayload


def give_inputs(payload: WorkflowPayload, pairs: tuple[str, ...], file_pairs: tuple[str, ...]) -> None:
    """Sets interface inputs of a workflow.

    Args:
        payload: the workflow; its interface inputs get new defaults.
        pairs: KEY=VALUE, the value as text for STRING slots, else as JSON.
        file_pairs: KEY=PATH, the file's text for STRING slots, its bytes for BINARY slots, else as JSON; "-" is
            standard input.

    Raises:
        UsageError: a key is unknown or given twice, a file cannot be read, or a value does not fit its slot.
    """
    values, files = key_values("--input", pairs), key_values("--input-file", file_pairs, paths=True)
    for key in files:
        if key in values:
            raise UsageError(f"give {key[:100]!r} with --input or with --input-file, not both")
    if list(files.values()).count("-") > 1:
        raise UsageError("--input-file: only one input can come from standard input")
    for option, given in (("--input", values), ("--input-file", files)):
        for key, text in given.items():
            slot = _slot(payload, option, key)
            data = text.encode() if option == "--input" else read_file(option, text)
            value = _value(f"{option} {key}", data, slot, from_file=option == "--input-file")
            payload.interface_inputs[key] = slot.model_copy(update={"config": {**slot.config, "default": value}})


def read_file(what: str, path: str, most: int = DEFAULT_BOUNDS.size) -> bytes:
    """The bytes of a file that the user named.

    Raises:
        UsageError: it cannot be read, or has more than `most` bytes.
    """
    data, _ = read_up_to(what, path, most)
    if len(data) > most:
        raise UsageError(f"{what} {path}: the file has more than {most:,} bytes")
    return data


def _slot(payload: WorkflowPayload, option: str, key: str) -> InterfaceSlot:
    if key in payload.interface_inputs:
        return payload.interface_inputs[key]
    names = list(payload.interface_inputs)
    if not names:
        raise UsageError(f"{option} {key[:100]}: this workflow has no inputs")
    close = get_close_matches(key[:200], names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise UsageError(f"{option} {key[:100]}: this workflow has no such input; {hint}its inputs are: {', '.join(names)}")


def _value(what: str, data: bytes, slot: InterfaceSlot, *, from_file: bool) -> Any:
    if slot.data_flow_type == "BINARY" and from_file:
        return data
    if slot.data_flow_type == "STRING":
        try:
            return data.decode("utf-8-sig" if from_file else "utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{what}: the text is not UTF-8 (byte {error.start:,})") from None
    try:
        value = parse_json(data)
    except MalformedError as error:
        raise UsageError(f"{what}: the slot is {slot.data_flow_type} and takes JSON; this is not: {error}") from None
    wrong = misfit(value, slot)
    if wrong is not None:
        raise UsageError(f"{what}: {wrong}")
    return value
