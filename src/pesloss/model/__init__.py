"""The trained potentials: networks, batches, kernels."""
