"""Claims: what is measured, and the verdict it leads to."""
