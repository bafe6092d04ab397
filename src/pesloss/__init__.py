"""Loss functions for machine-learned interatomic potentials, settled by experiment."""
