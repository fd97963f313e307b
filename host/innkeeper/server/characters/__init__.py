"""Character cards of users, as a gallery shows them."""
