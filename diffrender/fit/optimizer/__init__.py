"""The optimiser of a fit: Adam, learning rates over time, vertices whose steps must not flip faces."""
