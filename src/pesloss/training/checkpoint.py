"""Unfinished trainings on disk: whole and their own, or void."""

import hashlib
import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from pesloss.job.errors import PeslossError
from pesloss.job.files import written_whole

MAGIC = b"pesloss checkpoint 3\n"


def packed(state: Any) -> bytes:
    """Return what ``torch.save`` writes: the same bytes for the same state.

    Saved under a file's name, the archive would hold that name, which is another one every time.
    """
    content = io.BytesIO()
    torch.save(state, content)
    return content.getvalue()


@dataclass
class Progress:
    """Everything a checkpoint holds of a training beside weights and optimiser."""

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    loss_signal: list[pd.DataFrame] = field(default_factory=list)
    gradient_signal: list[pd.DataFrame] = field(default_factory=list)
    window: NDArray[np.float64] | None = None
    recent: list[tuple[float, float]] = field(default_factory=list)
    energy_loss: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved:
    """A training as it is kept: weights, moments, progress, and why it goes no further."""

    model: dict[str, Tensor]
    optimizer: dict[str, list[Tensor]]
    progress: Progress
    failure: str = ""


class _Void(Exception):
    """Why a checkpoint is of no use."""


@dataclass(frozen=True)
class Checkpoint:
    """Where unfinished trainings are kept, and the key of what they have in common.

    The file says first what it is: 64 hexadecimal digits of its key's SHA-256, 64 of its
    content's, 16 of the content's length. Nothing is unpacked that does not agree with them.
    """

    path: Path
    key: str
    every_seconds: float = 20.0
    say: Callable[[str], None] | None = None
    """Told why a checkpoint that lies there is not gone on from."""

    def save(self, trainings: Mapping[str, Saved]) -> None:
        """Write trainings by their names, whole or not at all."""
        content = packed(
            {
                name: {**vars(saved), "progress": _plain(saved.progress)}
                for name, saved in trainings.items()
            }
        )
        with written_whole(self.path) as scratch:
            scratch.write_bytes(b"".join((*self._head(content), content)))

    def load(self, untrained: Mapping[str, Saved]) -> dict[str, Saved]:
        """Read those of the named trainings that are there; none where it is void: say why.

        Parameters
        ----------
        untrained
            What each training is like at its start.

        Raises
        ------
        PeslossError
            When something that is not a file lies there.
        """
        if not self.path.exists():
            return {}
        if not self.path.is_file():
            raise PeslossError(f"{self.path}: not a file; remove it, the training is kept there")
        try:
            with self.path.open("rb") as handle:
                state = _unpacked(self._content(handle))
            return {n: _fitting(state[n], own) for n, own in untrained.items() if n in state}
        except (_Void, OSError) as why:
            if self.say:
                self.say(f"{self.path}: {why}; not gone on from, the training starts anew")
            return {}

    def _head(self, content: bytes) -> tuple[bytes, bytes, bytes, bytes]:
        key, digest = (hashlib.sha256(text).hexdigest() for text in (self.key.encode(), content))
        return MAGIC, key.encode(), digest.encode(), f"{len(content):016x}".encode()

    def _content(self, handle: BinaryIO) -> bytes:
        magic, own, _, _ = self._head(b"")
        head = [handle.read(length) for length in (len(magic), 64, 64, 16)]
        if head[0] != magic:
            raise _Void("not a checkpoint of this version")
        if head[1] != own:
            raise _Void("the checkpoint of another training, of other code or data, or damaged")
        try:
            length = int(head[3], 16)
        except ValueError:
            raise _Void("damaged, its length is no number") from None
        if self.path.stat().st_size != sum(map(len, head)) + length:
            raise _Void("truncated or longer than it was written")
        content = handle.read(length)
        if self._head(content)[2] != head[2]:
            raise _Void("damaged, its content is not what its digest says")
        return content


def _unpacked(content: bytes) -> dict[str, Any]:
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile,
            pickle.UnpicklingError) as error:  # fmt: skip
        raise _Void(f"cannot be unpacked ({type(error).__name__})") from None
    if not isinstance(state, dict):
        raise _Void("not the state of a training")
    return state


def _fitting(state: Any, untrained: Saved) -> Saved:
    """Return a training, when all of it fits: a half-restored one would be neither."""
    try:
        found = Saved(**{**state, "progress": _progress(state["progress"])})
        fits = _alike(found.model, untrained.model) and all(
            _alike(dict(enumerate(found.optimizer[name])), dict(enumerate(own)))
            for name, own in untrained.optimizer.items()
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _Void("not the state of a training") from None
    if not fits:
        raise _Void("its weights are not those of this model")
    return found


def _alike(found: dict[Any, Tensor], own: dict[Any, Tensor]) -> bool:
    return found.keys() == own.keys() and all(
        (found[name].shape, found[name].dtype) == (value.shape, value.dtype)
        for name, value in own.items()
    )


def _plain(progress: Progress) -> dict[str, Any]:
    window = None if progress.window is None else torch.from_numpy(progress.window.copy())
    tables = (progress.loss_signal, progress.gradient_signal)
    loss_signal, gradient = ([t.to_dict("list") for t in part] for part in tables)
    return {
        **vars(progress),
        "window": window,
        "loss_signal": loss_signal,
        "gradient_signal": gradient,
    }


def _progress(plain: dict[str, Any]) -> Progress:
    window = None if plain["window"] is None else plain["window"].numpy()
    tables = {k: [pd.DataFrame(t) for t in plain[k]] for k in ("loss_signal", "gradient_signal")}
    return Progress(**{**plain, **tables, "window": window})
