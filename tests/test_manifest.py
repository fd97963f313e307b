"""What an author may write, and that every mistake is one sentence that names file, key and what would be right."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper.errors import RejectedError, UsageError
from innkeeper.plugins.capabilities import Capability
from innkeeper.plugins.manifest import Manifest, parse_manifest, read_manifest
from innkeeper.plugins.nodes import NodeDefinition
from innkeeper.plugins.tables import MAX_BYTES, TableError

pytestmark = pytest.mark.usefixtures("later")

HEAD = 'id = "demo"\nversion = "1.0"\n'
NODE = HEAD + '[[nodes]]\ntype = "Shout"\nfunction = "shout"\n'


def parse(text: str, *exports: str) -> Manifest:
    return parse_manifest(text.encode(), where="demo.toml", exports=exports or ("shout",))


def problems(text: str, *exports: str) -> list[str]:
    with pytest.raises(TableError) as caught:
        parse(text, *exports)
    return caught.value.problems


def test_id_and_version_are_enough_and_the_rest_has_defaults() -> None:
    manifest = parse(HEAD)
    assert (manifest.id, manifest.version, manifest.namespace) == ("demo", "1.0", "demo")
    assert (manifest.codec, manifest.instance, manifest.nodes, manifest.capabilities) == ("raw", "fresh", (), ())


def test_a_plugin_with_nodes_speaks_msgpack_unless_it_says_otherwise() -> None:
    assert parse(NODE).codec == "msgpack"
    assert parse('codec = "json"\n' + NODE).codec == "json"


def test_everything_that_an_author_writes_is_read() -> None:
    manifest = parse(
        HEAD
        + 'name = "Demo"\ndescription = "d"\nauthor = "a"\nlicense = "MIT"\nhomepage = "https://example.org"\n'
        + 'namespace = "space"\nabi = "extism-1"\ninstance = "shared"\n'
        + '[limits]\nmemory = "128MiB"\ncpu = 2\nhost_call = "250ms"\nnesting = 3\n'
        + '[[capabilities]]\nname = "log"\nreason = "to say what it did"\n'
        + '[[capabilities]]\nname = "http:https://api.example.com/*"\nreason = "weather"\noptional = true\n'
        + '[[nodes]]\ntype = "Shout"\nfunction = "shout"\n'
    )
    assert manifest.name == "Demo"
    assert manifest.limits == {"memory": 128 << 20, "cpu": 2.0, "host_call": 0.25, "nesting": 3}
    assert [(item.name, item.available, item.optional) for item in manifest.capabilities] == [
        ("log", True, True),
        ("http:https://api.example.com/*", True, True),
    ]
    assert manifest.nodes[0].full_type == "space:Shout"


def test_a_capability_is_kept_in_its_normal_form_so_that_the_operator_sees_what_is_meant() -> None:
    text = '[[capabilities]]\nname = "http:HTTPS://\u0430pi.Example.com:443"\nreason = "r"\n'
    request = parse(HEAD + text).capabilities[0]
    assert request.name == "http:https://xn--pi-6kc.example.com/*"
    assert request.capability == Capability("http", "https://xn--pi-6kc.example.com/*")


def test_all_wrong_capabilities_are_found_at_once() -> None:
    names = ("kvv", "clock:utc", "http:https://a.example/../*", "log")
    text = "".join(f'[[capabilities]]\nname = "{name}"\nreason = "r"\n' for name in names)
    assert [problem.partition(" is ")[0] for problem in problems(HEAD + text)] == [
        f"demo.toml: capabilities[{number}].name" for number in range(3)
    ]


def test_only_what_this_version_has_is_available() -> None:
    text = "".join(f'[[capabilities]]\nname = "{name}"\nreason = "r"\n' for name in ("log", "kv:x", "later.thing"))
    assert [each.available for each in parse(HEAD + text).capabilities] == [True, True, False]


def test_every_problem_is_found_at_once() -> None:
    found = problems('id = "Demo"\nabi = "extism-0"\ncodec = "xml"\n[limits]\nmemroy = 1\ncpu = "soon"\n')
    assert found == [
        "demo.toml: id is 'Demo': it must be 1 to 64 of the characters a-z 0-9 . _ -, the first a letter or a digit",
        'demo.toml: version is missing: it must be a version such as "1.0.0"',
        "demo.toml: abi is 'extism-0': it must be 'extism-1'",
        "demo.toml: codec is 'xml': it must be 'msgpack' or 'json' or 'raw'",
        "demo.toml: limits.memroy is not a key here; did you mean 'memory'?",
        "demo.toml: limits.cpu is 'soon': it must be seconds, as a number or like \"250ms\"",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("id = ", "is not TOML"),
        ("\xff" + HEAD, "is not TOML"),
        (HEAD + "verzion = 2", "verzion is not a key here; did you mean 'version'?"),
        (HEAD + "nodes = 3", "nodes must be tables, each written [[nodes]]"),
        (HEAD + "limits = 3", "limits is 3: it must be a table, written [limits]"),
        (HEAD + "[limits]\nmemory = true", "limits.memory is True: it must be bytes"),
        (HEAD + "[limits]\nmemory = -1", "limits.memory is -1: it must be bytes"),
        (HEAD + "[limits]\ncpu = nan", "limits.cpu is nan: it must be seconds"),
        (HEAD + "[limits]\nnesting = 1.5", "limits.nesting is 1.5: it must be a whole number"),
        (HEAD + "[[capabilities]]\nname = 'kv:x'", "capabilities[0].reason is missing"),
        (HEAD + "[[capabilities]]\nreason = 'r'", "capabilities[0].name is missing"),
        (
            HEAD + "[[capabilities]]\nname = 'HTTP'\nreason = 'r'",
            "capabilities[0].name is not right: 'HTTP' is not a capability; did you mean 'http'?",
        ),
        (
            HEAD + "[[capabilities]]\nname = 'http:x'\nreason = 'r'",
            "capabilities[0].name is not right: 'http:x' has a wrong scope: it must begin with https:// or http://",
        ),
        (
            HEAD + "[[capabilities]]\nname = 'kv'\nreason = 'r'\n" * 2,
            "capabilities[1].name is 'kv', which another entry asks for",
        ),
        (HEAD + "[[nodes]]\nfunction = 'shout'", "nodes[0].type is missing"),
        (NODE + "[[nodes]]\ntype = 'Shout'\nfunction = 'shout'", "nodes[1].type is 'Shout', which another node"),
        (NODE + "namespace = 'core'", "nodes[0].namespace is 'core': it must be the plugin's, 'demo'"),
        (NODE + "[nodes.inputs.a]\n", "nodes[0].inputs.a.dataFlowType is missing"),
        (
            NODE + "[nodes.inputs.a]\ndataFlowType = 'TEXT'",
            "nodes[0].inputs.a.dataFlowType is 'TEXT': it must be 'STRI",
        ),
        (NODE + "[nodes.inputs.'a b']\ndataFlowType = 'STRING'", "nodes[0].inputs.a b is not a name"),
        (
            NODE + "[nodes.inputs.a]\ndataFlowType = 'STRING'\nrequired = 'v => true'",
            "nodes[0].inputs.a.required is 'v => true': it must be true or false",
        ),
        (NODE + "mode_config_key = 'mode'", "'mode_config_key' is not a key: write 'modeConfigKey'"),
        (NODE + "defaultModeId = 'add'", "defaultModeId is 'add', which is not one of the modes (none)"),
        (NODE + "bypassBehavior = 'skip'", "nodes[0].bypassBehavior is 'skip'"),
        (NODE + "extra = 1979-05-27", "nodes[0].extra holds what JSON cannot"),
        (NODE + "extra = {a = [1, inf]}", "nodes[0].extra.a.1 holds what JSON cannot"),
        (NODE + "extra = 99999999999999999999", "nodes[0].extra holds what JSON cannot"),
        (NODE + "extra = " + "[" * 40 + "]" * 40, "nodes[0].extra.0"),
        ("codec = 'raw'\n" + NODE, "codec is 'raw': a plugin with nodes needs 'msgpack' or 'json'"),
        ("a = " + "[" * 100_000, "is nested too deeply"),
        ("a = " + "9" * 5000, "is not TOML"),
        (".".join("a" * 30_000) + " = 1", "line 1 has more than 256 dots"),
    ],
)
def test_a_mistake_is_a_sentence_that_names_file_and_key(text: str, sentence: str) -> None:
    found = problems(text)
    assert len(found) == 1, found
    assert found[0].startswith("demo.toml: ")
    assert sentence in found[0]
    assert len(found[0]) < 400
    assert "pydantic" not in found[0]


@pytest.mark.parametrize("odd", ["\\u001b[2J", "\\u0085", "\\u202e", "\\n", "\\u0000", "\\U000e0001"])
@pytest.mark.parametrize(
    "text", ["[limits]\n'K' = 1", "[limits.'K']", "limits.'K'.x = 1", "'K' = 1\n'K' = 2", "['K'.a]\n['K'.a]"]
)
def test_control_characters_of_a_key_are_shown_as_escapes(text: str, odd: str) -> None:
    found = problems(HEAD + text.replace("'K'", f'"{odd}"'))
    assert found
    assert all(problem.isprintable() for problem in found), found


def test_a_manifest_is_at_most_256_kib() -> None:
    assert "the most is 262144" in problems("#" * (MAX_BYTES + 1))[0]
    assert parse(HEAD + "#" * (MAX_BYTES - len(HEAD))).id == "demo"


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "".join(f"k{number} = 1\n" for number in range(20_000)),
        HEAD + "[limits]\n" + "".join(f"k{number} = 1\n" for number in range(20_000)),
        HEAD + "[[nodes]]\n" * 20_000,
        HEAD + "[[nodes]]\n[nodes.a]\n" * 900,
    ],
)
def test_a_manifest_with_thousands_of_mistakes_gives_some_of_them_and_their_number(text: str) -> None:
    found = problems(text)
    assert 1 <= len(found) <= 51
    assert "20000" in "".join(found) or "20002" in "".join(found) or "more problems" in found[-1]


def test_a_manifest_is_utf_8() -> None:
    with pytest.raises(TableError, match="is not UTF-8 text"):
        parse_manifest(b'id = "\xff"', where="demo.toml", exports=())


def test_the_function_of_a_node_is_its_type_by_default_and_must_be_exported() -> None:
    assert parse(HEAD + '[[nodes]]\ntype = "Shout"\n', "Shout").nodes[0].function == "Shout"
    assert problems(HEAD + '[[nodes]]\ntype = "Shout"\n', "other") == [
        "demo.toml: nodes[0].function is 'Shout', which the module does not export"
    ]


def test_keys_of_a_later_version_are_kept_and_shown() -> None:
    assert parse(HEAD + "[panels.main]\npath = 'x'\n").unknown == ("panels",)


def test_a_manifest_in_the_file_and_one_beside_it_must_be_the_same() -> None:
    inside, beside = HEAD.encode(), HEAD.encode() + b"\n"
    found = read_manifest([inside], beside, where="plugins/demo.wasm", exports=())
    assert found is not None
    assert found.embedded
    with pytest.raises(RejectedError, match=r"its section 'innkeeper.manifest' and the .toml file beside it differ"):
        read_manifest([inside], beside + b"name = 'x'", where="plugins/demo.wasm", exports=())
    with pytest.raises(RejectedError, match="has 2 sections"):
        read_manifest([inside, inside], None, where="plugins/demo.wasm", exports=())
    assert read_manifest([], None, where="plugins/demo.wasm", exports=()) is None


def test_a_problem_beside_the_file_names_that_file() -> None:
    with pytest.raises(RejectedError, match=r"^plugins/demo\.toml: id is missing"):
        read_manifest([], b"version = '1'", where="plugins/demo.wasm", exports=())


# --- nodes ----------------------------------------------------------------------------------------------------------

MODES = {
    "namespace": "core",
    "type": "Math",
    "inputs": {"a": {"dataFlowType": "FLOAT"}},
    "outputs": {"result": {"dataFlowType": "FLOAT"}},
    "modeConfigKey": "mode",
    "modes": {"add": {"inputs": {"a": {"dataFlowType": "FLOAT"}, "b": {"dataFlowType": "FLOAT"}}}, "abs": {}},
}


def test_the_configuration_chooses_the_mode_then_the_default_then_the_nodes_own_slots() -> None:
    node = NodeDefinition.model_validate(MODES)
    assert list(node.slots({})[0]) == ["a"]
    assert list(node.slots({"mode": "add"})[0]) == ["a", "b"]
    assert list(node.slots({"mode": "abs"})[0]) == ["a"]
    assert list(node.slots({"mode": "add"})[1]) == ["result"]
    node = NodeDefinition.model_validate({**MODES, "defaultModeId": "add"})
    assert list(node.slots({})[0]) == ["a", "b"]
    assert list(node.slots({"mode": None})[0]) == ["a", "b"]


@pytest.mark.parametrize("mode", ["sub", 3, ["add"], "x" * 10_000])
def test_an_unknown_mode_is_a_usage_error_that_names_the_known_ones(mode: object) -> None:
    with pytest.raises(UsageError, match=r"core:Math has no mode .* it has: add, abs") as caught:
        NodeDefinition.model_validate(MODES).slots({"mode": mode})
    assert len(str(caught.value)) < 300


def test_the_legacy_type_stream_is_a_wildcard_that_streams() -> None:
    slot = NodeDefinition.model_validate(
        {"namespace": "n", "type": "T", "inputs": {"a": {"dataFlowType": "STREAM"}}}
    ).inputs["a"]
    assert (slot.data_flow_type, slot.is_stream) == ("WILDCARD", True)


def test_unknown_fields_and_names_on_the_wire_survive() -> None:
    wire = {
        "namespace": "n",
        "type": "T",
        "function": "f",
        "displayName": "Tee",
        "icon": "x",
        "inputs": {"a": {"dataFlowType": "STRING", "config": {"default": "d"}, "actions": [{"id": 1}], "multi": True}},
        "bypassBehavior": {"passThrough": {"out": "a"}, "defaults": {"other": 1}},
    }
    assert NodeDefinition.model_validate(wire).model_dump(by_alias=True, exclude_unset=True) == wire


def test_a_number_that_python_cannot_write_is_a_problem_like_any_other() -> None:
    huge = "0x" + "f" * 9000
    (found,) = problems(f'id = {huge}\nversion = "1"\n')
    assert found.startswith("demo.toml: id is a number of thousands of digits: it must be")
    assert len(problems(f"{HEAD}[limits]\nmemory = {huge}\n[[nodes]]\ntype = 'A'\nwidth = {huge}\n")) == 2


# --- whatever the bytes are -----------------------------------------------------------------------------------------

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_a_manifest_or_problems(data: bytes) -> None:
    try:
        parse_manifest(data, where="demo.toml", exports=())
    except TableError as error:
        found = error.problems
    else:
        return
    assert found


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from(["type", "inputs", "modes", "bypassBehavior", "defaultModeId"]), _values))
def test_any_table_is_a_node_or_problems(data: dict[str, object]) -> None:
    from innkeeper.plugins.definitions import define_node
    from innkeeper.plugins.tables import Table

    found: list[str] = []
    node = define_node(Table({"type": "T", **data}, "demo.toml", found, "nodes[0]."), "demo")
    assert (node is None) == bool(found)
    assert all(problem.startswith("demo.toml: nodes[0].") for problem in found)
