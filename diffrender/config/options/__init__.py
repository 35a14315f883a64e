"""What a scene file may say of each noun: one file a noun, with its defaults, ranges and descriptions."""
