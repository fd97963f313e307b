"""Regular expressions as JavaScript has them, run where they can do no harm."""
