"""Chat trees: one file for each session of a project, whole and unbroken at any time."""
