"""One node's call on the wire: `{inputs, config, run: {id, node}}` in, `{outputs}` out.

Between nodes a value stays msgpack; where both sides speak msgpack, its bytes pass unread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgpack

from innkeeper.bridge.codec import decode, encode, is_map, json_from_msgpack, unpack
from innkeeper.bridge.scan import CHUNK, DEFAULT_BOUNDS, JSON_ANSWER_BOUNDS, DataBounds, MalformedError, scan_msgpack
from innkeeper.errors import GuestError, LimitError
from innkeeper.plugins.nodes import Slot
from innkeeper.workflow.checking.problems import known, listed
from innkeeper.workflow.checking.values import from_json, misfit
from innkeeper.workflow.host import NodePlugin

NodeCodec = Literal["msgpack", "json"]

InputValues = Mapping[str, "bytes | list[bytes]"]
"""Per input its value as msgpack; a list for a multi input."""

MOST_ELEMENTS = DEFAULT_BOUNDS.elements
"""Elements of all inputs of one call together: what is joined may have as many as one value."""

_SHOWN_KEY = 80

_BUFFER = 1024
"""Bytes of a packer's buffer to begin with; it grows."""

_INPUTS, _CONFIG, _RUN = b"\x83" + msgpack.packb("inputs"), msgpack.packb("config"), msgpack.packb("run")
_EMPTY: bytes = msgpack.packb({})
_NOBODYS: bytes = msgpack.packb({"id": "", "node": ""})

_ONE = rb"(?:\x81|\xde\x00\x01|\xdf\x00\x00\x00\x01)"
_ONE_OUTPUT = re.compile(_ONE + rb"\xa7outputs" + _ONE + rb"[\xa0-\xbf]")
"""How an answer with one output begins, up to the length of its name: encoders write maps in three ways."""

_NO_OUTPUTS = 'the node\'s answer has no outputs; it must be an object like {"outputs": {"NAME": VALUE}}'


def size_within(inputs: InputValues, plugin: NodePlugin, function: str) -> int:
    """Bytes (int) of the inputs of one call.

    Raises:
        LimitError: more than the plugin's limit. Known before they are joined: thousands of edges may lead to one node
            from one large output.
    """
    size = sum(sum(map(len, value)) if isinstance(value, list) else len(value) for value in inputs.values())
    if size > plugin.limits.input:
        raise LimitError(
            f"its inputs have {size:,} bytes together, and the limit 'input' is {plugin.limits.input:,}",
            limit="input",
            value=plugin.limits.input,
            used=size,
            plugin=plugin.id,
            function=function,
        )
    return size


def write_call(codec: NodeCodec, inputs: InputValues, config: Mapping[str, Any], run: str, node: str) -> bytes:
    """The bytes that a node's function is given.

    Raises:
        LimitError: the inputs have too many elements together; nothing was built. The message names them.
        UsageError: a value cannot be written in this codec (NaN in JSON).
    """
    _check_elements(inputs, node)
    if codec == "json":
        about = {"id": run, "node": node}
        written = b",".join(encode(key, "json") + b":" + _json(value) for key, value in inputs.items())
        rest = encode({"config": config, "run": about}, "json")
        return b'{"inputs":{' + written + b"}," + rest[1:]
    # Without the packer's own size of a buffer, which is asked of the system and given back for each call.
    packer = msgpack.Packer(buf_size=_BUFFER)
    parts: list[bytes] = [_INPUTS, packer.pack_map_header(len(inputs))]
    for key, value in inputs.items():
        parts.append(packer.pack(key))
        if isinstance(value, list):
            parts.append(packer.pack_array_header(len(value)))
            parts += value
        else:
            parts.append(value)
    parts += [_CONFIG, encode(config, "msgpack") if config else _EMPTY, _RUN]
    parts.append(packer.pack({"id": run, "node": node}) if run or node else _NOBODYS)
    return b"".join(parts)


def _check_elements(inputs: InputValues, node: str) -> None:
    size = 0
    for value in inputs.values():
        size += sum(map(len, value)) if isinstance(value, list) else len(value)
    # Each element takes a byte at least: few bytes need not be counted.
    if size <= MOST_ELEMENTS:
        return
    values = {key: value if isinstance(value, list) else [value] for key, value in inputs.items()}
    left = MOST_ELEMENTS
    for several in values.values():
        for value in several:
            count = count_elements(value, left)
            if count is None:
                raise LimitError(_too_many(values), limit="input elements", value=MOST_ELEMENTS, node=node)
            left -= count


def _too_many(values: Mapping[str, list[bytes]]) -> str:
    keys = [key for key, several in values.items() if any(_is_container(value[0]) for value in several)] or list(values)
    inputs = f"inputs {listed(keys)} have" if len(keys) > 1 else f"input {listed(keys)} has"
    return f"the {inputs} more than {MOST_ELEMENTS:,} elements{' together' if len(keys) > 1 else ''}"


def count_elements(value: bytes, most: int) -> int | None:
    """How many elements a value between nodes (msgpack) has (int), or None if they are more than `most`."""
    if most < 1:
        return None
    if not _is_container(value[0]):
        return 1
    try:
        return scan_msgpack(value, DataBounds(size=len(value), elements=most)).elements
    except MalformedError:
        return None


def _json(value: bytes | list[bytes]) -> bytes:
    if isinstance(value, list):
        return b"[" + b",".join(map(_json, value)) + b"]"
    if len(value) <= CHUNK:
        return encode(msgpack.unpackb(value), "json")
    return b"".join(json_from_msgpack(value, scan_msgpack(value, _trusted(value)).large))


def read_answer(codec: NodeCodec, data: bytes, slots: Mapping[str, Slot]) -> dict[str, bytes]:
    """The outputs (msgpack, by key) in what a node's function answered. An output that it left out is left out.

    Raises:
        GuestError: it is not an answer, names an output that the node does not have, or a value does not fit its
            output; the message names the output.
    """
    outputs = _msgpack_outputs(data) if codec == "msgpack" else _json_outputs(data, slots)
    for key, value in outputs.items():
        if key not in slots:
            shown = key if len(key) <= _SHOWN_KEY else key[:_SHOWN_KEY] + "..."
            raise GuestError(
                f"answered with an output {shown!r} that the node does not have; {known(list(slots), key)}"
            )
        wrong = misfit(sketch(value), slots[key])
        if wrong is not None:
            raise GuestError(f"output {key!r}: {wrong}")
    return outputs


def _msgpack_outputs(data: bytes) -> dict[str, bytes]:
    head = _ONE_OUTPUT.match(data)
    name = 0 if head is None else head.end()
    value = name + (data[name - 1] & 0x1F) if name else 0
    if not (name and _are_texts(data, name, value)):
        try:
            scan_msgpack(data, DEFAULT_BOUNDS)
        except MalformedError as error:
            raise GuestError(f"the node's answer is not msgpack: {error}") from None
    if name:
        # As nearly all answers are.
        return {data[name:value].decode(): data[value:]}
    if not is_map(data[0]):
        raise GuestError(_NO_OUTPUTS)
    reader = msgpack.Unpacker(None, max_buffer_size=len(data))
    reader.feed(data)
    outputs: dict[str, bytes] | None = None
    for _ in range(reader.read_map_header()):
        if reader.unpack() != "outputs":
            reader.skip()
            continue
        if not is_map(data[reader.tell()]):
            raise GuestError(_NO_OUTPUTS)
        outputs = {}
        for _ in range(reader.read_map_header()):
            key = reader.unpack()
            start = reader.tell()
            reader.skip()
            outputs[key] = data[start : reader.tell()]
    if outputs is None:
        raise GuestError(_NO_OUTPUTS)
    return outputs


def _are_texts(data: bytes, name: int, value: int) -> bool:
    """Whether all that follows the name of an output is one text: then there is nothing to scan, which of a node that
    does little would take as long as all else."""
    if value >= len(data) or len(data) > CHUNK:
        return False
    first = data[value]
    if 0xA0 <= first <= 0xBF:
        text, length = value + 1, first & 0x1F
    elif 0xD9 <= first <= 0xDA:
        text = value + first - 0xD7
        length = int.from_bytes(data[value + 1 : text], "big")
    else:
        return False
    if text + length != len(data):
        return False
    try:
        data[name:value].decode()
        data[text:].decode()
    except UnicodeDecodeError:
        return False
    return True


def _json_outputs(data: bytes, slots: Mapping[str, Slot]) -> dict[str, bytes]:
    answer = decode(data, "json", JSON_ANSWER_BOUNDS)
    outputs = answer.get("outputs") if isinstance(answer, dict) else None
    if not isinstance(outputs, dict):
        raise GuestError(_NO_OUTPUTS)
    return {
        key: encode(from_json(value, slots[key].data_flow_type) if key in slots else None, "msgpack")
        for key, value in outputs.items()
    }


def _is_container(byte: int) -> bool:
    return is_map(byte) or byte >> 4 == 0x9 or byte in (0xDC, 0xDD)


def sketch(value: bytes) -> Any:
    """Something of the same kind as a msgpack value, without building it: scalars as they are, the rest empty."""
    first = value[0]
    if 0xA0 <= first <= 0xBF or 0xD9 <= first <= 0xDB:
        return ""
    if 0xC4 <= first <= 0xC6:
        return b""
    if is_map(first):
        return {}
    if _is_container(first):
        return []
    return msgpack.unpackb(value)


def plain(value: bytes) -> Any:
    """A value between nodes (msgpack) as Python data, built piece by piece where it is large."""
    if len(value) <= CHUNK:
        return msgpack.unpackb(value)
    return unpack(value, scan_msgpack(value, _trusted(value)).large)


def _trusted(value: bytes) -> DataBounds:
    """Bounds that a value which was bounded before cannot reach."""
    return DataBounds(size=len(value), elements=len(value))
