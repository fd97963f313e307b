"""What `innkeeper bench` measures: this host beside the Extism SDK and wasmtime-py's plain API, in one run.

`rows` names what is measured, `runner` measures each row in a process of its own, `report` and `svg` show it.
"""
