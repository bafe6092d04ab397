"""What a wrong exponent costs where the covariance of the energies is known (science.md §3)."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from pesloss.inference import fit_exponent
from pesloss.linear.least_squares import basis, covariance, estimators, gauss_markov
from pesloss.linear.weightings import EXPONENTS, weightings
from pesloss.scales.scales import Scales

Array = NDArray[np.float64]
COLUMNS = [
    "loss", "exponent", "data_multiplier", "simulated_multiplier", "simulated_se",
    "best_exponent", "variance_exponent",
]  # fmt: skip


def data_multiplier(features: Array, weights: Array, variance: Array) -> Array:
    """Return how many times the data a weighting needs for what the best one does, (J,).

    The mean over structures of ``Var(x_k θ̂) / V_kk``, over that of the best linear unbiased
    estimate, which is d/K. Variances fall as one over the number of structures, so their ratio is a
    ratio of numbers of structures; its inverse is the efficiency. It is 1 or more.

    Parameters
    ----------
    features
        (K, d).
    weights
        (J, K).
    variance
        (K,) V, eV².
    """
    spread = covariance(features, weights, variance)
    information = np.linalg.inv(gauss_markov(features, variance))
    return np.asarray(np.einsum("jde,ed->j", spread, information) / features.shape[1])


def simulated_multiplier(
    features: Array, weights: Array, variance: Array, n_replicates: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return the same from energies drawn anew, and its standard error, both (J,).

    The parameters are 0: a linear fit's errors do not depend on them.
    """
    maps = estimators(features, weights)
    weighted = features / np.sqrt(variance)[:, None]
    energies = np.sqrt(variance)[:, None] * rng.standard_normal((len(variance), n_replicates))
    factor = np.linalg.qr(weighted, mode="r")
    losses = ((factor @ (maps @ energies)) ** 2).sum(axis=1) / features.shape[1]
    return losses.mean(axis=1), losses.std(axis=1, ddof=1) / np.sqrt(n_replicates)


def optimal_exponent(features: Array, n_atoms: Array, variance: Array) -> float:
    """Return the p of ``1/N^p`` with the least data multiplier, exactly."""

    def cost(p: float) -> float:
        weights = (n_atoms / n_atoms.mean()) ** -p
        return float(data_multiplier(features, weights[None], variance)[0])

    bounds = (float(EXPONENTS[0]), float(EXPONENTS[-1]))
    return float(minimize_scalar(cost, bounds=bounds, method="bounded").x)


def efficiency_table(
    composition: Array,
    features: Array,
    variance: Array,
    scales: Scales,
    n_replicates: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return ``COLUMNS``: what each weighting costs on K structures.

    ``best_exponent`` is the p that costs least, ``variance_exponent`` the α of the known variance
    by gamma regression; both are the same in every row.

    Parameters
    ----------
    composition
        (K, Z).
    features
        (K, d) beside the composition.
    variance
        (K,) that the variance model gives each structure's energy, eV².
    scales
        What the standardised and the correlated loss divide by.
    n_replicates, rng
        Energies that are drawn, and their source.
    """
    n_atoms = composition.sum(axis=1)
    columns = basis(np.hstack([composition, features]), n_atoms)
    compared = weightings(composition, scales)
    simulated, error = simulated_multiplier(columns, compared.weights, variance, n_replicates, rng)
    return pd.DataFrame(
        {
            "loss": compared.loss,
            "exponent": compared.exponent,
            "data_multiplier": data_multiplier(columns, compared.weights, variance),
            "simulated_multiplier": simulated,
            "simulated_se": error,
            "best_exponent": optimal_exponent(columns, n_atoms, variance),
            "variance_exponent": fit_exponent(n_atoms, variance),
        }
    )[COLUMNS]
