"""Data at the border: plain values cross, everything else is refused, and nothing is built before it was counted."""

from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from innkeeper.bridge import codec as codec_module
from innkeeper.bridge.codec import decode, encode, json_from_msgpack
from innkeeper.bridge.scan import CHUNK, DataBounds, scan_msgpack
from innkeeper.errors import GuestError, UsageError

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)


def values(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    )


def refusal(data: bytes, codec: Any, bounds: DataBounds = codec_module.DEFAULT_BOUNDS) -> str:
    with pytest.raises(GuestError) as caught:
        decode(data, codec, bounds)
    assert "\n" not in caught.value.message
    return caught.value.message


@settings(deadline=None)
@given(values(scalars | st.binary()))
def test_what_goes_into_msgpack_comes_out_the_same(value: Any) -> None:
    assert decode(encode(value, "msgpack"), "msgpack") == value


@settings(deadline=None)
@given(values(scalars))
def test_what_goes_into_json_comes_out_the_same(value: Any) -> None:
    assert decode(encode(value, "json"), "json") == value


@settings(deadline=None)
@given(st.lists(values(scalars | st.binary()), max_size=6), st.integers(16, 64))
def test_a_value_built_in_pieces_is_the_same_value(value: Any, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("innkeeper.bridge.scan.CHUNK", chunk)
        data = encode(value, "msgpack")
        assert codec_module.unpack(data, scan_msgpack(data).large) == value


@settings(deadline=None)
@given(values(scalars | st.binary()), st.integers(16, 64))
def test_json_that_is_written_in_pieces_is_the_same_json(value: Any, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("innkeeper.bridge.scan.CHUNK", chunk)
        patch.setattr(codec_module, "CHUNK", chunk)
        data = encode(value, "msgpack")
        written = b"".join(json_from_msgpack(data, scan_msgpack(data).large))
    assert json.loads(written) == json.loads(encode(value, "json"))


@settings(deadline=None)
@given(values(scalars | st.binary()))
def test_a_scan_counts_every_element_keys_included(value: Any) -> None:
    def count(part: Any) -> int:
        if isinstance(part, dict):
            return 1 + sum(1 + count(each) for each in part.values())
        return 1 + sum(map(count, part)) if isinstance(part, list) else 1

    assert scan_msgpack(encode(value, "msgpack")).elements == count(value)


def test_nan_and_infinity_cross_in_msgpack() -> None:
    back = decode(encode([math.nan, math.inf], "msgpack"), "msgpack")
    assert math.isnan(back[0])
    assert back[1] == math.inf


def test_bytes_are_raw_or_base64_in_json() -> None:
    assert encode(b"\x00\xff", "raw") == b"\x00\xff" == decode(b"\x00\xff", "raw")
    assert encode({"a": b"\x00\xff"}, "json") == b'{"a":"AP8="}'


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_one_kind_of_error_in_msgpack(data: bytes) -> None:
    try:
        scan_msgpack(data)
    except ValueError:
        with pytest.raises(GuestError):
            decode(data, "msgpack")
    else:
        decode(data, "msgpack")


@settings(deadline=None)
@given(values(scalars | st.binary()), st.data())
def test_mutated_msgpack_that_passes_the_scan_unpacks_to_what_was_counted(value: Any, data: st.DataObject) -> None:
    encoded = bytearray(encode(value, "msgpack"))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        scan_msgpack(bytes(encoded))
    except ValueError:
        return
    assert msgpack.unpackb(bytes(encoded)) is not msgpack


@settings(deadline=None)
@given(st.text(alphabet='[]{}",:\\u019eNal -.\ud83d', max_size=40))
@example('"\\ud83d"')
@example('{"a":1e999}')
def test_any_text_is_a_value_or_one_kind_of_error_in_json(text: str) -> None:
    try:
        value = decode(text.encode("utf-8", "surrogatepass"), "json")
    except GuestError:
        return
    encode(value, "json")
    encode(value, "msgpack")


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "ends after 0 bytes"),
        (b"\x92\x01", "ends after 2 bytes"),
        (b"\xdb\xff\xff\xff\xffabc", "ends after 8 bytes"),
        (b"\xc6\x00\x00", "ends after 3 bytes"),
        (b"\x01\x02", "1 bytes follow"),
        (b"\xc1", "0xC1"),
        (b"\xd4\x01\x00", "extension type"),
        (b"\xd6\xff\x00\x00\x00\x00", "extension type"),
        (b"\xc7\x00\x01", "extension type"),
        (b"\x81\x01\x02", "not text"),
        (b"\x81\xc4\x01a\x02", "not text"),
        (b"\x81\x91\xa1a\x02", "not text"),
        (b"\xa2\xc3\x28", "UTF-8"),
        (b"\x91" * 65 + b"\x00", "more than 64 deep"),
    ],
)
def test_msgpack_that_is_not_plain_data_is_refused_with_a_reason(data: bytes, word: str) -> None:
    message = refusal(data, "msgpack")
    assert message.startswith("the node's answer is not msgpack: ")
    assert word in message


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "line 1, column 1"),
        (b'{"a": 1 "b": 2}', "line 1, column 9"),
        (b"\xff", "UTF-8"),
        (b"NaN", "NaN is not a number"),
        (b"[-Infinity]", "-Infinity is not a number"),
        (b"1e999", "not finite"),
        (b"18446744073709551616", "64 bits"),
        (b"-9223372036854775809", "64 bits"),
        (b"1" * 1_000_000, "64 bits"),
        (b"[" * 65 + b"]" * 65, "more than 64 deep"),
        (b"[" * 100 + b'"', "more than 64 deep"),
        (b"[" * 60 + b"[" + b"[]," * 20 + b'"\\', "does not end"),
    ],
)
def test_json_that_is_not_plain_data_is_refused_with_a_reason(data: bytes, word: str) -> None:
    message = refusal(data, "json")
    assert message.startswith("the node's answer is not JSON: ")
    assert word in message


def test_the_depth_that_is_allowed_is_allowed() -> None:
    assert decode(b"\x91" * 63 + b"\x90", "msgpack")
    assert decode(b"[" * 64 + b"]" * 64, "json")


def test_brackets_and_commas_inside_of_strings_are_no_elements() -> None:
    text = "[{,:" * 100
    assert (
        decode(json.dumps([text, '"' * 100, "\\" * 100]).encode(), "json", DataBounds(elements=10, depth=2))[0] == text
    )


@pytest.mark.parametrize(
    ("data", "codec"),
    [
        (b"\xdd\x00\x0f\xff\xf0" + b"\x80" * 0xFFFF0, "msgpack"),
        (b"\x9f" * 100_000, "msgpack"),
        (b"[" + b"{}," * 200_000 + b"{}]", "json"),
        (b"[" + b'"",' * 200_000 + b'""]', "json"),
        (b"[[" + b"{}," * 100_000, "json"),
        (b'{"a":' * 100_000, "json"),
    ],
)
def test_too_many_elements_are_refused_before_they_are_built(data: bytes, codec: Any) -> None:
    tracemalloc.start()
    try:
        message = refusal(data, codec, DataBounds(elements=100_000))
        assert tracemalloc.get_traced_memory()[1] < 3 * len(data)
    finally:
        tracemalloc.stop()
    assert "elements" in message or "deep" in message


def test_elements_that_are_announced_count_at_once() -> None:
    assert "elements" in refusal(b"\xdd\xff\xff\xff\xff", "msgpack")
    assert "elements" in refusal(b"\xdf\xff\xff\xff\xff", "msgpack")
    # Each level promises 600,000 elements: together they are beyond the bound long before any of them comes.
    header = b"\xdd" + (600_000).to_bytes(4, "big")
    assert "elements" in refusal(header * 60 + b"\x00" * 1_000_000, "msgpack")


def test_a_string_without_an_end_is_looked_at_once() -> None:
    # Each of its four million quotation marks could be the beginning of a string that does not end.
    assert "JSON" in refusal(b"[" * 70 + b'"' + b'\\"' * 2_000_000, "json")
    assert "JSON" in refusal(b"[[" * 30 + b'"' + b'\\"' * 2_000_000, "json", DataBounds(elements=10))


def test_more_bytes_than_allowed_are_refused() -> None:
    bounds = DataBounds(size=10)
    for codec in ("msgpack", "json", "raw"):
        assert "11 bytes" in refusal(b'"aaaaaaaaa"', codec, bounds)


def test_arrays_of_floats_are_checked_as_a_whole_and_exactly() -> None:
    vector = [float(n) for n in range(100)]
    data = encode(vector, "msgpack")
    assert decode(data, "msgpack") == vector
    assert "ends after" in refusal(data[:-1], "msgpack")
    mixed = [*vector[:50], "text", *vector[50:]]
    assert decode(encode(mixed, "msgpack"), "msgpack") == mixed


def test_half_of_a_surrogate_pair_becomes_the_replacement_character() -> None:
    assert decode(rb'"a\ud83db"', "json") == "a\ufffdb"
    assert decode(rb'"\ude00\ud83d\ude00\uD83D"', "json") == "\ufffd\U0001f600\ufffd"
    assert decode(rb'"\\ud83d"', "json") == "\\ud83d"


@pytest.mark.parametrize(
    ("value", "codec", "word"),
    [
        (math.nan, "json", "float"),
        (1 << 64, "msgpack", "integer"),
        ({"a": object()}, "msgpack", "object"),
        ({"a": object()}, "json", "object"),
        ("\ud800", "msgpack", "surrogate"),
        ("\ud800", "json", "surrogate"),
        ("text", "raw", "bytes"),
    ],
)
def test_what_a_codec_cannot_write_is_an_error_in_one_sentence(value: Any, codec: Any, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        encode(value, codec)
    assert word in caught.value.message
    assert "\n" not in caught.value.message


def test_long_values_which_are_built_piece_by_piece_are_the_same() -> None:
    value = {"numbers": list(range(50_000)), "texts": ["x" * 100] * 2000, "one": "y" * CHUNK}
    for codec in ("msgpack", "json"):
        data = encode(value, codec)
        assert len(data) > CHUNK
        assert decode(data, codec) == value
        with pytest.raises(GuestError):
            decode(data[:-1], codec)


def test_no_piece_of_a_large_value_is_larger_than_a_chunk() -> None:
    for value in (
        [{}] * 100_000,
        {str(number): number for number in range(20_000)},
        [[1.5] * 3000] * 30,
        {"a": {"b": [["x" * 50] * 500] * 10}},
    ):
        data = encode(value, "msgpack")
        pieces = list(json_from_msgpack(data, scan_msgpack(data).large))
        assert json.loads(b"".join(pieces)) == value
        # Numbers and empty maps take more room in JSON, and the last element of a piece goes beyond its end.
        assert max(map(len, pieces)) < 6 * CHUNK
        assert len(pieces) >= len(data) // (2 * CHUNK)
