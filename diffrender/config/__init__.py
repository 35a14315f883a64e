"""The scene file: read strictly, checked as a whole, and turned into everything that a fit needs."""
