"""Means and scales of local energies and forces (science.md §4)."""

from pesloss.statistics.energy import EnergyStandardizer
from pesloss.statistics.forces import ForceStandardizer

__all__ = ["EnergyStandardizer", "ForceStandardizer"]
