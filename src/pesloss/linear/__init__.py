"""The exact arm: models linear in their parameters, fitted in closed form (science.md §3).

There is no learning rate and no luck in such a fit, so the cost of a wrong weighting of structures
of different sizes can be measured over thousands of fits, and known exactly where the covariance
of the energies is known.
"""
