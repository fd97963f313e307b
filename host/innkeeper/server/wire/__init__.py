"""Streams past hypercorn: it parses, routes and closes each connection; messages of streams go straight to sockets."""
