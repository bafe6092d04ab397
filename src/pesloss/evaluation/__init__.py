"""Labels and errors of single structures as tidy tables."""
