"""What is kept of knowledge bases: documents, versions, history, vectors, overlays, sessions, proposals."""
