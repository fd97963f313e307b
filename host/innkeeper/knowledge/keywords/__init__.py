"""Keywords of knowledge bases, found in texts in one pass, whatever their number and script."""
