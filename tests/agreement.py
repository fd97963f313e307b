"""In what a run of the engine differs from what the reference expects of it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reference.results import Chunks, Expected, Failed, Report, Value

INTERFACE = "__WORKFLOW_INTERFACE_OUTPUTS__"
CHUNK_TYPES = ("text_chunk", "tool_call_chunk", "finish_reason_chunk", "usage_chunk", "error_chunk", "custom")
ENDS = {"NODE_COMPLETE": "complete", "NODE_ERROR": "error", "NODE_SKIPPED": "skipped", "NODE_BYPASSED": "skipped"}


def exact(value: Any) -> str:
    """Text that is equal for equal values of equal types."""
    return json.dumps(value, sort_keys=True, default=repr)


def plain_errors(values: Mapping[str, Any]) -> Any:
    """Inputs without the words of errors, and without whose plugin failed."""
    return {
        key: {k: v for k, v in value.items() if k not in ("message", "plugin")}
        if isinstance(value, dict) and {"kind", "message", "node", "tries"} <= set(value)
        else value
        for key, value in values.items()
    }


def present(values: Mapping[str, Any]) -> str:
    """As `exact`, of outputs: null is as good as absent."""
    return exact({key: value for key, value in values.items() if value is not None})


def payload_of_chunk(chunk: Any) -> Any:
    """A chunk as events have it."""
    if isinstance(chunk, str):
        return {"type": "text_chunk", "content": chunk}
    if isinstance(chunk, dict) and chunk.get("type") in CHUNK_TYPES:
        return chunk
    return {"type": "custom", "content": chunk}


def disagreements(
    expected: Expected, outcome: Any, events: Sequence[Any], seen: Mapping[str, Any], tries: Mapping[str, int]
) -> list[str]:
    """One line each; empty where the engine did what the reference says."""
    found = list(_order(events, outcome.status))
    if outcome.status != expected.status:
        found.append(f"the run ended {outcome.status}, not {expected.status}")
    if list(outcome.nodes) != expected.order:
        found.append(f"the order is {list(outcome.nodes)}, not {expected.order}")
    found += _first_error(expected, outcome)
    found += _interface(expected, outcome, events)
    ends = {event["payload"]["nodeId"]: event for event in events if event["type"] in ENDS}
    ends.pop(INTERFACE, None)
    for id, report in expected.nodes.items():
        if id in ends:
            found += _node(id, report, ends[id], seen, tries)
        else:
            found.append(f"nothing is said of {id}, which is {report.status} {report.reason}")
    for id in set(ends) - set(expected.nodes):
        if id in expected.possible:
            found += _node(id, expected.possible[id], ends[id], seen, tries)
        else:
            found.append(f"{id} is no node, and {ends[id]} is said of it")
    for node in outcome.nodes.values():
        report = expected.nodes.get(node.node)
        if report is not None and (node.status, node.reason or "") != (report.status, report.reason):
            found.append(f"the outcome of {node.node} is {node.status} {node.reason}, not {report.status}")
    return found + list(_yields(expected, events))


def _first_error(expected: Expected, outcome: Any) -> Iterator[str]:
    error, failure = outcome.first_error, expected.failure
    if error is None or failure is None:
        if error is not failure:
            yield f"the first error is {error!r}, not {failure}"
    elif (error.node, error.kind.value) != (failure.node, failure.kind):
        yield f"the first error is of {error.node} {error.kind.value}, not of {failure}"


def _node(
    id: str, report: Report, event: Mapping[str, Any], seen: Mapping[str, Any], tries: Mapping[str, int]
) -> Iterator[str]:
    kind, payload = event["type"], event["payload"]
    if (kind == "NODE_BYPASSED") != (report.reason == "bypassed") or ENDS[kind] != report.status:
        yield f"{id}: {kind} {payload.get('reason')} {payload.get('errorDetails')}, not {report.status} {report.reason}"
        return
    if kind in ("NODE_COMPLETE", "NODE_BYPASSED"):
        got = payload["output" if kind == "NODE_COMPLETE" else "pseudoOutputs"]
        if present(got) != present(report.values()):
            yield f"{id}: the outputs are {present(got)}, not {present(report.values())}"
    if kind == "NODE_SKIPPED":
        if payload["reason"] != report.reason:
            yield f"{id}: skipped as {payload['reason']}, not {report.reason}"
        if payload["cause"] not in report.causes:
            yield f"{id}: skipped because of {payload['cause']}, not {sorted(report.causes)}"
    if kind == "NODE_ERROR":
        assert report.failure is not None
        details = payload["errorDetails"]
        if details["kind"] != report.failure.kind or payload.get("handled", False) != report.handled:
            yield f"{id}: {payload}, not {report.failure}, handled {report.handled}"
        if report.inputs is not None and report.failure.message not in details["message"]:
            yield f"{id}: {details['message']}, not {report.failure.message}"
    if report.inputs is not None:
        got, wanted = exact(plain_errors(seen.get(id, {}))), exact(plain_errors(report.inputs))
        if got != wanted:
            yield f"{id}: was given {got}, not {wanted}"
        if tries.get(id, 0) != report.tries:
            yield f"{id}: was called {tries.get(id, 0)} times, not {report.tries}"
    elif report.reason in ("bypassed", "untaken") and id in seen and kind != "NODE_SKIPPED":
        yield f"{id}: was called"


def _interface(expected: Expected, outcome: Any, events: Sequence[Any]) -> Iterator[str]:
    told = [e for e in events if e["type"] == "NODE_COMPLETE" and e["payload"]["nodeId"] == INTERFACE]
    if len(told) != 1 or present(told[0]["payload"]["output"]) != present(outcome.outputs):
        yield f"the interface outputs are told {len(told)} times, or differ"
    yield from _outputs(expected, outcome)


def _outputs(expected: Expected, outcome: Any) -> Iterator[str]:
    for key, result in expected.outputs.items():
        got = outcome.outputs.get(key)
        if isinstance(result, Value):
            if exact(got) != exact(result.data):
                yield f"the output {key} is {exact(got)}, not {exact(result.data)}"
        elif isinstance(result, Chunks | Failed):
            kind = "stream_placeholder" if isinstance(result, Chunks) else "error_placeholder"
            if not isinstance(got, dict) or got.get("type") != kind:
                yield f"the output {key} is {got}, not a {kind}"
        elif got is not None:
            yield f"the output {key} is {got}, not absent"


def _yields(expected: Expected, events: Sequence[Any]) -> Iterator[str]:
    chunks: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for event in events:
        payload = event["payload"]
        if event["type"] == "NODE_YIELD":
            chunks[payload["sourceNodeId"], payload["slot"]].append((payload["yieldedContent"], payload["isLastChunk"]))
        elif event["type"] == "WORKFLOW_INTERFACE_YIELD":
            key = payload["interfaceOutputKey"]
            chunks["", key].append((payload["yieldedContent"], payload["isLastChunk"]))
    for (node, slot), got in chunks.items():
        if [last for _, last in got] != [False] * (len(got) - 1) + [True]:
            yield f"{node} {slot}: the last chunk is not the one that says so"
    whole = {
        (id, slot): (report, items) for id, report in expected.nodes.items() for slot, items in report.chunks.items()
    }
    for (id, slot), (report, items) in whole.items():
        got = chunks.get((id, slot), [])
        wanted = [payload_of_chunk(item) for item in items]
        contents = [content for content, _ in got[:-1]]
        last = got[-1][0] if got else {}
        if report.status == "complete":
            if exact(contents) != exact(wanted):
                yield f"{id} {slot}: the chunks are {exact(contents)}, not {exact(wanted)}"
            if last != {"type": "finish_reason_chunk", "content": "Stream ended"}:
                yield f"{id} {slot}: the last chunk is {last}"
        # A stream may have ended well before its node failed.
        elif exact(contents) != exact(wanted[: len(contents)]) or (
            last.get("type") != "error_chunk" and len(contents) < len(wanted)
        ):
            yield f"{id} {slot}: the chunks are {exact(contents)}, not the first of {exact(wanted)}, and last {last}"
    for key, result in expected.outputs.items():
        got = [content for content, _ in chunks.get(("", key), [])]
        if isinstance(result, Chunks) and exact(got[:-1]) != exact([payload_of_chunk(each) for each in result.items]):
            yield f"the stream {key} is {exact(got)}, not {exact(result.items)}"


def _order(events: Sequence[Any], status: str) -> Iterator[str]:
    if [event["seq"] for event in events] != list(range(1, len(events) + 1)):
        yield "the numbers of events do not ascend by one"
    kinds = [event["type"] for event in events]
    statuses = [event["payload"]["status"] for event in events if event["type"] == "EXECUTION_STATUS_UPDATE"]
    begin = ["PROMPT_ACCEPTED_RESPONSE", "EXECUTION_STATUS_UPDATE"]
    if kinds[:2] != begin or kinds[-1] != begin[1] or statuses != ["running", status]:
        yield f"the run is {statuses}, and its events begin {kinds[:2]} and end {kinds[-1]}"
    begun: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for event in events:
        node = event["payload"].get("nodeId", event["payload"].get("sourceNodeId", INTERFACE))
        if event["type"] == "NODE_EXECUTING":
            begun[node] += 1
            if ended[node]:
                yield f"{node} begins after its end"
        elif event["type"] in ENDS and node != INTERFACE:
            ended[node] += 1
            if event["type"] in ("NODE_COMPLETE", "NODE_ERROR") and not begun[node]:
                yield f"{node} ends without a beginning"
        elif event["type"] == "NODE_YIELD" and not begun[node]:
            yield f"{node} gives chunks before it begins"
    for count, what in ((begun, "begins"), (ended, "ends")):
        for node, times in count.items():
            if times > 1:
                yield f"{node} {what} {times} times"


def resumed_disagreements(expected: Expected, outcome: Any, events: Sequence[Any]) -> list[str]:
    """As `disagreements`, of a run that ended twice: what nobody looked at again has its old events."""
    found = []
    if [event["seq"] for event in events] != list(range(1, len(events) + 1)):
        found.append("the numbers of events do not ascend by one")
    if outcome.status != expected.status or events[-1]["payload"].get("status") != expected.status:
        found.append(f"the run ended {outcome.status}, not {expected.status}")
    found += _first_error(expected, outcome)
    found += _outputs(expected, outcome)
    for node in outcome.nodes.values():
        report = expected.nodes[node.node]
        if (node.status, node.reason or "", node.handled) != (report.status, report.reason, report.handled):
            found.append(f"the outcome of {node.node} is {node.status} {node.reason}, not {report.status}")
        elif report.status == "complete" and present(node.outputs()) != present(report.values()):
            found.append(f"{node.node}: the outputs are {present(node.outputs())}, not {present(report.values())}")
    ends = {event["payload"]["nodeId"] for event in events if event["type"] in ENDS} - {INTERFACE}
    if ends - set(expected.possible) != set(expected.nodes):
        found.append(f"something is said of {sorted(ends)}, and there are {sorted(expected.nodes)}")
    return found
