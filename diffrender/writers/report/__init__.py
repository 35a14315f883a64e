"""Files for people: the report page, progress pictures and curves; and the terminal."""
