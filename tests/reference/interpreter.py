"""Runs a workflow, one node after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from innkeeper.plugins.nodes import InputDefinition
from reference.levels import (
    ERROR_OUTPUT,
    FOR_EACH,
    IF,
    INPUT,
    LOOPS,
    MERGE,
    OUTPUT,
    Constant,
    Level,
    Library,
    Origin,
)
from reference.loops import for_each, while_true
from reference.reading import Node, read
from reference.results import (
    BrokenError,
    Chunks,
    Expected,
    Failed,
    Failure,
    Nothing,
    Report,
    Result,
    Untaken,
    Value,
    given,
    items,
)
from reference.slots import from_json
from reference.values import bypassed, value_of


class Functions(Library, Protocol):
    """Node types with what they do."""

    def call(
        self,
        full_type: str,
        inputs: Mapping[str, Any],
        config: Mapping[str, Any],
        streams: Mapping[str, list[Any]],
        attempt: int,
        written: dict[str, list[Any]],
    ) -> Mapping[str, Any]:
        """Calls a node's function: gives its outputs, adds what it streams to `written`.

        Raises:
            BrokenError: it failed.
        """
        ...


def expect(data: dict[str, Any], functions: Functions) -> Expected:
    """What becomes of a run of a workflow."""
    workflow = read(data)
    bodies = {key: read(body) for key, body in workflow.referenced.items()}
    values = {
        key: from_json(slot.config["default"], slot.data_flow_type)
        for key, slot in workflow.inputs.items()
        if slot.config.get("default") is not None
    }
    level = Level(workflow, functions, bodies, workflow.preview, values=values)
    run = Run(functions)
    frame = Frame(run, level)
    failure = frame.go()
    order = [origin.id for origin in frame.order()]
    outputs = {key: frame.interface(key) for key in workflow.outputs}
    return Expected("complete" if failure is None else "error", run.reports, run.possible, order, outputs, failure)


class Run:
    """What all frames of a run share."""

    def __init__(self, functions: Functions) -> None:
        self.functions = functions
        self.reports: dict[str, Report] = {}
        self.possible: dict[str, Report] = {}


class Frame:
    """One execution of one graph: of the run itself, or of a turn of a loop."""

    def __init__(self, run: Run, level: Level, reports: dict[str, Report] | None = None) -> None:
        self.run = run
        self.level = level
        self.reports = run.reports if reports is None else reports

    def go(self) -> Failure | None:
        """Runs all nodes; the first failure in graph order that nothing handled."""
        found = []
        for origin in self.order():
            report = self.report(origin.level, origin.level.workflow.nodes[origin.node])
            if report.failure is not None and not report.handled:
                found.append(report.failure)
        return found[0] if found else None

    def order(self) -> list[Origin]:
        """The nodes in topological order, ties as their authors placed them."""
        left = [Origin(level, node.id, "") for level, node in self.level.flat()]
        before = {each.id: self._needs(each) for each in left}
        done: set[str] = set()
        order = []
        while left:
            ready = next(each for each in left if before[each.id] <= done)
            left.remove(ready)
            done.add(ready.id)
            order.append(ready)
        return order

    def _needs(self, origin: Origin) -> set[str]:
        level, node = origin.level, origin.level.workflow.nodes[origin.node]
        found: list[Origin | Constant | None] = []
        for key, slot in level.slots(node)[0].items():
            origins = level.origins(node.id, key)
            found += [level.stream(each) for each in origins] if slot.is_stream else origins
        return {each.id for each in found if isinstance(each, Origin)}

    def interface(self, key: str) -> Result:
        """What an interface output has."""
        origins = self.level.of_interface(key)
        if not origins:
            return Nothing()
        if self.level.workflow.outputs[key].is_stream:
            # Outside, nobody is told of a stream in which nothing can flow.
            return Nothing() if self.level.stream(origins[0]) is None else self._stream(origins[0])
        return self._result(origins[0])

    def report(self, level: Level, node: Node) -> Report:
        """What becomes of a node, which runs once."""
        id = level.prefix + node.id
        if id not in self.reports:
            self.reports[id] = self._run(level, node, id)
        return self.reports[id]

    def turn(
        self, level: Level, node: Node, index: int, values: Mapping[str, Any], reports: dict[str, Report]
    ) -> tuple[Frame, Failure | None]:
        """Runs the body of a loop once."""
        known = {key: value for key, value in values.items() if value is not None}
        prefix = f"{level.prefix}{node.id}[{index}]/"
        turn = Frame(
            self.run, Level(level.body(node), level.library, level.bodies, level.preview, prefix, known), reports
        )
        return turn, turn.go()

    def _result(self, origin: Origin | Constant) -> Result:
        if isinstance(origin, Constant):
            return Value(from_json(origin.value, origin.data_flow_type))
        return self.report(origin.level, origin.level.workflow.nodes[origin.node]).outputs.get(origin.slot, Nothing())

    def _stream(self, origin: Origin | Constant) -> Result:
        begin = self.level.stream(origin)
        return Chunks(()) if begin is None else self._result(begin)

    def _flows(self, level: Level, node: Node, key: str, slot: InputDefinition) -> bool:
        return not slot.is_stream or level.stream(level.origins(node.id, key)[0]) is not None

    def _run(self, level: Level, node: Node, id: str) -> Report:
        inputs, outputs = level.slots(node)
        found: dict[str, list[Result]] = {}
        settled: list[tuple[str, Result]] = []
        for key, slot in inputs.items():
            origins = level.origins(node.id, key)
            results = [self._stream(each) if slot.is_stream else self._result(each) for each in origins]
            found[key] = results
            # A stream is not there because of where it begins, not of what is bypassed on its way.
            begins = [level.stream(each) if slot.is_stream else each for each in origins]
            settled += [(_id(each), result) for each, result in zip(begins, results, strict=True)]
        failed = frozenset(source for source, result in settled if isinstance(result, Failed))
        if failed:
            return Report("skipped", "failed", dict.fromkeys(outputs, Failed()), causes=self._roots(failed))
        missing = [key for key, each in found.items() if each and all(isinstance(r, Untaken) for r in each)]
        # What takes the workflow's outputs runs if one of them is there; a stream of nobody is not.
        there = [key for key, each in found.items() if each and self._flows(level, node, key, inputs[key])]
        if missing and (node.type != OUTPUT or len(missing) == len(there)):
            causes = frozenset(source for source, result in settled if isinstance(result, Untaken))
            return Report("skipped", "untaken", dict.fromkeys(outputs, Untaken()), causes=self._roots(causes))
        if level.is_bypassed(node):
            return bypassed(level, node, found)
        if node.type == OUTPUT:
            return Report("complete")
        if node.type == INPUT:
            return Report("complete", outputs={key: given(level.values.get(key)) for key in outputs})
        try:
            values = {
                key: value_of(inputs[key], node.presets.get(key), key, found[key])
                for key in inputs
                if not inputs[key].is_stream
            }
        except BrokenError as error:
            return self._failed(node, id, outputs, error, {}, 0)
        values = {key: value for key, value in values.items() if value is not None}
        streams = {key: list(items(found[key])) for key in inputs if inputs[key].is_stream}
        if node.type == IF:
            result = given(values.get("value"))
            taken, other = ("then", "else") if values["condition"] else ("else", "then")
            return Report("complete", outputs={taken: result, other: Untaken()})
        if node.type == MERGE:
            first = values.get("values") or [None]
            return Report("complete", outputs={"value": given(first[0])})
        if node.type in LOOPS:
            try:
                loop = for_each if node.type == FOR_EACH else while_true
                return self._done(node, outputs, loop(self, level, node, values), {}, None, 0)
            except BrokenError as error:
                return self._failed(node, id, outputs, error, {}, 0)
        return self._call(node, id, outputs, values, streams)

    def _call(
        self,
        node: Node,
        id: str,
        outputs: Mapping[str, Any],
        values: dict[str, Any],
        streams: dict[str, list[Any]],
    ) -> Report:
        retry = node.policy.get("retry") or {"tries": 1}
        kinds = retry.get("kinds", ("guest", "limit", "busy", "internal"))
        for attempt in range(1, retry["tries"] + 1):
            written: dict[str, list[Any]] = {key: [] for key, slot in outputs.items() if slot.is_stream}
            try:
                answer = self.run.functions.call(node.type, values, node.config, streams, attempt, written)
                _errors_are_failures(written)
            except BrokenError as error:
                if attempt < retry["tries"] and error.kind in kinds:
                    continue
                _errors_are_cut(written)
                report = self._failed(node, id, outputs, error, written, attempt)
            else:
                report = self._done(node, outputs, answer, written, values, attempt)
            report.inputs = values
            return report
        raise AssertionError

    def _done(
        self,
        node: Node,
        outputs: Mapping[str, Any],
        answer: Mapping[str, Any],
        written: dict[str, list[Any]],
        inputs: dict[str, Any] | None,
        tries: int,
    ) -> Report:
        results: dict[str, Result] = {key: given(answer.get(key)) for key in outputs if key not in written}
        results |= {key: Chunks(tuple(items)) for key, items in written.items()}
        if node.policy.get("errorOutput"):
            results[ERROR_OUTPUT] = Untaken()
        return Report("complete", outputs=results, chunks=written, inputs=inputs, tries=tries)

    def _failed(
        self,
        node: Node,
        id: str,
        outputs: Mapping[str, Any],
        error: BrokenError,
        written: dict[str, list[Any]],
        tries: int,
    ) -> Report:
        failure = Failure(error.kind, id, str(error))
        handled = bool(node.policy.get("errorOutput"))
        results: dict[str, Result] = dict.fromkeys(outputs, Untaken() if handled else Failed())
        if handled:
            # Whose plugin it was is the library's matter.
            results[ERROR_OUTPUT] = Value({"kind": error.kind, "message": str(error), "node": id, "tries": tries})
        return Report("error", outputs=results, chunks=written, failure=failure, handled=handled, tries=tries)

    def _roots(self, ids: frozenset[str]) -> frozenset[str]:
        found = set(ids)
        for id in ids:
            report = self.reports.get(id)
            if report is not None:
                found |= report.causes
        return frozenset(found)


def _id(origin: Origin | Constant | None) -> str:
    return origin.id if isinstance(origin, Origin) else ""


def _is_error(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "error_chunk"


def _errors_are_failures(written: dict[str, list[Any]]) -> None:
    for chunks in written.values():
        for chunk in chunks:
            if _is_error(chunk):
                raise BrokenError("guest", chunk["content"])


def _errors_are_cut(written: dict[str, list[Any]]) -> None:
    for key, chunks in written.items():
        at = next((index for index, chunk in enumerate(chunks) if _is_error(chunk)), len(chunks))
        written[key] = chunks[:at]
