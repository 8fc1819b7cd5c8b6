"""Networks from their cards."""

from __future__ import annotations

from torch import nn

from umdlib.networks.clicknet import ClickNet
from umdlib.networks.inputs import IN_CHANNELS


def parameters(net: nn.Module) -> int:
    """Number of trained values."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def build(architecture: dict) -> nn.Module:
    """The network of a card, with random weights: a `ClickNet` or a `SamMed3DSmall`."""
    if architecture.get("network") == "SamMed3DSmall":
        from umdlib.networks.sam_med3d import SamMed3DSmall  # MONAI, whose import takes seconds

        return SamMed3DSmall(
            tuple(architecture["widths"]),
            heads=architecture["heads"],
            depth=architecture["depth"],
            size=architecture["size"],
        )
    return ClickNet(
        tuple(architecture["widths"]),
        heads=architecture["heads"],
        depth=architecture["depth"],
        channels=architecture.get("channels", IN_CHANNELS),
    )
