"""Light from all directions: environment maps, prefiltered or drawn by Monte Carlo."""
