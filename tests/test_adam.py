"""Adam against torch's own, bit for bit, and what a training does not import."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import RUN, RunTiny, Tiny, files_in
from torch import Tensor

from pesloss.job.files import read_json
from pesloss.training.adam import Adam

SHAPES = ((3, 4), (5,), ())


def weights() -> list[Tensor]:
    rng = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=rng).requires_grad_() for shape in SHAPES]


def gradients(step: int) -> list[Tensor]:
    rng = torch.Generator().manual_seed(10 + step)
    return [torch.randn(shape, generator=rng) for shape in SHAPES]


def rate(step: int) -> float:
    return 0.01 / (1 + step)


@pytest.mark.parametrize("fused", [True, False])
def test_weights_are_those_of_torchs_own_adam(fused: bool) -> None:
    own, other = weights(), weights()
    mine, theirs = Adam(own, fused=fused), torch.optim.Adam(other, fused=fused)
    for step in range(50):
        mine.zero_grad()
        theirs.zero_grad()
        for i, gradient in enumerate(gradients(step)):
            if i == 1 and step % 3 == 0:
                continue  # no gradient: the weight stays, its steps are not counted
            own[i].grad, other[i].grad = gradient.clone(), gradient.clone()
        theirs.param_groups[0]["lr"] = rate(step)
        mine.step(rate(step))
        theirs.step()
    assert all(torch.equal(*pair) for pair in zip(own, other, strict=True))
    assert not any(torch.equal(*pair) for pair in zip(own, weights(), strict=True))


def test_from_a_saved_state_it_goes_on_to_the_same_bits() -> None:
    def trained(n_before: int) -> list[Tensor]:
        moved = weights()
        optimizer = Adam(moved)
        for step in range(8):
            if step == n_before:
                state = {k: [t.clone() for t in v] for k, v in optimizer.state_dict().items()}
                optimizer = Adam(moved)
                optimizer.load_state_dict(state)
            for weight, gradient in zip(moved, gradients(step), strict=True):
                weight.grad = gradient
            optimizer.step(rate(step))
        return moved

    assert all(torch.equal(*pair) for pair in zip(trained(3), trained(99), strict=True))


ALONE = """
import sys
from pathlib import Path
from conftest import MODEL, RUN, SPEC, files_in
from pesloss.training.inputs import Inputs
from pesloss.training.job import train_run
folder = Path(sys.argv[1])
inputs = Inputs(*(folder / name for name in ("graphs.npz", "splits.csv", "statistics.json")))
train_run(RUN, inputs, MODEL, SPEC, files_in(folder), folder / "checkpoint.pt")
print([name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules])
"""


def test_a_training_in_another_process_has_the_same_bytes_and_does_not_import_the_compiler(
    tiny: Tiny, run_tiny: RunTiny, tmp_path: Path
) -> None:
    folder = tmp_path / "a folder of another name" / RUN.folder
    tiny.write(folder)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(folder)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["[]"], done.stderr
    here, there = run_tiny("here"), files_in(folder)
    for one, other in zip(here.trained, there.trained, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    records = [read_json(files.record) for files in (here, there)]
    for key in ("seconds", "group", "peak_memory_mib", "repeat_with"):
        assert all(record.pop(key) for record in records)
    assert records[0] == records[1]
