"""Networks of the specialists beside nnU-Net's own: at full size, and at one that a CPU trains."""

from __future__ import annotations

from umdlib.errors import InputError


def segresnet(channels: int, heads: int, *, small: bool = False):
    """MONAI's SegResNet: 18.8 M parameters (32 filters), small 0.7 M (8 filters).

    Parameters
    ----------
    channels, heads
        Inputs; outputs, background included.
    small
        Eight filters and two blocks in the deepest stage.

    Returns
    -------
    torch.nn.Module
        (N, channels, K, J, I) to (N, heads, K, J, I); sizes are multiples of 8.
    """
    from monai.networks.nets import SegResNet

    filters, blocks = (8, (1, 2, 2, 2)) if small else (32, (1, 2, 2, 4))
    return SegResNet(in_channels=channels, out_channels=heads, init_filters=filters, blocks_down=blocks)


def swinunetr(channels: int, heads: int, *, small: bool = False):
    """MONAI's SwinUNETR: 62.2 M parameters (feature size 48), small 0.7 M (12, three stages).

    Sizes are multiples of 32; small: of 16, as the fourth stage is left out.
    """
    if small:
        return _three_stages()(channels, heads)
    from monai.networks.nets import SwinUNETR

    return SwinUNETR(in_channels=channels, out_channels=heads, feature_size=48)


def stunet(channels: int, heads: int, *, small: bool = False):
    """MedIM's STU-Net-S: 14.6 M parameters (six stages), small 0.9 M (four stages)."""
    from medim.models.stu_net import STUNet

    dims = [16, 32, 64, 64] if small else [16, 32, 64, 128, 256, 256]
    pools = len(dims) - 1
    return STUNet(
        channels,
        heads,
        depth=[1] * len(dims),
        dims=dims,
        pool_op_kernel_sizes=[[2, 2, 2]] * pools,
        conv_kernel_sizes=[[3, 3, 3]] * len(dims),
        enable_deep_supervision=False,
    )


def _three_stages():
    """SwinUNETR without its fourth stage, made late so that importing this file imports no torch."""
    from monai.networks.nets import SwinUNETR
    from torch import nn

    class SwinUNETR3(SwinUNETR):
        """Three stages of windows, feature size 12; the deepest features go to the decoder as are."""

        def __init__(self, channels: int, heads: int) -> None:
            super().__init__(in_channels=channels, out_channels=heads, feature_size=12)
            self.encoder10 = self.decoder5 = nn.Identity()
            self.swinViT.layers4 = nn.ModuleList([nn.Identity()])

        def _check_input_size(self, spatial_shape) -> None:
            if any(n % 16 for n in spatial_shape):
                raise ValueError(f"Sizes {tuple(spatial_shape)} must be multiples of 16.")

        def forward(self, x_in):
            self._check_input_size(x_in.shape[2:])
            first, second, third, fourth, _ = self.swinViT(x_in, self.normalize)
            out = self.decoder4(fourth, self.encoder4(third))
            out = self.decoder3(out, self.encoder3(second))
            out = self.decoder2(out, self.encoder2(first))
            return self.out(self.decoder1(out, self.encoder1(x_in)))

    return SwinUNETR3


# name -> function; nnU-Net's own network is built from its plans
BUILD = {"segresnet": segresnet, "swinunetr": swinunetr, "stunet": stunet}

TITLES = {"nnunet": "nnU-Net v2", "segresnet": "SegResNet", "swinunetr": "SwinUNETR", "stunet": "STU-Net"}

# Networks and the trainer of each in `umdlib/networks/trainers`.
TRAINERS: dict[str, str] = {
    "nnunet": "NnUNetTrainer",
    "segresnet": "SegResNetTrainer",
    "swinunetr": "SwinUNETRTrainer",
    "stunet": "STUNetTrainer",
}


def name_of(network: str, recipe: str, session: str, modality: str) -> str:
    """Name of a released specialist.

    Examples
    --------
    >>> name_of("nnunet", "small", "petct", "PET")
    'nnunet_small_petct_pet'
    """
    return f"{network}_{recipe}_{session}_{modality.lower()}"


def unique_tensors(state: dict) -> dict:
    """Each trained tensor of a state once: nnU-Net's networks name most of theirs twice or more.

    Tables of indices, which a network makes itself, are left out.
    """
    seen, kept = set(), {}
    for key, value in state.items():
        if not value.is_floating_point():
            continue
        place = value.data_ptr(), tuple(value.shape)
        if place not in seen:
            seen.add(place)
            kept[key] = value
    return kept


def every_name(net, state: dict) -> dict:
    """The state with all the names that `net` has for its tensors.

    Raises
    ------
    InputError
        A tensor of `net` that `state` has under none of its names.
    """
    own = net.state_dict(keep_vars=True)
    known = {own[k].data_ptr(): v for k, v in state.items() if k in own}
    known |= {v.data_ptr(): v for v in own.values() if not v.is_floating_point()}
    absent = [k for k, v in own.items() if v.data_ptr() not in known and k not in state]
    if absent:
        raise InputError(f"Weights lack {absent[0]} of the network ({len(absent)} in all).")
    return {k: state[k] if k in state else known[v.data_ptr()] for k, v in own.items()}
