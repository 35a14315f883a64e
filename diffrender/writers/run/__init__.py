"""Files that a run writes about itself: its folder, manifest and metrics."""
