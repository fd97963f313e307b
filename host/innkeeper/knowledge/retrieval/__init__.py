"""Finding entries by words and by meaning."""
