"""Images and video to files."""
