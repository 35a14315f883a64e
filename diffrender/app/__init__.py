"""The application behind the command `diffrender`: fit, resume, export, report, relight, bake, compare."""
