"""What people look at: the report page, progress pictures, curves, the terminal."""
