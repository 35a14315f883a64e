"""Pure image mathematics: colour spaces, filters and measures of difference."""
