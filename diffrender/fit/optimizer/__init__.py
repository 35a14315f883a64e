"""The optimiser of a fit: Adam variants, learning rate schedules, and vertex steps that must not flip faces."""
