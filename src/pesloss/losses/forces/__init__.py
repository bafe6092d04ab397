"""Force losses, one file each."""
