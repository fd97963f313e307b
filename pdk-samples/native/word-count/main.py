"""Two nodes and a hook: the shape of every native plugin."""

from __future__ import annotations

from innkeeper.native import Api, Call, NodeInfo

from .counting import count, most_frequent

TEXT = {"dataFlowType": "STRING", "required": True}


def setup(api: Api) -> None:
    """Registers what the plugin has."""
    # One word a line; the file is the one that was trusted.
    dull = frozenset(api.file("dull.txt").decode().split())

    @api.node(
        {
            "type": "Count",
            "displayName": "Count words",
            "category": "Text",
            "inputs": {"text": TEXT},
            "outputs": {"words": {"dataFlowType": "INTEGER"}, "ever": {"dataFlowType": "INTEGER"}},
        }
    )
    async def count_words(call: Call) -> dict[str, object]:
        words = count(call.inputs["text"])
        kept = await api.service("kv.get", space="totals", key="words")
        ever = words + (int(kept["value"]) if kept is not None else 0)
        await api.service("kv.put", space="totals", key="words", value=str(ever).encode())
        api.log.info(f"{words} words")
        return {"words": words, "ever": ever}

    # Not async: it runs in a thread, and may take its time.
    @api.node({"type": "Frequent", "inputs": {"text": TEXT}, "outputs": {"words": {"dataFlowType": "ARRAY"}}})
    def frequent(call: Call) -> dict[str, object]:
        return {"words": most_frequent(call.inputs["text"], dull, int(api.config.get("words", "3")))}

    @api.after_node
    def slow(node: NodeInfo) -> None:
        if node.seconds > 10:
            api.log.warn(f"{node.type} took {node.seconds:.0f} s in the run {node.run}")
