"""What a run came to, for metrics.json, the terminal and the report."""
