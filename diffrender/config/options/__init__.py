"""The options of scene files: one file per noun, with defaults, ranges and descriptions."""
