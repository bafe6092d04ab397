"""The suite as its configuration describes it, and further seeds."""
