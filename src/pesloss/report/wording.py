"""What losses, datasets, models, claims and statistics are called in figures and reports."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pesloss.job.code_digest import constants
from pesloss.spec.run import BASE

PACKAGE = Path(__file__).parents[1]
LAST = 1000  # place of what names none


def titles(folder: str) -> dict[str, str]:
    """Return the ``TITLE`` of every file of a folder of the package, by ``PLACE`` and name.

    Files without a title are called by their name.
    """
    found = {path.stem: constants(path) for path in (PACKAGE / folder).glob("[!_]*.py")}
    order = sorted(found, key=lambda name: (found[name].get("PLACE", LAST), name))
    return {name: str(found[name].get("TITLE", name.replace("_", " "))) for name in order}


LOSSES = titles("losses/energy")
STATISTICS = titles("claims/measures")

DATASETS = {
    "xtb_fixed": "xTB clusters, one amplitude",
    "xtb_varied": "xTB clusters, varied",
    "xtb_small": "xTB clusters, small",
    "xtb_large": "xTB clusters, large",
    "si_sw_fixed": "silicon, fixed",
    "si_sw": "silicon, varied",
    "si_sw_small": "silicon, small cells",
    "si_sw_large": "silicon, large cells",
    "emt_alloys": "metal alloys",
    "emt_cupdagau": "Cu-Pd-Ag-Au alloys",
    "si_dft": "silicon, DFT",
    "si_dft_one_phase": "silicon, DFT, crystals",
    "si_dft_supercells": "silicon, DFT, supercells",
    "nbmotaw_dft": "Nb-Mo-Ta-W, DFT",
    "tio2_dft": "titanium oxides, DFT",
    "mptrj_dft": "Materials Project, DFT",
    "s66_dft": "molecular dimers, DFT",
    "labels": "drawn, exponent ½",
    "labels_tau": "drawn, exponent 1",
    "labels_kappa": "drawn, exponent 0",
    "labels_shuffled": "drawn, sizes shuffled",
    "labels_crossing": "drawn, exponent ½ to 1",
    "labels_correlation": "drawn, correlated",
    "labels_one_size": "drawn, one size",
    "labels_permuted": "drawn, compositions permuted",
    "labels_equal_spread": "drawn, equal spreads",
    "supercells": "supercells",
    "several": "several data sets",
}

MODELS = {"schnet": "SchNet", "painn": "PaiNN"}

CLAIMS = {
    "C1": "E′ is unit normal",
    "C2": "label deviations grow as √N",
    "C3": "standardized metrics do not depend on size",
    "C4": "nor on composition",
    "C5": "raw and 1/N losses skew the learning signal, the standardized loss does not",
    "C6": "the same by composition",
    "C7": "model errors grow as √N",
    "C8": "raw and 1/N losses favour some sizes",
    "C9": "and some compositions",
    "C10": "F′ is unit normal for each species",
    "C11": "the energy to force weight transfers",
    "C12": "units do not matter",
    "Q1": "what single atoms, and what they share, explain of an exponent",
    "Q2": "how gradients grow with size",
    "Q3": "which weights an exactly fitted linear model needs",
    "Q4": "how far apart the losses are",
    "Q5": "whether a small model must choose whom it serves more than a large one",
}
"""The claims of science.md §6, and questions beyond them that no claim stands or falls with."""
TWELVE = tuple(name for name in CLAIMS if name.startswith("C"))

_OPTIONS = {
    "estimator=gamma": "(gamma)",
    "estimator=line": "(line)",
    "moment=mean": "mean",
    "moment=variance": "variance",
    "moment=tail": "tail",
    "metric=mse": "MSE",
    "metric=mae": "MAE",
    "metric=huber": "Huber",
    "by=size_group": "by size",
    "by=composition_group": "by composition",
    "by=phase": "by phase",
    "of=forces": "of forces",
    "of=worst": "(worst)",
    "of=energy": "(energies)",
    "of=energy_per_atom": "(energies per atom)",
    "of=score": "(energies and forces)",
    "weights=all": "at all weights",
    "against=raw": "against raw",
    "against=per_atom": "against 1/N",
    "of=mean": "(mean)",
    "outputs=standardized": "(outputs standardized)",
    "outputs=plain": "(outputs plain)",
    "units=one": "(eV and Å)",
    "units=several": "(any unit)",
    "against=standardized": "beyond the standardized loss's",
    "model=independent": "independent atoms",
    "model=short_range": "neighbours correlated",
    "model=shared": "part shared by all atoms",
    "at=start": "before training",
    "at=end": "after training",
    "part=bias": "bias",
    "part=spread": "spread",
    "of=variance": "variance ÷ formula",
    "of=exponent": "exponent − formula",
    "against=residuals": "− 2α of the errors",
    "against=nothing": "",
    "score=variance": "(variance)",
    "score=error": "(test error)",
    **{f"loss={name}": "" for name in LOSSES},
}

PREDICTIONS = {
    "independent": "independent atoms",
    "short_range": "neighbours correlated",
    "shared": "part shared by all atoms",
}
PHASES = {"beta_tin": "β-tin"}


def loss(name: str) -> str:
    """Return the label of a loss; ``energy+forces`` names both terms."""
    if "+" in name:
        energy, forces = name.split("+", 1)
        return f"{loss(energy)}, forces {loss(forces)}"
    return LOSSES.get(name, name.replace("_", " "))


def dataset(name: str, model: str = "") -> str:
    """Return the label of a dataset, with the model where it is not the usual one."""
    label = DATASETS.get(name, name.replace("_", " "))
    return label if model in ("", "schnet") else f"{label}, {MODELS.get(model, model)}"


def trained(model: str, variant: str) -> str:
    """Return the name of a model, of another length of training too; the usual one unchanged."""
    if not variant.startswith("n_steps="):
        return model
    steps = setting(variant)
    return steps if model == "schnet" else f"{MODELS.get(model, model)}, {steps}"


def setting(variant: str) -> str:
    """Return changed settings in words: ``n_steps=3000`` as ``3,000 steps``; empty for none."""
    return "" if variant in ("", BASE) else ", ".join(map(_setting, variant.split(",")))


def _setting(change: str) -> str:
    key, _, value = change.partition("=")
    steps = key == "n_steps"
    return f"{int(value):,} steps" if steps else change.replace("_", " ").replace("=", " ")


def statistic(name: str, options: str = "") -> str:
    """Return a statistic in words, with its options (``key=value`` separated by spaces)."""
    words = [STATISTICS.get(name, name.replace("_", " "))]
    words += [_OPTIONS.get(option, option) for option in options.split()]
    return " ".join(word for word in words if word)


def phase(name: str) -> str:
    """Return the label of a phase."""
    return PHASES.get(name, name.replace("_", " "))


def claim(name: str) -> str:
    """Return a claim's number and sentence."""
    return f"{name} {CLAIMS[name]}" if name in CLAIMS else name


def claim_number(name: str) -> int:
    """Return a number that sorts C10 after C9, and questions after claims."""
    after = 100 if name.startswith("Q") else 0
    return after + int(name[1:]) if name[1:].isdigit() else 999


def ordered(names: Iterable[str], known: Mapping[str, Any]) -> list[str]:
    """Return distinct names: those in ``known`` in its order, then the others by name."""
    order = {name: place for place, name in enumerate(known)}
    return sorted(set(names), key=lambda name: (order.get(name, len(order)), name))
