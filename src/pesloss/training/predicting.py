"""Predictions in batches, in torch."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pesloss.model.batches import Batch, Batcher
from pesloss.model.potential import Potential, Prediction


def predict(
    model: Potential, batcher: Batcher, chosen: NDArray[np.int64], atoms_per_batch: int = 1500
) -> Iterator[tuple[Batch, Prediction]]:
    """Predict ``chosen`` structures in batches of about ``atoms_per_batch`` atoms, in order."""
    sizes = batcher.n_atoms.cpu().numpy()[chosen]
    part = np.cumsum(sizes) // atoms_per_batch
    for index in np.split(chosen, np.flatnonzero(np.diff(part)) + 1):
        batch = batcher(index)
        prediction = model(batch, differentiable=False)
        yield batch, Prediction(*(value.detach() for value in prediction))
