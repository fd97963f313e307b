"""How long texts are for a model."""
