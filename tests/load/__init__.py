"""The server under load, beside plain hypercorn with the same payload in the same run.

`python -m tests.load streams [--seconds 60] [--clients 1000]`.
"""
