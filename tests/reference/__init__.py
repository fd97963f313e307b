"""What a workflow means, told as plainly as possible: one node after the other, no concurrency, streams as whole lists.

It shares no code with `innkeeper.workflow.checking` and `innkeeper.workflow.engine`, whose results it is compared with:
it reads the payload's plain data, asks a library for node definitions, and follows edges through groups on demand
where the host flattens them ahead.
"""
