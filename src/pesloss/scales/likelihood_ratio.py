"""Do the data want κ and τ? Likelihood-ratio tests with variances at the boundary."""

from typing import NamedTuple

from scipy.stats import chi2


class RatioTest(NamedTuple):
    """A likelihood-ratio test of a nested model.

    Attributes
    ----------
    null
        What the nested model says.
    statistic
        Twice the difference of the log-likelihoods.
    p_value
        Chance of a larger statistic when the nested model is true.
    """

    null: str
    statistic: float
    p_value: float


def boundary_test(null: str, nested: float, full: float, n_variances: int) -> RatioTest:
    """Test that ``n_variances`` (1 or 2) variances are zero.

    A variance cannot be negative, so its estimate is zero half of the time and the statistic
    follows a mixture of χ²: ½ χ²₀ + ½ χ²₁ for one, ¼ χ²₀ + ½ χ²₁ + ¼ χ²₂ for two that are
    estimated independently (Self & Liang, J. Am. Stat. Assoc. 82, 605, 1987).
    """
    statistic = max(2 * (full - nested), 0.0)
    shares = {1: (0.5,), 2: (0.5, 0.25)}[n_variances]
    tails = (share * chi2.sf(statistic, k + 1) for k, share in enumerate(shares))
    return RatioTest(null, statistic, float(sum(tails)) if statistic > 1e-8 else 1.0)


def interior_test(null: str, nested: float, full: float, dof: int) -> RatioTest:
    """Test ``dof`` equalities between parameters away from the boundary (plain χ²)."""
    statistic = max(2 * (full - nested), 0.0)
    return RatioTest(null, statistic, float(chi2.sf(statistic, dof)) if dof else 1.0)
