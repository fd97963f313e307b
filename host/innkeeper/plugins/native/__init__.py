"""The native tier: Python plugins in the host's own process, off unless the operator turned it on and trusted them."""
