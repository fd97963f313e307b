"""Names entries that can never be active, and what else in a base does not do what its author meant."""
