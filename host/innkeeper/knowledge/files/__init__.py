"""Knowledge bases as files: read with line and key, written whole or not at all, packed, unpacked and found again."""
