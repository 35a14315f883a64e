"""Check a capture before a fit: its views, its start, and whether masks and cameras belong together."""
