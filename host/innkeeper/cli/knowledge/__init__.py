"""The commands of `innkeeper kb` and `innkeeper card`, one a file: `kb_NAME.py` and `card_NAME.py`."""
