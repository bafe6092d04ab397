# mypy: ignore-errors
"""A training's device: the processor, a GPU, or in these tests one that is not there."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import RUN, RunTiny, Tiny, files_in, in_torch
from remote import REMOTE, Remote
from torch import Tensor, nn

from pesloss.job.files import read_json, read_table
from pesloss.model import devices, pair_kernels
from pesloss.spec.run import Run
from pesloss.training import learners, loop
from pesloss.training.adam import Adam
from pesloss.training.inputs import splits_of
from pesloss.training.job import RunFiles, prepare

TABLES = ("history", "loss_signal", "gradient_signal", "predictions")
ROUNDING = 1e-4  # a thousand times that of float32: a dozen steps add it up


def same_results(one: RunFiles, other: RunFiles) -> bool:
    return all(
        getattr(one, name).read_bytes() == getattr(other, name).read_bytes() for name in TABLES
    )


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over pairs and Adam as any device computes them."""
    monkeypatch.setattr(pair_kernels, "load", lambda dtype: None)
    in_torch(monkeypatch)
    monkeypatch.setattr(learners, "Adam", lambda weights, fused: Adam(weights, fused=False))
    monkeypatch.setattr(loop, "Adam", partial(Adam, fused=False))


def test_the_device_is_a_gpu_only_where_asked_for_and_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for there, expected in ((False, "cpu"), (True, "cuda:0")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert devices.choose("cpu") == torch.device("cpu")
        assert devices.choose("auto") == torch.device(expected)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    assert devices.described(devices.choose("auto")) == "GPU 0"
    assert devices.described(devices.CPU) == "cpu"


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_auto_gives_the_bits_of_the_processor(run_tiny: RunTiny) -> None:
    said: list[str] = []
    one, other = run_tiny("cpu", device="cpu"), run_tiny("auto", device="auto", say=said.append)
    assert same_results(one, other)
    records = [read_json(files.record) for files in (one, other)]
    assert records[0]["hashes"] == records[1]["hashes"]
    assert records[0]["device"] == records[0]["hashes"]["device"] == "cpu"
    assert [line.partition(";")[0] for line in said] == ["device: cpu"]


def test_the_pretended_device_refuses_what_a_gpu_refuses() -> None:
    with Remote():
        there = torch.as_tensor(np.arange(3.0), device=REMOTE)
        index = torch.as_tensor([0, 1])
        assert (there * torch.tensor(2.0)).sum().item() == 6
        assert there[index].cpu().numpy().tolist() == [0, 1]
        for wrong in (
            lambda: there + torch.ones(3, dtype=torch.float64),
            lambda: torch.ones(3)[there.long()],
            lambda: there.index_add(0, index, there[:2]),
            lambda: there.numpy(),
        ):
            with pytest.raises((RuntimeError, TypeError)):
                wrong()


def tensors_of(thing: Any) -> Iterator[Tensor]:
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, nn.Module):
        yield from thing.state_dict().values()
    elif isinstance(thing, tuple):
        for part in thing:
            yield from tensors_of(part)


@pytest.mark.parametrize("representation", ["schnet", "painn"])
def test_all_tensors_of_a_training_are_on_its_device(
    tiny: Tiny, tmp_path: Path, representation: str
) -> None:
    split = splits_of(tiny.graphs, tiny.write(tmp_path).splits)
    model = tiny.model.model_copy(update={"representation": representation})
    with Remote():
        training = prepare(
            RUN, tiny.graphs, split, tiny.statistics, model, tiny.spec, device=REMOTE
        )
        batch = training.batcher(split["train"][:3])
        prediction = training.model(batch)
        objective = training.objective
        terms = objective.energy_terms(batch, prediction), objective.force_terms(batch, prediction)
    for thing in (training.batcher, batch, objective, objective.labels):
        found = [tensor for part in vars(thing).values() for tensor in tensors_of(part)]
        assert found
        assert {tensor.device for tensor in found} == {REMOTE}
    for thing in (training.model, tuple(prediction), terms):
        assert {tensor.device for tensor in tensors_of(thing)} == {REMOTE}


@pytest.mark.usefixtures("plain_torch")
@pytest.mark.parametrize(
    ("representation", "run"),
    [
        ("schnet", replace(RUN, energy_loss="calibrated")),
        ("painn", replace(RUN, metric="huber", force_loss="raw")),
    ],
)
def test_a_run_on_another_device_ends_with_the_same_numbers(
    tiny: Tiny,
    run_tiny: RunTiny,
    monkeypatch: pytest.MonkeyPatch,
    representation: str,
    run: Run,
) -> None:
    model = tiny.model.model_copy(update={"representation": representation})
    data = replace(tiny, model=model)
    here = run_tiny("here", run, data)
    monkeypatch.setattr(devices, "choose", lambda choice: REMOTE)
    with Remote():
        there = run_tiny("there", run, data, device="auto")
    for name in TABLES[:-1]:
        one, other = (read_table(getattr(files, name)) for files in (here, there))
        pd.testing.assert_frame_equal(one, other, rtol=ROUNDING)
    found, expected = np.load(there.predictions), np.load(here.predictions)
    for name in ("energy", "forces", "local_energy"):
        scale = np.abs(expected[name]).max()
        assert np.allclose(found[name], expected[name], rtol=0, atol=ROUNDING * scale)
    records = [read_json(files.record) for files in (here, there)]
    assert [record.pop("device") for record in records] == ["cpu", REMOTE.type]
    assert [record["hashes"].pop("device") for record in records] == ["cpu", REMOTE.type]
    one, other = (record["hashes"] for record in records)
    assert {key for key in one if one[key] != other[key]} <= {"final_weights"}
    assert records[1]["sums_over_pairs"] == "torch"
    weights = torch.load(there.weights, weights_only=True)
    assert {value.device for value in weights.values()} == {devices.CPU}


@pytest.mark.parametrize(("device", "void"), [("cpu", False), ("some GPU", True)])
def test_a_checkpoint_of_another_device_is_void(
    run_tiny: RunTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, void: bool
) -> None:
    def stop(steps: range) -> Iterator[int]:
        yield from steps[:5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tiny("cut", watch=stop, checkpoint_seconds=0.0)
    assert not files_in(tmp_path / "cut").record.exists()
    monkeypatch.setattr(devices, "described", lambda place: device)
    left: list[int] = []

    def watch(steps: range) -> Iterator[int]:
        left.extend(steps)
        yield from steps

    run_tiny("cut", watch=watch)
    assert (left[0] == 0) == void
