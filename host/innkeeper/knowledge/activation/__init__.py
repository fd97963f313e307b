"""Which entries a conversation calls for, and why."""
