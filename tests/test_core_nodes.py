"""The six node types in plugins/, called through the host as a workflow calls them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import innkeeper
from innkeeper.sandbox.wasm import parse

PLUGINS = Path(__file__).parent.parent / "plugins"

Node = Callable[..., Any]
"""Calls a node with its inputs, and its mode as `mode`; gives its outputs."""


class Running:
    """A plugin of a host that runs in another thread, so that all tests share one compilation."""

    def __init__(self, plugin: innkeeper.Plugin, token: trio.lowlevel.TrioToken) -> None:
        self.plugin = plugin
        self._token = token

    def call(self, function: str, data: bytes, **options: Any) -> bytes:
        return trio.from_thread.run(self._call, function, data, options, trio_token=self._token)

    async def _call(self, function: str, data: bytes, options: dict[str, Any]) -> bytes:
        return (await self.plugin.call(function, data, **options)).output


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, Running]]:
    started: Future[dict[str, Running]] = Future()
    ended = trio.Event()

    async def serve() -> None:
        async with innkeeper.open_host() as host:
            token = trio.lowlevel.current_trio_token()
            names = ("core-basics", "core-messages")
            started.set_result({name: Running(await host.load(PLUGINS / f"{name}.wasm"), token) for name in names})
            await ended.wait()

    with ThreadPoolExecutor(1) as executor:
        served = executor.submit(trio.run, serve)
        # Whichever comes first: a host that fails to start must not keep the tests waiting.
        wait((started, served), return_when=FIRST_COMPLETED)
        if not started.done():
            served.result()
        plugins = started.result()
        yield plugins
        plugins["core-basics"]._token.run_sync_soon(ended.set)
        served.result()


@pytest.fixture(scope="module")
def basics(running: dict[str, Running]) -> Running:
    return running["core-basics"]


@pytest.fixture(scope="module")
def messages(running: dict[str, Running]) -> Running:
    return running["core-messages"]


def in_msgpack(plugin: Running, function: str) -> Node:
    def call(*, mode: str | None = None, **inputs: Any) -> Any:
        config = {} if mode is None else {"operationMode": mode}
        data = msgpack.packb({"inputs": inputs, "config": config, "run": {"id": "r", "node": "n"}})
        return msgpack.unpackb(plugin.call(function, data))["outputs"]

    return call


def in_json(plugin: Running, function: str) -> Node:
    def call(**inputs: Any) -> Any:
        data = json.dumps({"inputs": inputs, "config": {}, "run": {"id": "r", "node": "n"}})
        return json.loads(plugin.call(function, data.encode()))["outputs"]

    return call


@pytest.fixture(scope="module")
def merge(basics: Running) -> Node:
    return in_msgpack(basics, "text_merge")


@pytest.fixture(scope="module")
def compute(basics: Running) -> Node:
    return in_msgpack(basics, "math_operation")


@pytest.fixture(scope="module")
def matrices(basics: Running) -> Node:
    return in_msgpack(basics, "matrix_operation")


@pytest.fixture(scope="module")
def regex(messages: Running) -> Node:
    return in_json(messages, "apply_regex")


@pytest.fixture(scope="module")
def create(messages: Running) -> Node:
    return in_json(messages, "create_message")


@pytest.fixture(scope="module")
def merge_messages(messages: Running) -> Node:
    return in_json(messages, "merge_messages")


def error_of(call: Callable[..., Any], *args: Any, **inputs: Any) -> str:
    """The sentence by which a call fails."""
    with pytest.raises(innkeeper.GuestError) as caught:
        call(*args, **inputs)
    assert caught.value.code == 1, "the node failed by a trap, not by a sentence of its own"
    return caught.value.message


def answers_or_refuses(plugin: Running, function: str, data: bytes) -> bool:
    """Whether a call gives outputs or fails by a sentence; False where it ends in a trap."""
    try:
        output = plugin.call(function, data)
        return list(json.loads(output) if output.startswith(b"{") else msgpack.unpackb(output)) == ["outputs"]
    except innkeeper.GuestError as error:
        return error.code == 1


# ---- core:TextMerge


def test_texts_are_joined_in_their_order(merge: Node) -> None:
    assert merge(text_inputs=["b", "a", "c"], separator=", ") == {"merged_text": "b, a, c"}


def test_the_separator_is_a_new_line_where_none_is_given(merge: Node) -> None:
    assert merge(text_inputs=["a", "b"]) == {"merged_text": "a\nb"}
    assert merge(text_inputs=["a", "b"], separator=None) == {"merged_text": "a\nb"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"\n", "\n"),
        (r"\t", "\t"),
        (r"\\", "\\"),
        (r"\\n", "\\n"),
        ("\\", "\\"),
        (r"\q", "\\q"),
        ("", ""),
        ("é\\n", "é\n"),
    ],
)
def test_escapes_in_the_separator_are_parsed(merge: Node, written: str, meant: str) -> None:
    assert merge(text_inputs=["a", "b"], separator=written) == {"merged_text": f"a{meant}b"}


def test_a_single_text_needs_no_array(merge: Node) -> None:
    assert merge(text_inputs="alone") == {"merged_text": "alone"}
    assert merge() == {"merged_text": ""}


def test_numbers_and_booleans_are_written_as_javascript_writes_them(merge: Node) -> None:
    written = [
        (1, "1"),
        (1.0, "1"),
        (-0.0, "0"),
        (2.5, "2.5"),
        (0.1, "0.1"),
        (-1 / 3, "-0.3333333333333333"),
        (-(2**31), "-2147483648"),
        (2**63, "9223372036854776000"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e21, "1e+21"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (math.inf, "Infinity"),
        (math.nan, "NaN"),
        (True, "true"),
        (False, "false"),
        (None, ""),
    ]
    merged = merge(text_inputs=[value for value, _ in written], separator=" ")
    assert merged["merged_text"].split(" ") == [text for _, text in written]


def test_what_is_not_text_is_named_by_its_place(merge: Node) -> None:
    assert "item 2 of 3 is an object" in error_of(merge, text_inputs=["a", {}, "b"])
    assert "'separator' is a number" in error_of(merge, text_inputs=["a"], separator=3)


TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


@settings(deadline=None)
@given(st.lists(TEXT, max_size=40), TEXT)
def test_any_texts_are_merged_as_pythons_join_does(merge: Node, texts: list[str], separator: str) -> None:
    escaped = separator.replace("\\", "\\\\")
    assert merge(text_inputs=texts, separator=escaped) == {"merged_text": separator.join(texts)}


def test_long_texts_are_merged(merge: Node) -> None:
    texts = ["é" * 300_000, "x" * 1_000_003]
    assert merge(text_inputs=texts) == {"merged_text": "\n".join(texts)}


def test_separators_that_ask_for_gigabytes_end_in_an_error(merge: Node) -> None:
    with pytest.raises(innkeeper.InnkeeperError, match="memory"):
        merge(text_inputs=[""] * 60_000, separator="x" * 60_000)


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
def test_input_that_is_not_a_node_call_is_refused_by_a_sentence(basics: Running, data: bytes, why: str) -> None:
    for function in ("text_merge", "math_operation", "matrix_operation"):
        assert why in error_of(basics.call, function, data)


def test_nothing_of_the_input_may_be_cut_off(basics: Running) -> None:
    whole = msgpack.packb(
        {"inputs": {"text_inputs": ["abc", 1.5, 70_000, "é" * 40, [], {}]}, "config": {"a": b"x" * 300}}
    )
    for length in range(0, len(whole), 3):
        assert "cut off" in error_of(basics.call, "text_merge", whole[:length])


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=20,
    )


PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | TEXT
PACKED_CALLS = st.fixed_dictionaries(
    {
        "inputs": st.dictionaries(
            st.sampled_from(["text_inputs", "separator", "a", "b", "value", "matrix", "clamp", "base", "exponent"]),
            nested(PLAIN | st.binary(max_size=20)),
            max_size=4,
        )
    },
    optional={
        "config": st.fixed_dictionaries({"operationMode": st.sampled_from(["det", "power", "multiply"]) | PLAIN})
    },
).map(lambda call: msgpack.packb(call, unicode_errors="surrogatepass"))


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(["text_merge", "math_operation", "matrix_operation"]), st.binary(max_size=60) | PACKED_CALLS)
def test_no_bytes_make_core_basics_trap(basics: Running, function: str, data: bytes) -> None:
    assert answers_or_refuses(basics, function, data)


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
def test_modes_of_one_input_compute_what_python_computes(compute: Node, mode: str) -> None:
    for value in samples(*DOMAINS.get(mode, (-7.5, 7.5))):
        result = (compute(mode=mode, value=value))["result"]
        assert isinstance(result, float)
        assert close(result, ONE_INPUT[mode](value)), (value, result)


@pytest.mark.parametrize("mode", TWO_INPUTS)
def test_modes_of_two_inputs_compute_what_python_computes(compute: Node, mode: str) -> None:
    for a in samples(-9, 9)[::3]:
        for b in (-3.5, -1, 2, 7):
            result = (compute(mode=mode, a=a, b=b))["result"]
            assert isinstance(result, float)
            assert close(result, TWO_INPUTS[mode](a, b)), (a, b, result)


def test_modes_with_inputs_of_their_own(compute: Node) -> None:
    assert compute(mode="multiply_add", val1=2, val2=3.5, val3=-1) == {"result": 6.0}
    assert compute(mode="power", base=2, exponent=10) == {"result": 1024.0}
    assert close((compute(mode="power", base=2, exponent=0.5))["result"], math.sqrt(2))
    assert close((compute(mode="logarithm", value=1000, base=10))["result"], 3)
    assert close((compute(mode="logarithm", value=5))["result"], math.log(5))
    for y, x in ((1, 1), (-1, 2), (3, -4), (0, -1), (-2, 0)):
        assert close((compute(mode="atan2", y=y, x=x))["result"], math.atan2(y, x))
    assert close((compute(mode="to_radians", degrees=90))["result"], math.pi / 2)
    assert close((compute(mode="to_degrees", radians=math.pi))["result"], 180)


def test_addition_is_the_mode_where_none_is_chosen(compute: Node) -> None:
    assert compute(a=1, b=2) == {"result": 3.0}
    assert compute(mode=None, a=1, b=2.5) == {"result": 3.5}


@pytest.mark.parametrize("nothing", [None, 0, 0.0, -0.0, False, "", math.nan])
def test_what_javascript_counts_as_false_is_the_default(compute: Node, nothing: Any) -> None:
    assert compute(mode="add", a=5, b=nothing) == {"result": 5.0}
    assert compute(mode="power", base=3, exponent=nothing) == {"result": 9.0}
    assert compute(mode="logarithm", value=nothing, base=10) == {"result": 0.0}
    assert close((compute(mode="logarithm", value=5, base=nothing))["result"], math.log(5))


def test_missing_inputs_are_the_default(compute: Node) -> None:
    assert compute(mode="cos") == {"result": 1.0}
    assert compute(mode="power", base=3) == {"result": 9.0}
    assert compute(mode="logarithm") == {"result": 0.0}


def test_integers_booleans_and_decimal_texts_are_numbers(compute: Node) -> None:
    assert compute(a=2**63, b=-(2**62)) == {"result": float(2**62)}
    assert compute(a=True, b="2.5e1") == {"result": 26.0}
    assert compute(a=" -3. ", b=".5") == {"result": -2.5}
    assert compute(a="-Infinity", b=1) == {"result": -math.inf}
    assert compute(mode="power", base=3, exponent="0") == {"result": 1.0}


def test_halves_are_rounded_up_as_javascript_rounds(compute: Node) -> None:
    rounded = {
        0.5: 1,
        1.5: 2,
        2.5: 3,
        -0.5: 0,
        -1.5: -1,
        -2.5: -2,
        0.49999999999999994: 0,
        4503599627370497.5: 4503599627370498,
    }
    rounded |= {9007199254740991: 9007199254740991, -1.2: -1, 1e300: 1e300}
    for value, expected in rounded.items():
        assert (compute(mode="round", value=value))["result"] == expected, value
    assert math.copysign(1, (compute(mode="round", value=-0.2))["result"]) == -1


def test_the_remainder_has_the_sign_of_the_dividend(compute: Node) -> None:
    assert compute(mode="modulo", a=-7, b=3) == {"result": -1.0}
    assert compute(mode="modulo", a=7, b=-3) == {"result": 1.0}
    assert compute(mode="modulo", a=5.5, b=2) == {"result": 1.5}


def test_the_fraction_of_a_negative_number_counts_from_below(compute: Node) -> None:
    assert compute(mode="fraction", value=1.25) == {"result": 0.25}
    assert compute(mode="fraction", value=-1.25) == {"result": 0.75}
    assert compute(mode="fraction", value=-2) == {"result": 1.0}


def test_clamping_keeps_results_between_0_and_1(compute: Node) -> None:
    assert compute(a=5, clamp=True) == {"result": 1.0}
    assert compute(a=-5, clamp=1) == {"result": 0.0}
    assert compute(a=0.5, clamp="yes") == {"result": 0.5}
    assert compute(a=5, clamp=False) == {"result": 5.0}
    assert math.isnan((compute(mode="asin", value=2, clamp=True))["result"])


def test_results_that_do_not_exist_are_nan(compute: Node) -> None:
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
        assert math.isnan((compute(mode=mode, **inputs))["result"]), (mode, inputs)


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
def test_refusals_say_which_input_is_wrong_and_how(compute: Node, mode: str, inputs: dict[str, Any], why: str) -> None:
    assert why in error_of(compute, mode=mode, **inputs)


def test_every_mode_of_the_manifest_is_computed(basics: Running) -> None:
    manifest = basics.plugin.manifest
    assert manifest is not None
    nodes = {node.type: node for node in manifest.nodes}
    compute = in_msgpack(basics, "math_operation")
    modes = nodes["MathOperation"].modes
    assert len(modes) == 34
    for mode, definition in modes.items():
        slots = [slot for slot in definition.inputs or {} if slot != "clamp"]
        result = compute(mode=mode, **dict.fromkeys(slots, 0.5))
        # Each slot counts: with text in it the node refuses and names it.
        assert set(result) == set(definition.outputs or {}) == {"result"}
        for slot in slots:
            assert f"input '{slot}'" in error_of(compute, mode=mode, **(dict.fromkeys(slots, 0.5) | {slot: "?"}))


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
def test_matrices_are_computed_in_the_shapes_of_mathjs(
    matrices: Node, mode: str, inputs: dict[str, Any], expected: Any
) -> None:
    assert matrices(mode=mode, **inputs) == {"result": expected}


@pytest.mark.parametrize("size", [3, 10, 64])
def test_a_matrix_times_its_inverse_is_the_identity(matrices: Node, size: int) -> None:
    matrix = [
        [math.sin(row * 7.3 + column * 3.1) + (row == column) * 3 for column in range(size)] for row in range(size)
    ]
    inverse = (matrices(mode="invert", matrix=matrix))["result"]
    product = (matrices(mode="multiply", a=matrix, b=inverse))["result"]
    for row in range(size):
        for column in range(size):
            assert math.isclose(product[row][column], row == column, abs_tol=1e-9)


def test_determinants_of_integers_are_exact_while_they_fit(matrices: Node) -> None:
    matrix = [[(row * 5 + column * 3) % 7 - 3 for column in range(5)] for row in range(5)]
    assert (matrices(mode="det", matrix=matrix))["result"] == round(laplace(matrix))
    large = [[1e12, 1], [1, 1e12]]
    assert close((matrices(mode="det", matrix=large))["result"], 1e24)


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
        (
            "invert",
            {"matrix": [[1, 2, 3], [4, 5, 6]]},
            "input 'matrix' is not a square matrix: it has 2 rows and 3 columns",
        ),
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
def test_matrix_refusals_name_the_input(matrices: Node, mode: str, inputs: dict[str, Any], why: str) -> None:
    assert why in error_of(matrices, mode=mode, **inputs)


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
def test_rules_have_javascripts_own_semantics(
    regex: Node, text: str, pattern: str, replacement: str, flags: str, expected: str
) -> None:
    assert regex(inputText=text, regexRules=[rule(pattern, replacement, flags)]) == {"outputText": expected}


def test_rules_apply_in_turn_inline_rules_first(regex: Node) -> None:
    inline, loaded = [rule("a", "b")], [rule("b", "c"), rule("c", "d")]
    assert regex(inputText="a", inlineRegexRules=inline, regexRules=loaded) == {"outputText": "d"}
    assert regex(inputText="a", inlineRegexRules=loaded, regexRules=inline) == {"outputText": "b"}


def test_of_rules_with_one_name_the_first_wins(regex: Node) -> None:
    first, second = rule("a", "first", name="same"), rule("f", "second", name="same")
    assert regex(inputText="a", inlineRegexRules=[first], regexRules=[second]) == {"outputText": "first"}


def test_a_disabled_rule_is_not_applied_and_hides_its_namesakes(regex: Node) -> None:
    off = rule("a", "x", name="same", enabled=False)
    assert regex(inputText="a", regexRules=[off]) == {"outputText": "a"}
    assert regex(inputText="a", inlineRegexRules=[off], regexRules=[rule("a", "y", name="same")]) == {"outputText": "a"}


def test_without_rules_the_text_stays(regex: Node) -> None:
    assert regex(inputText="as it is") == {"outputText": "as it is"}
    assert regex(inputText=12.5, regexRules=None) == {"outputText": "12.5"}


def test_half_a_character_does_not_leave_the_node(regex: Node) -> None:
    assert regex(inputText="😀", regexRules=[rule("\\ud83d", "")]) == {"outputText": "\ufffd"}


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({}, "input 'inputText' is missing"),
        ({"inputText": ["a"]}, "input 'inputText' is an array, not text"),
        ({"inputText": "a", "regexRules": {}}, "input 'regexRules' is an object, not an array of rules"),
        ({"inputText": "a", "regexRules": ["x"]}, "rule 1 of input 'regexRules' is text, not an object"),
        ({"inputText": "a", "inlineRegexRules": [{"pattern": "a"}]}, "its 'replacement' is nothing, not text"),
        (
            {"inputText": "a", "regexRules": [rule("a", "b"), rule("(", "", name="open")]},
            "'open', is no regular expression",
        ),
        ({"inputText": "a", "regexRules": [rule("a", "b", "zz", name="flags")]}, "'flags', is no regular expression"),
        ({"inputText": "a", "regexRules": [rule("a", "b", flags=5)]}, "its 'flags' is a number"),
        ({"inputText": "a", "regexRules": [rule("(?:" * 5000, "")]}, "is no regular expression: stack overflow"),
    ],
)
def test_regex_refusals_name_the_rule(regex: Node, inputs: dict[str, Any], why: str) -> None:
    assert why in error_of(regex, **inputs)


def test_a_pattern_that_never_ends_is_ended_by_its_limit(messages: Running) -> None:
    limits = innkeeper.Limits(cpu=0.1)
    data = {"inputs": {"inputText": "a" * 40, "regexRules": [rule("(a*)*b", "")]}, "config": {}, "run": {}}
    with pytest.raises(innkeeper.LimitError) as caught:
        messages.call("apply_regex", json.dumps(data).encode(), limits=limits)
    assert caught.value.limit == "cpu"


# ---- core:CreateMessage, core:MergeMessages


def test_a_message_is_a_json_text_of_a_list(create: Node) -> None:
    assert create(role="system", content='say "é"') == {"messages": '[{"role":"system","content":"say \\"é\\""}]'}


def test_the_role_is_user_where_none_is_given(create: Node) -> None:
    for role in ({}, {"role": None}, {"role": ""}):
        made = json.loads((create(content="hi", **role))["messages"])
        assert made == [{"role": "user", "content": "hi"}]
    assert json.loads((create())["messages"]) == [{"role": "user", "content": ""}]


def test_content_that_is_not_text_is_refused(create: Node) -> None:
    assert "input 'content' is an object, not text" in error_of(create, content={"a": 1})


def test_messages_are_merged_in_order_from_texts_arrays_and_objects(merge_messages: Node) -> None:
    one, two, three = ({"role": "user", "content": text} for text in "123")
    for inputs in ([json.dumps([one, two]), json.dumps(three)], [[one], two, json.dumps([three])], [one, two, three]):
        assert json.loads((merge_messages(message_inputs=inputs))["messages"]) == [one, two, three]
    assert json.loads((merge_messages(message_inputs=json.dumps([one])))["messages"]) == [one]


def test_nothing_merged_is_an_empty_list(merge_messages: Node) -> None:
    for inputs in ({}, {"message_inputs": []}, {"message_inputs": ["", None, " ", "[]", "null"]}):
        assert merge_messages(**inputs) == {"messages": "[]"}


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        (["[]", "{oops"], r"number 2 of 2\) is not JSON: "),
        (["[1]"], r"number 1 of 1\) holds a number where a message should be"),
        (['["x"]'], "holds text where a message should be"),
        (["[]", "[" * 50_000], r"number 2 of 2\) is not JSON: Maximum call stack"),
        ([[["x"]]], "holds an array where a message should be"),
    ],
)
def test_broken_messages_are_named_by_their_place(merge_messages: Node, inputs: list[Any], why: str) -> None:
    assert re.search(why, error_of(merge_messages, message_inputs=inputs))


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
        (b'{"inputs": null}', "TypeError: "),
        (b"[" * 100_000 + b"]" * 100_000, "the input is not JSON: RangeError: "),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "the input is not JSON: RangeError: "),
    ],
)
def test_input_that_is_not_json_is_an_error_and_no_trap(messages: Running, data: bytes, why: str) -> None:
    for function in messages.plugin.functions:
        assert (error_of(messages.call, function, data)).startswith(why) or why == "not a JSON object"


def test_an_error_is_utf8_whatever_the_script_throws(messages: Running) -> None:
    refused = error_of(
        messages.call,
        "apply_regex",
        rb'{"inputs":{"inputText":"","regexRules":[{"pattern":"(","replacement":"","name":"\ud800"}]}}',
    )
    assert "'\ufffd', is no regular expression" in refused


NULL = b'{"inputs": null}'


def test_a_failure_of_the_script_says_where(messages: Running) -> None:
    assert re.search(r"\(at create_message \(plugin\.js:\d+:\d+\)\)$", error_of(messages.call, "create_message", NULL))


RULES = st.lists(
    st.fixed_dictionaries(
        {"pattern": st.text(max_size=12), "replacement": st.text(max_size=6)}, optional={"name": PLAIN}
    )
)
JSON_CALLS = st.fixed_dictionaries(
    {
        "inputs": st.dictionaries(
            st.sampled_from(["inputText", "role", "content", "message_inputs", "regexRules"]),
            nested(PLAIN) | RULES,
            max_size=4,
        )
    }
).map(lambda call: json.dumps(call).encode())


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(["apply_regex", "create_message", "merge_messages"]), st.binary(max_size=40) | JSON_CALLS)
def test_no_bytes_make_core_messages_trap(messages: Running, function: str, data: bytes) -> None:
    assert answers_or_refuses(messages, function, data)


@pytest.mark.parametrize("name", ["core-basics.wasm", "core-messages.wasm"])
def test_the_plugins_import_nothing_but_the_kernel(name: str) -> None:
    module = parse((PLUGINS / name).read_bytes())
    assert {wanted.module for wanted in module.imports} == {"extism:host/env"}
