"""The one list of WebAssembly proposals: what guests may use, and why the rest is off."""

from __future__ import annotations

from dataclasses import dataclass

from wasmtime import Config


@dataclass(frozen=True, slots=True)
class Proposal:
    """One extension of WebAssembly's first version.

    Attributes:
        name: its common name.
        setting: name of wasmtime-py's switch.
        on: whether guests may use it.
        reason: why.
    """

    name: str
    setting: str
    on: bool
    reason: str


PROPOSALS = (
    Proposal("multi-value", "wasm_multi_value", True, "compilers emit it by default"),
    Proposal("bulk memory", "wasm_bulk_memory", True, "compilers emit it by default"),
    Proposal("reference types", "wasm_reference_types", True, "compilers emit it by default"),
    Proposal("SIMD", "wasm_simd", True, "standard and deterministic"),
    Proposal("tail calls", "wasm_tail_call", True, "standard; functional languages need them"),
    Proposal("relaxed SIMD", "wasm_relaxed_simd", False, "its results depend on the processor"),
    Proposal("threads", "wasm_threads", False, "shared memory breaks limits, journals and determinism"),
    Proposal("shared memory", "shared_memory", False, "goes with threads"),
    Proposal("memory64", "wasm_memory64", False, "no guest needs more than 4 GiB; bounds checks are dearer"),
    Proposal("multi-memory", "wasm_multi_memory", False, "a second memory would escape the limit on the first"),
    Proposal("function references", "wasm_function_references", False, "no compiler of our languages emits them"),
    Proposal("garbage collection", "wasm_gc", False, "a second heap with a limit of its own; new code, recent faults"),
    Proposal("exceptions", "wasm_exceptions", False, "needs the collector's heap"),
    Proposal("stack switching", "wasm_stack_switching", False, "experimental; we switch stacks ourselves"),
    Proposal("wide arithmetic", "wasm_wide_arithmetic", False, "not a standard yet"),
    Proposal("custom page sizes", "wasm_custom_page_sizes", False, "not a standard yet; limits count pages of 64 KiB"),
    Proposal("component model", "wasm_component_model", False, "the second guest ABI has an engine setting of its own"),
)
"""MVP, mutable globals, sign extension and saturating conversions cannot be switched off and are on."""


def apply(config: Config) -> None:
    """Switches every proposal of the list on or off."""
    for proposal in PROPOSALS:
        setattr(config, proposal.setting, proposal.on)
