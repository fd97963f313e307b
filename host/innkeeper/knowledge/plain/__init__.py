"""A plain keyword search in memory: what answers as long as nothing cleverer is put in its place."""
