"""A function that cannot be called is refused in words that are bounded and harmless, whatever the guest named it."""

from __future__ import annotations

import pytest

from guests import assemble
from innkeeper.errors import UsageError
from innkeeper.sandbox.callable import check_callable
from innkeeper.sandbox.wasm import parse

LONG = "x" * 10_000
INFO = parse(
    assemble(
        f"""(module (memory (export "memory") 1) (func (export "none")) (func (export "one") (result i32) i32.const 0)
        (func (export "a\\1b[31m")) (func (export "_hidden")) (func (export "{LONG}"))
        (func (export "wants") {"(param i64)" * 900}) (func (export "wide") (result i64) i64.const 0))"""
    )
)


def test_the_number_of_results_is_told() -> None:
    assert [check_callable(INFO, name, "demo") for name in ("none", "one", "_hidden")] == [0, 1, 0]


@pytest.mark.parametrize("name", ["nothing", "memory", ""])
def test_what_is_no_function_is_answered_with_those_that_are(name: str) -> None:
    with pytest.raises(UsageError, match=r"exports no such function; it exports: .*'none', 'one'") as caught:
        check_callable(INFO, name, "demo")
    assert (caught.value.plugin, caught.value.function) == ("demo", name)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500
    assert "_hidden" not in caught.value.message


@pytest.mark.parametrize("name", ["wants", "wide"])
def test_what_wants_parameters_or_gives_something_else_is_not_called(name: str) -> None:
    with pytest.raises(UsageError, match="only functions without parameters") as caught:
        check_callable(INFO, name, "demo")
    assert len(caught.value.message) < 300
