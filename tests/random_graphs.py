"""Random workflows: groups in groups, loops, branches, streams, failures, bypassed nodes, constants."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from graph_library import LIBRARY
from graph_pools import CHUNKS, CONTROL, KINDS, PLUGIN, STREAMS, Mood, fits, input_slots, preset
from graph_writing import Body, Place, Writer, slot_json
from innkeeper.plugins.nodes import InputDefinition, OutputDefinition

MOST_NODES = 60
"""Nodes of a workflow, those of groups and of all turns of loops included."""


@dataclass
class Builder:
    """Makes one workflow, node by node; each connects with those before it."""

    draw: Callable[[st.SearchStrategy[Any]], Any]
    mood: Mood
    bodies: Mapping[str, Body]
    room: int
    kind: str = "group"
    writer: Writer = field(default_factory=Writer)
    used: int = 0

    def chance(self, percent: int) -> bool:
        """True that often; small examples have False."""
        return bool(self.draw(st.integers(0, 99)) >= 100 - percent)

    def build(self, nodes: int) -> Body:
        """A workflow with about so many nodes."""
        self._interface_inputs()
        if self.kind == "while":
            self._step()
        for _ in range(nodes):
            self._node()
        self._interface_outputs()
        self.writer.shuffle(random.Random(self.draw(st.integers(0, 9))))
        return Body(self.writer, self.kind, max(1, self.used))

    def _interface_inputs(self) -> None:
        if self.kind == "each":
            for key, kind in (("item", "WILDCARD"), ("index", "INTEGER")):
                if self.chance(70):
                    self.writer.inputs[key] = {"dataFlowType": kind}
        if self.kind == "while":
            self.writer.inputs["n"] = {"dataFlowType": "INTEGER"}
        for index in range(self.draw(st.integers(0, 3))):
            kind = self.draw(st.sampled_from(KINDS))
            slot: dict[str, Any] = {"dataFlowType": kind}
            if self.chance(50):
                slot["config"] = {"default": self.draw(preset(kind))}
            self.writer.inputs[f"in{index}"] = slot
        if self.kind == "group" and self.chance(40):
            legacy = {"dataFlowType": "STREAM"}
            self.writer.inputs["stream"] = self.draw(st.sampled_from([legacy, {**legacy, "isStream": True}]))
        if self.writer.inputs:
            self.writer.add("in", "core:GroupInput", {})
            for key, given in self.writer.inputs.items():
                self.writer.places.append(Place("in", key, OutputDefinition.model_validate(given), sure=False))
            self.used += 1 if self.kind != "group" else 0

    def _step(self) -> None:
        self.writer.add("step", "t:Step", {"configValues": {"until": self.draw(st.integers(0, 4))}})
        self.writer.connect(self.writer.place("in", "n"), "step", "n")
        self._offer("step", LIBRARY.definition("t:Step").outputs, sure=True)
        self.used += 1

    def _interface_outputs(self) -> None:
        wanted: list[tuple[str, Place]] = []
        if self.kind == "while":
            wanted = [("n", self.writer.place("step", "n")), ("continue", self.writer.place("step", "more"))]
        mappings = self.kind == "top" or self.chance(30)
        choices = [each for each in self.writer.places if self.kind in ("group", "top") or not each.slot.is_stream]
        choices = [each for each in choices if each.slot_key != "innkeeperError"]
        for index in range(self.draw(st.integers(0, 4)) if choices else 0):
            # The last ones more often: what is far from the inputs says most.
            near = choices[-8:] if self.chance(60) else choices
            wanted.append((f"out{index}", self.draw(st.sampled_from(near))))
        for key, place in wanted:
            self.writer.outputs[key] = slot = slot_json(place.slot)
            kind = place.slot.data_flow_type
            if not place.slot.is_stream and kind not in ("WILDCARD", "BINARY") and key.startswith("out"):
                wider = {"INTEGER": ("FLOAT", "STRING"), "FLOAT": ("STRING",), "BOOLEAN": ("STRING",)}.get(kind, ())
                if self.chance(20):
                    slot["dataFlowType"] = self.draw(st.sampled_from(("WILDCARD", *wider)))
            sure = place.sure and slot["dataFlowType"] == kind
            self.writer.sure[key] = sure
            if mappings and self.chance(50):
                self.writer.mappings[key] = (place.node, place.slot_key)
            else:
                if "out" not in self.writer.nodes:
                    self.writer.add("out", "core:GroupOutput", {})
                    self.used += 1 if self.kind != "group" else 0
                self.writer.connect(place, "out", key)

    def _node(self) -> None:
        groups = [each for each in self.bodies if self.used + self.bodies[each].size <= self.room]
        if groups and self.chance(40):
            self._body(self.draw(st.sampled_from(groups)))
            return
        if self.used >= self.room:
            return
        self.used += 1
        name = self.draw(st.sampled_from(PLUGIN + STREAMS * 2 + CONTROL * 2))
        if name in CONTROL:
            self._control(name)
            return
        node = self.writer.name(name)
        config: dict[str, Any] = {"salt": self.draw(st.integers(0, 2))}
        if name == "Moded" and self.chance(70):
            config["mode"] = self.draw(st.sampled_from(["one", "two"]))
        definition = LIBRARY.definition(f"t:{name}")
        inputs, outputs = definition.slots(config)
        bypassed = self._bypassed()
        if name in ("Source", "Relay", "Shortcut", "Gather"):
            self._streaming(name, config)
        else:
            self._failing(config)
            if self.chance(20):
                config[self.draw(st.sampled_from(["absent", "null"]))] = self.draw(
                    st.lists(st.sampled_from(sorted(outputs)), max_size=2)
                )
        policy = config.get("innkeeper", {})
        self._place(node, f"t:{name}", inputs, config, bypassed)
        self._offer(node, outputs, sure=not bypassed and name != "Unsafe")
        if policy.get("errorOutput"):
            self._caught(node)

    def _caught(self, node: str) -> None:
        error = OutputDefinition.model_validate({"dataFlowType": "OBJECT"})
        place = Place(node, "innkeeperError", error, sure=False)
        if self.chance(80) and self.used < self.room:
            self.used += 1
            caught = self.writer.name("Caught")
            self.writer.add(caught, "t:Caught", {})
            self.writer.connect(place, caught, "error")
            self._offer(caught, LIBRARY.definition("t:Caught").outputs, sure=True)

    def _bypassed(self) -> bool:
        return self.mood.bypassing and self.chance(12)

    def _failing(self, config: dict[str, Any]) -> None:
        if not self.mood.failures:
            return
        policy: dict[str, Any] = {}
        if self.chance(8):
            config["broken"] = "for good"
        if self.chance(10):
            config["fails"] = self.draw(st.integers(1, 3))
            if self.chance(80):
                policy["retry"] = {"tries": self.draw(st.integers(2, 4)), "delay": 0.001, "factor": 1}
        if self.chance(20):
            config["kind"] = self.draw(st.sampled_from(["guest", "limit", "denied"]))
        if self.chance(20):
            policy["errorOutput"] = True
        if policy:
            config["innkeeper"] = policy

    def _streaming(self, name: str, config: dict[str, Any]) -> None:
        if name == "Source":
            config["chunks"] = self.draw(st.lists(CHUNKS, max_size=4))
            config["repeat"] = self.draw(st.sampled_from([1, 1, 1, 2, 60]))
        if self.chance(30):
            config["twice"] = True
        breaks = self.mood.failures and (self.mood.streams or name == "Gather")
        if breaks and self.chance(15):
            config["broken"] = "at the end"
        elif breaks and name == "Source" and self.chance(10):
            config["chunks"].append({"type": "error_chunk", "content": "the source is dry"})
        if breaks and self.chance(15):
            config["innkeeper"] = {"errorOutput": True}
        if self.mood.leaving and name != "Source" and self.chance(30):
            config["takes"] = self.draw(st.integers(0, 3))

    def _control(self, name: str) -> None:
        node = self.writer.name(name)
        bypassed = self._bypassed()
        if name == "If":
            inputs = input_slots(
                condition={"dataFlowType": "BOOLEAN", "required": True}, value={"dataFlowType": "WILDCARD"}
            )
            outputs = ("then", "else")
        else:
            inputs, outputs = input_slots(values={"dataFlowType": "WILDCARD", "multi": True}), ("value",)
        self._place(node, f"innkeeper:{name}", inputs, {}, bypassed)
        wildcard = OutputDefinition.model_validate({"dataFlowType": "WILDCARD"})
        self._offer(node, dict.fromkeys(outputs, wildcard), sure=False)

    def _body(self, id: str) -> None:
        body = self.bodies[id]
        config: dict[str, Any] = {"referencedWorkflowId": id}
        bypassed = self._bypassed()
        outputs = body.outputs()
        inputs = body.writer.input_slots()
        if body.kind == "group":
            self.used += body.size
            node = self.writer.name("Group")
            self._place(node, "core:NodeGroup", inputs, config, bypassed)
            for key, slot in outputs.items():
                sure = body.writer.sure[key] and not bypassed
                self.writer.places.append(Place(node, key, slot, sure=sure))
            return
        config["maxIterations"] = most = self.draw(st.integers(1, 4))
        most = max(1, min(most, (self.room - self.used) // body.size))
        config["maxIterations"] = most
        self.used += 1 + body.size * most
        if body.kind == "each" and self.chance(50):
            config["parallel"] = self.draw(st.integers(2, 3))
        if self.mood.failures and self.chance(25):
            config["innkeeper"] = {"errorOutput": True}
        if body.kind == "each":
            node, full_type = self.writer.name("ForEach"), "innkeeper:ForEach"
            inputs = {key: slot for key, slot in inputs.items() if key not in ("item", "index")}
            inputs = {**input_slots(items={"dataFlowType": "ARRAY", "required": True}), **inputs}
            outputs = dict.fromkeys(outputs, OutputDefinition.model_validate({"dataFlowType": "ARRAY"}))
        else:
            node, full_type = self.writer.name("While"), "innkeeper:While"
        self._place(node, full_type, inputs, config, bypassed)
        self._offer(node, outputs, sure=body.kind == "each" and not bypassed)
        if "innkeeper" in config:
            self._caught(node)

    def _offer(self, node: str, outputs: Mapping[str, OutputDefinition], *, sure: bool) -> None:
        self.writer.places += [Place(node, key, slot, sure=sure) for key, slot in outputs.items()]

    def _place(
        self, node: str, full_type: str, inputs: Mapping[str, InputDefinition], config: dict[str, Any], bypassed: bool
    ) -> None:
        presets: dict[str, Any] = {}
        self.writer.add(node, full_type, {"configValues": config} | ({"bypassed": True} if bypassed else {}))
        whole = full_type.startswith(("core:", "innkeeper:"))
        for key, slot in inputs.items():
            found = [each for each in self.writer.places if each.node != node and fits(each, slot, key, whole)]
            if found and self.chance(85 if slot.is_stream or slot.required else 55):
                edges = 1 + (self.draw(st.integers(0, 2)) if slot.multi else 0)
                recent = found[-6:] if self.chance(60) else found
                chosen = [self.draw(st.sampled_from(recent)) for _ in range(edges)]
                self.writer.connect_all(chosen, node, key, slot.multi, self.draw(st.integers(0, 5)))
                # Behind the slots of groups there may be nothing.
                direct = not any(each.node.startswith(("in", "Group")) for each in chosen)
                if self.chance(85) and (direct or not slot.required):
                    continue
            if not slot.is_stream and key != "error" and (slot.required or self.chance(30)):
                value = self.draw(preset(slot.data_flow_type))
                presets[key] = [value] if slot.multi else value
        if presets:
            self.writer.nodes[node]["inputs"] = presets


@st.composite
def workflows(draw: st.DrawFn, most: int = MOST_NODES) -> dict[str, Any]:
    """An execution payload that brings the workflows that it refers to, in both forms."""
    mood = Mood(draw(st.booleans()), draw(st.booleans()), draw(st.booleans()), draw(st.booleans()))
    bodies: dict[str, Body] = {}
    for index in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["group", "group", "group", "each", "while"]))
        builder = Builder(draw, mood, dict(bodies), most // 4, kind)
        bodies[f"body-{index}"] = builder.build(draw(st.integers(1, 6)))
    top = Builder(draw, mood, bodies, most, "top").build(draw(st.integers(1, 24)))
    payload = top.writer.execution()
    stored = draw(st.lists(st.booleans(), min_size=len(bodies), max_size=len(bodies)))
    if bodies:
        written = {
            id: body.writer.stored(id) if as_stored and not body.writer.mappings else body.writer.execution()
            for (id, body), as_stored in zip(bodies.items(), stored, strict=True)
        }
        payload["innkeeper"] = {"workflows": written}
    if draw(st.integers(0, 9)) == 9:
        payload["metadata"] = {"isPreviewRun": True}
    return payload
