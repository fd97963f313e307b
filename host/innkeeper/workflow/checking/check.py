"""From a payload to a graph that can run, or to everything that is wrong with it."""

from __future__ import annotations

from innkeeper.workflow.checking.graph import Graph
from innkeeper.workflow.checking.graphs import Graphs
from innkeeper.workflow.checking.interface import outputs_have_sources, values_fit
from innkeeper.workflow.checking.nodes import PluginNodes
from innkeeper.workflow.checking.problems import Problems, WorkflowError
from innkeeper.workflow.checking.templates import Templates
from innkeeper.workflow.formats.payload import WorkflowPayload
from innkeeper.workflow.formats.sources import WorkflowSource
from innkeeper.workflow.host import Hooked, NodeHost


def check_workflow(payload: WorkflowPayload, host: NodeHost, source: WorkflowSource | None = None) -> Graph:
    """Resolves every name of a workflow, and puts in the workflows that its groups and loops refer to.

    Args:
        payload: the workflow. What it brings itself (`innkeeper.workflows`) goes before what the source has.
        host: has the nodes.
        source: has further workflows.

    Raises:
        WorkflowError: all that is wrong with it, one line each with node and slot.
    """
    problems = Problems()
    values_fit(payload, problems, given=True)
    plugins = PluginNodes(host, problems, preview=payload.is_preview)
    template = Templates(payload, source, plugins, problems).top()
    graph = Graphs(problems, host.hooks if isinstance(host, Hooked) else None).of(template)
    outputs_have_sources(template, problems)
    if problems.count:
        raise WorkflowError(problems)
    return graph
