"""Macros in texts: a small engine that cannot loop."""
