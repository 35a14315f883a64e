"""Pure mesh and camera mathematics."""
