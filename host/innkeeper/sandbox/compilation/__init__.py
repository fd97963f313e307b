"""Compiling in a bounded process of its own, and the cache of what it made.

`service.Compilation` is what an engine uses: bytes of Wasm in, modules of its own engines out. Below it: `cache` keeps
artifacts in a private folder, `compiler` runs jobs in children, `job` is what a child does with one.
"""
