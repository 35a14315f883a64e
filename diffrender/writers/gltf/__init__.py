"""glTF 2.0 to files."""
