"""Environment maps: light from all directions, prefiltered or sampled by Monte Carlo."""
