"""`python -m innkeeper` is the `innkeeper` command."""

from innkeeper.cli.main import main

main()
