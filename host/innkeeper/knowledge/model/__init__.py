"""What an entry and a base are, as files have them."""
