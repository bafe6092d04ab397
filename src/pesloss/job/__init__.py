"""What every job has in common: files, errors, progress, provenance."""
