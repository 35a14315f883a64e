"""What a scene file may say of each noun: one file per noun, with its defaults, ranges and descriptions."""
