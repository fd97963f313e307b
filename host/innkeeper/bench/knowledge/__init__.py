"""What `innkeeper kb bench` measures: how well retrieval finds, and how long knowledge takes.

`rows` names what is timed, `aims` what sets are to reach, `joined` is where other parts are called, `runner` measures
each in a process of its own, `report` and `table` show it.
"""
