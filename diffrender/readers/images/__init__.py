"""Images and masks from files."""
