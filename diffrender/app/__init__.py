"""What the command `diffrender` does: fit, resume, export, report, relight, bake, compare."""
