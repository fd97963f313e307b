"""Copies of what a home keeps, made while others write to it, and read as if a stranger had made them."""
