"""Documents of other kinds, cut into entries."""
