"""How active entries, a conversation and texts become the messages of a prompt."""
