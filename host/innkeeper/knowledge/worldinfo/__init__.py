"""The profile `st-1.15`: world info as SillyTavern 1.15 activates it, its surprises included."""
