"""Read a scene file strictly and check it as a whole: YAML in, FitConfig out. Imports no torch."""
