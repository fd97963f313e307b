"""What other programs write: lorebooks, character cards and presets, read without trust and written without loss."""
