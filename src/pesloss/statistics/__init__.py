"""The statistics of a dataset: moments of its training split, its labels in their units."""
