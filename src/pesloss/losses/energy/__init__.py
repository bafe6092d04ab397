"""Energy losses, one file each."""
