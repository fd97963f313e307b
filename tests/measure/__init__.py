"""What is measured: the promises about time and memory, each beside a peer in the same run.

`python -m tests.measure` prints everything; `python -m tests.measure lag` one part.
"""
