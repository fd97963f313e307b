"""The parts of this room, joined: what a host, a command or a program holds of knowledge bases."""
