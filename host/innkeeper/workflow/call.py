"""One node's call on the wire: `{inputs, config, run: {id, node}}` in, `{outputs}` out.

Between nodes a value stays msgpack; where both sides speak msgpack, its bytes pass unread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgpack

from innkeeper.bridge.codec import decode, encode, unpack
from innkeeper.bridge.scan import CHUNK, DEFAULT_BOUNDS, DataBounds, MalformedError, scan_msgpack
from innkeeper.errors import GuestError
from innkeeper.plugins.nodes import Slot
from innkeeper.workflow.problems import known
from innkeeper.workflow.values import from_json, misfit

NodeCodec = Literal["msgpack", "json"]

InputValues = Mapping[str, "bytes | list[bytes]"]
"""Per input its value as msgpack; a list for a multi input."""

_SHOWN_KEY = 80

_NO_OUTPUTS = 'the node\'s answer has no outputs; it must be an object like {"outputs": {"NAME": VALUE}}'


def write_call(codec: NodeCodec, inputs: InputValues, config: Mapping[str, Any], run: str, node: str) -> bytes:
    """The bytes that a node's function is given.

    Raises:
        UsageError: a value cannot be written in this codec (NaN in JSON).
    """
    about = {"id": run, "node": node}
    if codec == "json":
        plain = {
            key: [msgpack.unpackb(each) for each in value] if isinstance(value, list) else msgpack.unpackb(value)
            for key, value in inputs.items()
        }
        return encode({"inputs": plain, "config": config, "run": about}, "json")
    packer = msgpack.Packer()
    parts: list[bytes] = [packer.pack_map_header(3), packer.pack("inputs"), packer.pack_map_header(len(inputs))]
    for key, value in inputs.items():
        parts.append(packer.pack(key))
        if isinstance(value, list):
            parts.append(packer.pack_array_header(len(value)))
            parts += value
        else:
            parts.append(value)
    parts += [packer.pack("config"), encode(config, "msgpack"), packer.pack("run"), packer.pack(about)]
    return b"".join(parts)


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
        wrong = misfit(_sketch(value), slots[key])
        if wrong is not None:
            raise GuestError(f"output {key!r}: {wrong}")
    return outputs


def _msgpack_outputs(data: bytes) -> dict[str, bytes]:
    try:
        scan_msgpack(data, DEFAULT_BOUNDS)
    except MalformedError as error:
        raise GuestError(f"the node's answer is not msgpack: {error}") from None
    if not _is_map(data[0]):
        raise GuestError(_NO_OUTPUTS)
    reader = msgpack.Unpacker(None, max_buffer_size=len(data))
    reader.feed(data)
    outputs: dict[str, bytes] | None = None
    for _ in range(reader.read_map_header()):
        if reader.unpack() != "outputs":
            reader.skip()
            continue
        if not _is_map(data[reader.tell()]):
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


def _json_outputs(data: bytes, slots: Mapping[str, Slot]) -> dict[str, bytes]:
    answer = decode(data, "json")
    outputs = answer.get("outputs") if isinstance(answer, dict) else None
    if not isinstance(outputs, dict):
        raise GuestError(_NO_OUTPUTS)
    return {
        key: encode(from_json(value, slots[key].data_flow_type) if key in slots else None, "msgpack")
        for key, value in outputs.items()
    }


def _is_map(byte: int) -> bool:
    return byte >> 4 == 0x8 or byte in (0xDE, 0xDF)


def _sketch(value: bytes) -> Any:
    """Something of the same kind as a msgpack value, without building it: scalars as they are, the rest empty."""
    first = value[0]
    if 0xA0 <= first <= 0xBF or 0xD9 <= first <= 0xDB:
        return ""
    if 0xC4 <= first <= 0xC6:
        return b""
    if _is_map(first):
        return {}
    if first >> 4 == 0x9 or first in (0xDC, 0xDD):
        return []
    return msgpack.unpackb(value)


def plain(value: bytes) -> Any:
    """A value between nodes (msgpack) as Python data, built piece by piece where it is large."""
    if len(value) <= CHUNK:
        return msgpack.unpackb(value)
    return unpack(value, scan_msgpack(value, DataBounds(size=len(value))))
