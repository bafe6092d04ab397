"""Where trainings run: on the processor, or on a GPU where there is one.

The device is no setting of a run, but bits differ between devices: only runs trained on the same
kind of device may be compared.
"""

import torch

from pesloss.spec.settings import Device

CPU = torch.device("cpu")


def choose(choice: Device) -> torch.device:
    """Return the processor, or for ``auto`` the first GPU that CUDA sees where there is one."""
    return torch.device("cuda", 0) if choice == "auto" and torch.cuda.is_available() else CPU


def described(device: torch.device) -> str:
    """Return the kind of a device: ``cpu``, or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
