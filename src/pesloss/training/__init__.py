"""Training of one model under one loss."""
