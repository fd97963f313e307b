"""The six node types in plugins/, called through the host as a workflow calls them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import innkeeper
import msgpack
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from innkeeper.sandbox.wasm import parse

PLUGINS = Path(__file__).parent.parent / "plugins"

Node = Callable[..., Awaitable[Any]]
"""Calls a node with its inputs, and its mode as `mode`; gives its outputs."""


@pytest.fixture
async def host() -> AsyncIterator[innkeeper.Host]:
    async with innkeeper.open_host() as host:
        yield host


@pytest.fixture
async def basics(host: innkeeper.Host) -> innkeeper.Plugin:
    return await host.load(PLUGINS / "core-basics.wasm")


@pytest.fixture
async def messages(host: innkeeper.Host) -> innkeeper.Plugin:
    return await host.load(PLUGINS / "core-messages.wasm")


def in_msgpack(plugin: innkeeper.Plugin, function: str) -> Node:
    async def call(*, mode: str | None = None, **inputs: Any) -> Any:
        config = {} if mode is None else {"operationMode": mode}
        data = msgpack.packb({"inputs": inputs, "config": config, "run": {"id": "r", "node": "n"}})
        return msgpack.unpackb((await plugin.call(function, data)).output)["outputs"]

    return call


def in_json(plugin: innkeeper.Plugin, function: str) -> Node:
    async def call(**inputs: Any) -> Any:
        data = json.dumps({"inputs": inputs, "config": {}, "run": {"id": "r", "node": "n"}})
        return json.loads((await plugin.call(function, data.encode())).output)["outputs"]

    return call


@pytest.fixture
def merge(basics: innkeeper.Plugin) -> Node:
    return in_msgpack(basics, "text_merge")


@pytest.fixture
def compute(basics: innkeeper.Plugin) -> Node:
    return in_msgpack(basics, "math_operation")


@pytest.fixture
def matrices(basics: innkeeper.Plugin) -> Node:
    return in_msgpack(basics, "matrix_operation")


@pytest.fixture
def regex(messages: innkeeper.Plugin) -> Node:
    return in_json(messages, "apply_regex")


@pytest.fixture
def create(messages: innkeeper.Plugin) -> Node:
    return in_json(messages, "create_message")


@pytest.fixture
def merge_messages(messages: innkeeper.Plugin) -> Node:
    return in_json(messages, "merge_messages")


async def error_of(call: Awaitable[Any]) -> str:
    with pytest.raises(innkeeper.GuestError) as caught:
        await call
    assert caught.value.code == 1, "the node failed by a trap, not by a sentence of its own"
    return caught.value.message


# ---- core:TextMerge


async def test_texts_are_joined_in_their_order(merge: Node) -> None:
    assert await merge(text_inputs=["b", "a", "c"], separator=", ") == {"merged_text": "b, a, c"}


async def test_the_separator_is_a_new_line_where_none_is_given(merge: Node) -> None:
    assert await merge(text_inputs=["a", "b"]) == {"merged_text": "a\nb"}
    assert await merge(text_inputs=["a", "b"], separator=None) == {"merged_text": "a\nb"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [(r"\n", "\n"), (r"\t", "\t"), (r"\\", "\\"), (r"\\n", "\\n"), ("\\", "\\"), (r"\q", "\\q"), ("", ""), ("é\\n", "é\n")],
)
async def test_escapes_in_the_separator_are_parsed(merge: Node, written: str, meant: str) -> None:
    assert await merge(text_inputs=["a", "b"], separator=written) == {"merged_text": f"a{meant}b"}


async def test_a_single_text_needs_no_array(merge: Node) -> None:
    assert await merge(text_inputs="alone") == {"merged_text": "alone"}
    assert await merge() == {"merged_text": ""}


async def test_numbers_and_booleans_are_written_as_javascript_writes_them(merge: Node) -> None:
    written = {
        1: "1", 1.0: "1", -0.0: "0", 2.5: "2.5", 0.1: "0.1", 1e21: "1e+21", 123456789012345680000.0: "123456789012345680000",
        1e-6: "0.000001", 1.5e-7: "1.5e-7", 5e-324: "5e-324", 1.7976931348623157e308: "1.7976931348623157e+308",
        math.inf: "Infinity", -1 / 3: "-0.3333333333333333", 2**63: "9223372036854775808", -(2**31): "-2147483648",
    }  # fmt: skip
    expected = [*written.values(), "true", "false", "", "NaN"]
    merged = await merge(text_inputs=[*written, True, False, None, math.nan], separator=" ")
    # 2**63 is 9223372036854776000 in JavaScript: the fewest digits that tell doubles apart, then zeros.
    assert merged["merged_text"].split(" ") == [text.replace("9223372036854775808", "9223372036854776000") for text in expected]


async def test_what_is_not_text_is_named_by_its_place(merge: Node) -> None:
    assert "item 2 of 3 is an object" in await error_of(merge(text_inputs=["a", {}, "b"]))
    assert "'separator' is a number" in await error_of(merge(text_inputs=["a"], separator=3))


def test_any_texts_are_merged_as_pythons_join_does() -> None:
    text = st.text(st.characters(codec="utf-8"), max_size=40)

    async def all_at_once(cases: list[tuple[list[str], str]]) -> None:
        async with innkeeper.open_host() as host:
            merge = in_msgpack(await host.load(PLUGINS / "core-basics.wasm"), "text_merge")
            for texts, separator in cases:
                escaped = separator.replace("\\", "\\\\")
                assert await merge(text_inputs=texts, separator=escaped) == {"merged_text": separator.join(texts)}

    @settings(deadline=None, max_examples=15)
    @given(st.lists(st.tuples(st.lists(text, max_size=40), text), max_size=10))
    def check(cases: list[tuple[list[str], str]]) -> None:
        trio.run(all_at_once, cases)

    check()


async def test_long_texts_are_merged(merge: Node) -> None:
    texts = ["é" * 300_000, "x" * 1_000_003]
    assert await merge(text_inputs=texts) == {"merged_text": "\n".join(texts)}


async def test_separators_that_ask_for_gigabytes_end_in_an_error(basics: innkeeper.Plugin) -> None:
    call = in_msgpack(basics, "text_merge")(text_inputs=[""] * 60_000, separator="x" * 60_000)
    with pytest.raises(innkeeper.InnkeeperError, match="memory"):
        await call


# ---- msgpack at the border of core-basics


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is cut off"),
        (b"\x81", "is cut off"),
        (b"\x81\xa6inputs", "is cut off"),
        (b"\xdd\xff\xff\xff\xff", "is cut off"),
        (b"\xdf\xff\xff\xff\xff\xc0", "is cut off"),
        (b"\xdb\xff\xff\xff\xff", "is cut off"),
        (b"\xc6\xff\xff\xff\xff", "is cut off"),
        (b"\xcf\x00", "is cut off"),
        (b"\xd9", "is cut off"),
        (b"\x91" * 100_000, "is cut off"),
        (b"\xc1", "unknown type"),
        (b"\xd4\x01\x00", "extension type"),
        (b"\xc7\x00\x01", "extension type"),
        (b"\xa1\xff", "not UTF-8"),
        (b"\xa3\xed\xa0\x80", "not UTF-8"),
        (b"\xa2\xc0\x80", "not UTF-8"),
        (b"\xa4\xf4\x90\x80\x80", "not UTF-8"),
        (b"\xa1\xc3", "not UTF-8"),
        (b"\x80\x80", "goes on after its end"),
        (b"\xc0", "not an object"),
        (b"\x91" * 100_000 + b"\xc0", "not an object"),
        (b"\x80", "not an object"),
        (b"\x81\xa6inputs\x90", "not an object"),
    ],
)
async def test_input_that_is_not_a_node_call_is_refused_by_a_sentence(
    basics: innkeeper.Plugin, data: bytes, why: str
) -> None:
    for function in ("text_merge", "math_operation", "matrix_operation"):
        assert why in await error_of(basics.call(function, data))


async def test_nothing_of_the_input_may_be_cut_off(basics: innkeeper.Plugin) -> None:
    whole = msgpack.packb({"inputs": {"text_inputs": ["abc", 1.5, 70_000, "é" * 40, [], {}]}, "config": {"a": b"x" * 300}})
    for length in range(0, len(whole), 3):
        assert "cut off" in await error_of(basics.call("text_merge", whole[:length]))


def test_no_bytes_make_core_basics_trap() -> None:
    functions = st.sampled_from(["text_merge", "math_operation", "matrix_operation"])
    values = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=20,
    )  # fmt: skip
    slots = st.sampled_from(["text_inputs", "separator", "a", "b", "value", "matrix", "clamp", "base", "exponent"])
    calls = st.fixed_dictionaries(
        {"inputs": st.dictionaries(slots, values, max_size=4)},
        optional={"config": st.dictionaries(st.just("operationMode"), values | st.sampled_from(["det", "power", "multiply"]))},
    )  # fmt: skip
    packed = calls.map(lambda call: msgpack.packb(call, unicode_errors="surrogatepass"))

    async def all_at_once(cases: list[tuple[str, bytes]]) -> None:
        async with innkeeper.open_host() as host:
            plugin = await host.load(PLUGINS / "core-basics.wasm")
            for function, data in cases:
                try:
                    output = (await plugin.call(function, data)).output
                except innkeeper.GuestError as error:
                    assert error.code == 1, f"{function}({data!r}) trapped: {error}"
                else:
                    assert list(msgpack.unpackb(output)) == ["outputs"]

    @settings(deadline=None, max_examples=25)
    @given(st.lists(st.tuples(functions, st.binary(max_size=60) | packed), max_size=20))
    def check(cases: list[tuple[str, bytes]]) -> None:
        trio.run(all_at_once, cases)

    check()


# ---- core:MathOperation

ONE_INPUT: dict[str, Callable[[float], float]] = {
    "sqrt": math.sqrt,
    "inverse_sqrt": lambda x: 1 / math.sqrt(x),
    "absolute": abs,
    "exp": math.exp,
    "sign": lambda x: math.copysign(1, x) if x else 0.0,
    "round": lambda x: math.floor(x + 0.5),
    "floor": math.floor,
    "ceil": math.ceil,
    "truncate": math.trunc,
    "fraction": lambda x: x - math.trunc(x) + (x < 0),
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "tanh": math.tanh,
}
TWO_INPUTS: dict[str, Callable[[float, float], float]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "min": min,
    "max": max,
    "lessThan": lambda a, b: float(a < b),
    "greaterThan": lambda a, b: float(a > b),
    "modulo": math.fmod,
}
DOMAINS = {"sqrt": (0, 100), "inverse_sqrt": (0.01, 100), "asin": (-1, 1), "acos": (-1, 1)}


def samples(low: float, high: float) -> list[float]:
    return [low + (high - low) * step / 24 for step in range(25)]


def close(result: float, expected: float) -> bool:
    return math.isclose(result, expected, rel_tol=1e-12, abs_tol=1e-12)


@pytest.mark.parametrize("mode", ONE_INPUT)
async def test_modes_of_one_input_compute_what_python_computes(compute: Node, mode: str) -> None:
    for value in samples(*DOMAINS.get(mode, (-7.5, 7.5))):
        result = (await compute(mode=mode, value=value))["result"]
        assert isinstance(result, float)
        assert close(result, ONE_INPUT[mode](value)), (value, result)


@pytest.mark.parametrize("mode", TWO_INPUTS)
async def test_modes_of_two_inputs_compute_what_python_computes(compute: Node, mode: str) -> None:
    for a in samples(-9, 9)[::3]:
        for b in (-3.5, -1, 2, 7):
            result = (await compute(mode=mode, a=a, b=b))["result"]
            assert isinstance(result, float)
            assert close(result, TWO_INPUTS[mode](a, b)), (a, b, result)


async def test_modes_with_inputs_of_their_own(compute: Node) -> None:
    assert await compute(mode="multiply_add", val1=2, val2=3.5, val3=-1) == {"result": 6.0}
    assert await compute(mode="power", base=2, exponent=10) == {"result": 1024.0}
    assert close((await compute(mode="power", base=2, exponent=0.5))["result"], math.sqrt(2))
    assert close((await compute(mode="logarithm", value=1000, base=10))["result"], 3)
    assert close((await compute(mode="logarithm", value=5))["result"], math.log(5))
    for y, x in ((1, 1), (-1, 2), (3, -4), (0, -1), (-2, 0)):
        assert close((await compute(mode="atan2", y=y, x=x))["result"], math.atan2(y, x))
    assert close((await compute(mode="to_radians", degrees=90))["result"], math.pi / 2)
    assert close((await compute(mode="to_degrees", radians=math.pi))["result"], 180)


async def test_addition_is_the_mode_where_none_is_chosen(compute: Node) -> None:
    assert await compute(a=1, b=2) == {"result": 3.0}
    assert await compute(mode=None, a=1, b=2.5) == {"result": 3.5}


@pytest.mark.parametrize("nothing", [None, 0, 0.0, -0.0, False, "", math.nan])
async def test_what_javascript_counts_as_false_is_the_default(compute: Node, nothing: Any) -> None:
    assert await compute(mode="add", a=5, b=nothing) == {"result": 5.0}
    assert await compute(mode="power", base=3, exponent=nothing) == {"result": 9.0}
    assert await compute(mode="logarithm", value=nothing, base=10) == {"result": 0.0}
    assert close((await compute(mode="logarithm", value=5, base=nothing))["result"], math.log(5))


async def test_missing_inputs_are_the_default(compute: Node) -> None:
    assert await compute(mode="cos") == {"result": 1.0}
    assert await compute(mode="power", base=3) == {"result": 9.0}
    assert await compute(mode="logarithm") == {"result": 0.0}


async def test_integers_booleans_and_decimal_texts_are_numbers(compute: Node) -> None:
    assert await compute(a=2**63, b=-(2**62)) == {"result": float(2**62)}
    assert await compute(a=True, b="2.5e1") == {"result": 26.0}
    assert await compute(a=" -3. ", b=".5") == {"result": -2.5}
    assert await compute(a="-Infinity", b=1) == {"result": -math.inf}
    assert await compute(mode="power", base=3, exponent="0") == {"result": 1.0}


async def test_halves_are_rounded_up_as_javascript_rounds(compute: Node) -> None:
    rounded = {0.5: 1, 1.5: 2, 2.5: 3, -0.5: 0, -1.5: -1, -2.5: -2, 0.49999999999999994: 0, 4503599627370497.5: 4503599627370498}
    rounded |= {9007199254740991: 9007199254740991, -1.2: -1, 1e300: 1e300}
    for value, expected in rounded.items():
        assert (await compute(mode="round", value=value))["result"] == expected, value
    assert math.copysign(1, (await compute(mode="round", value=-0.2))["result"]) == -1


async def test_the_remainder_has_the_sign_of_the_dividend(compute: Node) -> None:
    assert await compute(mode="modulo", a=-7, b=3) == {"result": -1.0}
    assert await compute(mode="modulo", a=7, b=-3) == {"result": 1.0}
    assert await compute(mode="modulo", a=5.5, b=2) == {"result": 1.5}


async def test_the_fraction_of_a_negative_number_counts_from_below(compute: Node) -> None:
    assert await compute(mode="fraction", value=1.25) == {"result": 0.25}
    assert await compute(mode="fraction", value=-1.25) == {"result": 0.75}
    assert await compute(mode="fraction", value=-2) == {"result": 1.0}


async def test_clamping_keeps_results_between_0_and_1(compute: Node) -> None:
    assert await compute(a=5, clamp=True) == {"result": 1.0}
    assert await compute(a=-5, clamp=1) == {"result": 0.0}
    assert await compute(a=0.5, clamp="yes") == {"result": 0.5}
    assert await compute(a=5, clamp=False) == {"result": 5.0}
    assert math.isnan((await compute(mode="asin", value=2, clamp=True))["result"])


async def test_results_that_do_not_exist_are_nan(compute: Node) -> None:
    for mode, inputs in (
        ("logarithm", {"value": -1}),
        ("logarithm", {"value": 2, "base": 1}),
        ("logarithm", {"value": 2, "base": -2}),
        ("asin", {"value": 2}),
        ("acos", {"value": -2}),
        ("power", {"base": -8, "exponent": 1 / 3}),
        ("power", {"base": 1, "exponent": math.inf}),
        ("sin", {"value": math.inf}),
    ):
        assert math.isnan((await compute(mode=mode, **inputs))["result"]), (mode, inputs)


@pytest.mark.parametrize(
    ("mode", "inputs", "why"),
    [
        ("divide", {"a": 1, "b": 0}, "input 'b' is 0"),
        ("divide", {"a": 1}, "input 'b' is 0"),
        ("modulo", {"a": 1, "b": "0"}, "input 'b' is 0"),
        ("sqrt", {"value": -1}, "input 'value' is negative"),
        ("inverse_sqrt", {"value": 0}, "input 'value' is not above 0"),
        ("inverse_sqrt", {"value": -1}, "input 'value' is not above 0"),
        ("add", {"a": [1]}, "input 'a' is an array, not a number"),
        ("add", {"a": 1, "b": "1 apple"}, "input 'b' is the text \"1 apple\", which is not a number"),
        ("add", {"a": "0x10"}, "input 'a' is the text"),
        ("add", {"a": b"1"}, "input 'a' is bytes"),
        ("sin", {"value": {"x": 1}}, "input 'value' is an object"),
        ("add", {"a": "ä" * 1000}, "..."),
        ("cube", {}, "'operationMode' is \"cube\", which is no mode"),
    ],
)
async def test_refusals_say_which_input_is_wrong_and_how(
    compute: Node, mode: str, inputs: dict[str, Any], why: str
) -> None:
    assert why in await error_of(compute(mode=mode, **inputs))


async def test_every_mode_of_the_manifest_is_computed(host: innkeeper.Host, basics: innkeeper.Plugin) -> None:
    assert basics.manifest is not None
    nodes = {node.type: node for node in basics.manifest.nodes}
    compute = in_msgpack(basics, "math_operation")
    modes = nodes["MathOperation"].modes
    assert len(modes) == 34
    for mode, definition in modes.items():
        slots = [slot for slot in definition.inputs or {} if slot != "clamp"]
        result = await compute(mode=mode, **dict.fromkeys(slots, 0.5))
        # Each slot counts: with text in it the node refuses and names it.
        assert set(result) == set(definition.outputs or {}) == {"result"}
        for slot in slots:
            assert f"input '{slot}'" in await error_of(compute(mode=mode, **(dict.fromkeys(slots, 0.5) | {slot: "?"})))


# ---- core:MatrixOperation

A, B = [[1, 2], [3, 4]], [[0.5, -1], [2, 0]]


@pytest.mark.parametrize(
    ("mode", "inputs", "expected"),
    [
        ("add", {"a": A, "b": B}, [[1.5, 1], [5, 4]]),
        ("subtract", {"a": A, "b": B}, [[0.5, 3], [1, 4]]),
        ("multiply", {"a": A, "b": B}, [[4.5, -1], [9.5, -3]]),
        ("add", {"a": "[[1, 2], [3, 4]]", "b": " [[1,1],\n[1,1]] "}, [[2, 3], [4, 5]]),
        ("add", {"a": A, "b": 10}, [[11, 12], [13, 14]]),
        ("subtract", {"a": "10", "b": A}, [[9, 8], [7, 6]]),
        ("multiply", {"a": 2, "b": [1, 2, 3]}, [2, 4, 6]),
        ("add", {"a": 1.5, "b": "2.5e0"}, 4),
        ("add", {"a": [1, 2], "b": [3, 4]}, [4, 6]),
        ("multiply", {"a": [1, 2, 3], "b": [4, 5, 6]}, 32),
        ("multiply", {"a": A, "b": [1, 1]}, [3, 7]),
        ("multiply", {"a": [1, 1], "b": A}, [4, 6]),
        ("multiply", {"a": [[1, 2, 3]], "b": [[1], [2], [3]]}, [[14]]),
        ("multiply", {"a": [[1], [2]], "b": [[3, 4]]}, [[3, 4], [6, 8]]),
        ("transpose", {"matrix": [[1, 2, 3], [4, 5, 6]]}, [[1, 4], [2, 5], [3, 6]]),
        ("transpose", {"a": "[[1, 2]]"}, [[1], [2]]),
        ("transpose", {"matrix": [1, 2, 3]}, [1, 2, 3]),
        ("invert", {"matrix": A}, [[-2, 1], [1.5, -0.5]]),
        ("invert", {"matrix": [[4]]}, [[0.25]]),
        ("invert", {"matrix": [[0, 1, 0], [1, 0, 0], [0, 0, 2]]}, [[0, 1, 0], [1, 0, 0], [0, 0, 0.5]]),
        ("det", {"matrix": A}, -2),
        ("det", {"a": [[7]]}, 7),
        ("det", {"matrix": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}, 0),
        ("det", {"matrix": [[0, 2, 3], [4, 5, 6], [7, 8, 10]]}, -5),
        ("det", {"matrix": [[0.5, 0], [0, 0.25]]}, 0.125),
    ],
)
async def test_matrices_are_computed_in_the_shapes_of_mathjs(
    matrices: Node, mode: str, inputs: dict[str, Any], expected: Any
) -> None:
    assert await matrices(mode=mode, **inputs) == {"result": expected}


@pytest.mark.parametrize("size", [3, 10, 64])
async def test_a_matrix_times_its_inverse_is_the_identity(matrices: Node, size: int) -> None:
    matrix = [[math.sin(row * 7.3 + column * 3.1) + (row == column) * 3 for column in range(size)] for row in range(size)]
    inverse = (await matrices(mode="invert", matrix=matrix))["result"]
    product = (await matrices(mode="multiply", a=matrix, b=inverse))["result"]
    for row in range(size):
        for column in range(size):
            assert math.isclose(product[row][column], row == column, abs_tol=1e-9)


async def test_determinants_of_integers_are_exact_while_they_fit(matrices: Node) -> None:
    matrix = [[(row * 5 + column * 3) % 7 - 3 for column in range(5)] for row in range(5)]
    assert (await matrices(mode="det", matrix=matrix))["result"] == round(laplace(matrix))
    large = [[1e12, 1], [1, 1e12]]
    assert close((await matrices(mode="det", matrix=large))["result"], 1e24)


def laplace(matrix: list[list[int]]) -> int:
    if len(matrix) == 1:
        return matrix[0][0]
    minors = ([row[:column] + row[column + 1 :] for row in matrix[1:]] for column in range(len(matrix)))
    return sum((-1) ** column * matrix[0][column] * laplace(minor) for column, minor in enumerate(minors))


@pytest.mark.parametrize(
    ("mode", "inputs", "why"),
    [
        ("add", {"b": A}, "input 'a' is missing"),
        ("add", {"a": A}, "input 'b' is missing"),
        ("det", {}, "input 'matrix' is missing"),
        ("add", {"a": A, "b": [[1, 2, 3]]}, "inputs 'a' (2 x 2) and 'b' (1 x 3) cannot be added"),
        ("subtract", {"a": A, "b": [1, 2]}, "cannot be subtracted"),
        ("multiply", {"a": A, "b": [[1, 2]]}, "cannot be multiplied"),
        ("multiply", {"a": A, "b": [1, 2, 3]}, "cannot be multiplied"),
        ("invert", {"matrix": [[1, 2], [2, 4]]}, "input 'matrix' is singular"),
        ("invert", {"a": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}, "input 'a' is singular"),
        ("invert", {"matrix": [[1, 2, 3], [4, 5, 6]]}, "input 'matrix' is not a square matrix: it has 2 rows and 3 columns"),
        ("det", {"matrix": [1, 2]}, "not a square matrix"),
        ("transpose", {"matrix": 5}, "input 'matrix' is a number, not a matrix"),
        ("add", {"a": [[1, 2], [3]], "b": 1}, "input 'a' is ragged: row 1 has 2 elements, row 2 has 1"),
        ("add", {"a": 1, "b": "[[1], [2, 3]]"}, "input 'b' is ragged"),
        ("add", {"a": [[1], 2], "b": 1}, "input 'a' mixes numbers and rows"),
        ("add", {"a": "[1, [2]]", "b": 1}, "input 'a' mixes numbers and rows"),
        ("add", {"a": [[[1]]], "b": 1}, "nested deeper"),
        ("add", {"a": "[" * 100_000, "b": 1}, "nested deeper"),
        ("add", {"a": "[[1, 2", "b": 1}, "neither a number nor a JSON array"),
        ("add", {"a": "matrix", "b": 1}, "neither a number nor a JSON array"),
        ("add", {"a": "", "b": 1}, "neither a number nor a JSON array"),
        ("add", {"a": "[1] [2]", "b": 1}, "neither a number nor a JSON array"),
        ("add", {"a": '["1"]', "b": 1}, "neither a number nor a JSON array"),
        ("add", {"a": [], "b": 1}, "input 'a' has an empty array"),
        ("add", {"a": "[[]]", "b": 1}, "input 'a' has an empty row"),
        ("add", {"a": ["1"], "b": 1}, "input 'a' has an element that is text"),
        ("add", {"a": [[1, None]], "b": 1}, "input 'a' has an element that is nothing"),
        ("add", {"a": {"x": 1}, "b": 1}, "input 'a' is an object"),
        ("add", {"a": [[1] * 65], "b": 1}, "input 'a' is too large: it has more than 64 columns"),
        ("add", {"a": [[1]] * 65, "b": 1}, "input 'a' is too large: it has more than 64 rows"),
        ("add", {"a": "[" + "1," * 64 + "1]", "b": 1}, "input 'a' is too large: it has more than 64 elements"),
        ("rotate", {}, "'operationMode' is \"rotate\", which is no mode"),
    ],
)
async def test_matrix_refusals_name_the_input(matrices: Node, mode: str, inputs: dict[str, Any], why: str) -> None:
    assert why in await error_of(matrices(mode=mode, **inputs))


# ---- core:ApplyRegex


def rule(pattern: str, replacement: str, flags: str = "", **more: Any) -> dict[str, Any]:
    return {"name": pattern, "pattern": pattern, "replacement": replacement, "flags": flags} | more


@pytest.mark.parametrize(
    ("text", "pattern", "replacement", "flags", "expected"),
    [
        ("aaa", "a", "b", "", "baa"),
        ("aaa", "a", "b", "g", "bbb"),
        ("aAa", "a", "b", "gi", "bbb"),
        ("price: 5€, 7€", r"(?<=: )\d", "9", "g", "price: 9€, 7€"),
        ("a1 b2", r"(?<!a)\d", "#", "g", "a1 b#"),
        ("2026-11-20", r"(?<y>\d+)-(?<m>\d+)-(?<d>\d+)", "$<d>.$<m>.$<y>", "", "20.11.2026"),
        ("John Smith", r"(\w+) (\w+)", "$2, $1 [$&] $$ $`|$'", "", "Smith, John [John Smith] $ |"),
        ("aab", "a", "x", "y", "xab"),
        ("baa", "a", "x", "y", "baa"),
        ("aab", "a", "x", "gy", "xxb"),
        ("😀x", "^.", "?", "u", "?x"),
        ("é", r"\p{L}", "L", "u", "L"),
        ("one\ntwo", "^t", "T", "m", "one\nTwo"),
        ("a\nb", "a.b", "x", "s", "x"),
        ("xyz", r"[\w--[y]]", "-", "gv", "-y-"),
        ("abcabc", r"(?<q>abc)\k<q>", "twice", "", "twice"),
        ("keep", "absent", "x", "g", "keep"),
        ("", "^$", "filled", "", "filled"),
    ],
)
async def test_rules_have_javascripts_own_semantics(
    regex: Node, text: str, pattern: str, replacement: str, flags: str, expected: str
) -> None:
    assert await regex(inputText=text, regexRules=[rule(pattern, replacement, flags)]) == {"outputText": expected}


async def test_rules_apply_in_turn_inline_rules_first(regex: Node) -> None:
    inline, loaded = [rule("a", "b")], [rule("b", "c"), rule("c", "d")]
    assert await regex(inputText="a", inlineRegexRules=inline, regexRules=loaded) == {"outputText": "d"}
    assert await regex(inputText="a", inlineRegexRules=loaded, regexRules=inline) == {"outputText": "b"}


async def test_of_rules_with_one_name_the_first_wins(regex: Node) -> None:
    first, second = rule("a", "first", name="same"), rule("f", "second", name="same")
    assert await regex(inputText="a", inlineRegexRules=[first], regexRules=[second]) == {"outputText": "first"}


async def test_a_disabled_rule_is_not_applied_and_hides_its_namesakes(regex: Node) -> None:
    off = rule("a", "x", name="same", enabled=False)
    assert await regex(inputText="a", regexRules=[off]) == {"outputText": "a"}
    assert await regex(inputText="a", inlineRegexRules=[off], regexRules=[rule("a", "y", name="same")]) == {"outputText": "a"}


async def test_without_rules_the_text_stays(regex: Node) -> None:
    assert await regex(inputText="as it is") == {"outputText": "as it is"}
    assert await regex(inputText=12.5, regexRules=None) == {"outputText": "12.5"}


async def test_half_a_character_does_not_leave_the_node(regex: Node) -> None:
    assert await regex(inputText="😀", regexRules=[rule("\\ud83d", "")]) == {"outputText": "\ufffd"}


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({}, "input 'inputText' is missing"),
        ({"inputText": ["a"]}, "input 'inputText' is an array, not text"),
        ({"inputText": "a", "regexRules": {}}, "input 'regexRules' is an object, not an array of rules"),
        ({"inputText": "a", "regexRules": ["x"]}, "rule 1 of input 'regexRules' is text, not an object"),
        ({"inputText": "a", "inlineRegexRules": [{"pattern": "a"}]}, "its 'replacement' is nothing, not text"),
        ({"inputText": "a", "regexRules": [rule("a", "b"), rule("(", "", name="open")]}, "'open', is no regular expression"),
        ({"inputText": "a", "regexRules": [rule("a", "b", "zz", name="flags")]}, "'flags', is no regular expression"),
        ({"inputText": "a", "regexRules": [rule("a", "b", flags=5)]}, "its 'flags' is a number"),
    ],
)
async def test_regex_refusals_name_the_rule(regex: Node, inputs: dict[str, Any], why: str) -> None:
    assert why in await error_of(regex(**inputs))


async def test_a_pattern_that_never_ends_is_ended_by_its_limit(host: innkeeper.Host, messages: innkeeper.Plugin) -> None:
    limits = innkeeper.Limits(cpu=0.1)
    data = {"inputs": {"inputText": "a" * 40, "regexRules": [rule("(a*)*b", "")]}, "config": {}, "run": {}}
    with pytest.raises(innkeeper.LimitError, match="CPU|cpu|processor"):
        await messages.call("apply_regex", json.dumps(data).encode(), limits=limits)


# ---- core:CreateMessage, core:MergeMessages


async def test_a_message_is_a_json_text_of_a_list(create: Node) -> None:
    assert await create(role="system", content='say "é"') == {"messages": '[{"role":"system","content":"say \\"é\\""}]'}


async def test_the_role_is_user_where_none_is_given(create: Node) -> None:
    for role in ({}, {"role": None}, {"role": ""}):
        made = json.loads((await create(content="hi", **role))["messages"])
        assert made == [{"role": "user", "content": "hi"}]
    assert json.loads((await create())["messages"]) == [{"role": "user", "content": ""}]


async def test_content_that_is_not_text_is_refused(create: Node) -> None:
    assert "input 'content' is an object, not text" in await error_of(create(content={"a": 1}))


async def test_messages_are_merged_in_order_from_texts_arrays_and_objects(merge_messages: Node) -> None:
    one, two, three = ({"role": "user", "content": text} for text in "123")
    for inputs in ([json.dumps([one, two]), json.dumps(three)], [[one], two, json.dumps([three])], [one, two, three]):
        assert json.loads((await merge_messages(message_inputs=inputs))["messages"]) == [one, two, three]
    assert json.loads((await merge_messages(message_inputs=json.dumps([one])))["messages"]) == [one]


async def test_nothing_merged_is_an_empty_list(merge_messages: Node) -> None:
    for inputs in ({}, {"message_inputs": []}, {"message_inputs": ["", None, " ", "[]", "null"]}):
        assert await merge_messages(**inputs) == {"messages": "[]"}


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        (["[]", "{oops"], r"number 2 of 2\) is not JSON: "),
        (["[1]"], r"number 1 of 1\) holds a number where a message should be"),
        (['["x"]'], "holds text where a message should be"),
        ([[["x"]]], "holds an array where a message should be"),
    ],
)
async def test_broken_messages_are_named_by_their_place(merge_messages: Node, inputs: list[Any], why: str) -> None:
    assert re.search(why, await error_of(merge_messages(message_inputs=inputs)))


# ---- The JavaScript kit


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "the input is not JSON"),
        (b"{", "the input is not JSON"),
        (b'{"inputs": {}} x', "the input is not JSON"),
        (b"\xff\xfe", "the input is not JSON"),
        (b"3", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "TypeError: "),
        (b"[" * 100_000 + b"]" * 100_000, "the input is not JSON: RangeError: "),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "the input is not JSON: RangeError: "),
    ],
)
async def test_input_that_is_not_json_is_an_error_and_no_trap(
    messages: innkeeper.Plugin, data: bytes, why: str
) -> None:
    for function in messages.functions:
        assert (await error_of(messages.call(function, data))).startswith(why) or why == "not a JSON object"


async def test_a_failure_of_the_script_says_where(messages: innkeeper.Plugin) -> None:
    assert re.search(r"\(at create_message \(plugin\.js:\d+:\d+\)\)$", await error_of(messages.call("create_message", b"{}")))


def test_no_bytes_make_core_messages_trap() -> None:
    functions = st.sampled_from(["apply_regex", "create_message", "merge_messages"])
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=20,
    )
    rules = st.fixed_dictionaries({"pattern": st.text(max_size=12), "replacement": st.text(max_size=6)}, optional={"name": values})
    slots = st.sampled_from(["inputText", "role", "content", "message_inputs", "regexRules"])
    calls = st.fixed_dictionaries({"inputs": st.dictionaries(slots, values | st.lists(rules, max_size=3), max_size=4)})

    async def all_at_once(cases: list[tuple[str, bytes]]) -> None:
        async with innkeeper.open_host() as host:
            plugin = await host.load(PLUGINS / "core-messages.wasm")
            for function, data in cases:
                try:
                    output = (await plugin.call(function, data)).output
                except innkeeper.GuestError as error:
                    assert error.code == 1, f"{function}({data!r}) trapped: {error}"
                else:
                    assert list(json.loads(output)) == ["outputs"]

    @settings(deadline=None, max_examples=20)
    @given(st.lists(st.tuples(functions, st.binary(max_size=40) | calls.map(lambda call: json.dumps(call).encode())), max_size=15))
    def check(cases: list[tuple[str, bytes]]) -> None:
        trio.run(all_at_once, cases)

    check()


@pytest.mark.parametrize("name", ["core-basics.wasm", "core-messages.wasm"])
def test_the_plugins_import_nothing_but_the_kernel(name: str) -> None:
    module = parse((PLUGINS / name).read_bytes())
    assert {wanted.module for wanted in module.imports} == {"extism:host/env"}
