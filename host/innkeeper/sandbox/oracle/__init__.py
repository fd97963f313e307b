"""The oracle: the extism package as a second engine, in worker processes of its own.

Empty on purpose: a worker imports `worker` and what that needs, and nothing of the host.
"""
