"""Losses that may not differ: the same one under another name, and one times a constant."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import RUN, Tiny, in_torch
from torch import Tensor

from pesloss import losses
from pesloss.__main__ import main
from pesloss.evaluation.score import comparable
from pesloss.losses.controls import is_control
from pesloss.report import drawing
from pesloss.spec.run import Run
from pesloss.training import learners
from pesloss.training.adam import Adam
from pesloss.training.loop import Training, weights_digest

CONTROLS = [name for name in losses.names("energy") if is_control(name)]
Make = Callable[..., Training]


def trained(make: Make, loss: str = "raw", **options: Any) -> Training:
    training = make(Run("tiny", "schnet", loss, "raw"), **options)
    training.run()
    return training


def weights(training: Training) -> Tensor:
    return torch.cat([p.detach().flatten() for p in training.model.parameters()])


def distance(one: Training, other: Training, start: Training) -> float:
    """Difference of weights as a share of how far the training moved them."""
    moved = (weights(one) - weights(start)).norm()
    return float((weights(one) - weights(other)).norm() / moved)


def test_the_same_loss_under_another_name_is_the_same_training(make_training: Make) -> None:
    assert CONTROLS == ["control_factor", "control_same"]
    one, other = (trained(make_training, loss) for loss in ("raw", "control_same"))
    assert weights_digest(one.model) == weights_digest(other.model)
    assert weights_digest(trained(make_training, "per_atom").model) != weights_digest(one.model)


def test_a_constant_factor_on_one_loss_is_rounding(make_training: Make) -> None:
    start = make_training(Run("tiny", "schnet", "raw", "raw"))
    raw, factor, other = (
        trained(make_training, loss) for loss in ("raw", "control_factor", "per_atom")
    )
    assert distance(raw, factor, start) < 1e-3
    assert distance(raw, other, start) > 1e-2


def times(training: Training, factor: float) -> Training:
    """Multiply the whole loss of a training by a constant."""
    assert training.objective.metric_name == "mse"
    for scale in (training.objective.energy_scale, training.objective.force_scale):
        scale /= math.sqrt(factor)
    return training


class Descent(Adam):
    """Plain gradient descent."""

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for weight in self.weights:
            if weight.grad is not None:
                weight -= rate * weight.grad


@pytest.mark.parametrize("factor", [0.1, 100.0])
def test_a_constant_on_the_whole_loss_changes_nothing_under_adam(
    make_training: Make, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    """Adam divides by the root mean square of the gradient, but for an eps that is not scaled."""

    def moved(**options: Any) -> float:
        start, one, other = (make_training(RUN, **options) for _ in range(3))
        one.run()
        times(other, factor).run()
        return distance(one, other, start)

    assert moved() < 1e-3
    in_torch(monkeypatch)
    monkeypatch.setattr(learners, "Adam", Descent)
    assert moved(learning_rate=1e-8) > 0.5


def test_controls_are_no_losses_to_look_at_or_to_train_with(tiny: Tiny) -> None:
    table = pd.DataFrame({"energy_loss": ["raw", *CONTROLS, "per_atom"]})
    assert drawing.losses_in(table) == ["raw", "per_atom"]
    runs = table.assign(variant="base", metric="mse", force_loss="raw")
    assert list(comparable(runs).energy_loss) == ["raw", "per_atom"]
    assert losses.names("energy")[-2:] == CONTROLS
    with pytest.raises(SystemExit):
        main(["weights", "mace", "a.xyz", "b.xyz", "--loss", CONTROLS[0]])


def test_a_new_loss_keeps_its_colour_beside_the_controls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "LOSS_FILES", tmp_path)
    (tmp_path / "my_loss.py").touch()
    alone = drawing.colour("my_loss")
    (tmp_path / "control_same.py").touch()
    assert drawing.colour("my_loss") == alone
