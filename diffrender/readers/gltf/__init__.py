"""glTF 2.0 from files."""
