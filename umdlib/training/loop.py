"""One step of the training of a promptable network: rounds of clicks, loss, update. Imports torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from umdlib.errors import InputError
from umdlib.training import clicks as drawing
from umdlib.training.bodies import Body
from umdlib.training.patches import Patch, draw_patch

LAST = torch.channels_last_3d  # a tenth faster on a CPU; the values are the same but for rounding


class Rounds(nn.Module):
    """A network with the rounds of clicks around it: from a patch to its loss.

    A module, so that DistributedDataParallel sees one forward pass per update.
    """

    def __init__(self, net: nn.Module, settings) -> None:
        super().__init__()
        self.net, self._settings = net, settings

    def forward(self, patches: Sequence[Patch], rng: np.random.Generator, device: str) -> tuple[Tensor, dict]:
        """Mean loss over the graded rounds, and what is logged.

        Parameters
        ----------
        patches
            One with any number of targets, or several with one each.
        """
        s = self._settings
        masks = np.concatenate([p.targets for p in patches])
        image = torch.from_numpy(np.stack([p.image for p in patches])).to(device)
        targets = torch.from_numpy(masks)[:, None].to(device)
        known = self.net.encode(image)
        if s.centred:
            given = [drawing.click_at(p.middle) for p in patches]
        else:
            given = [drawing.first_click(t, rng) for t in masks]
        previous = torch.zeros_like(targets, dtype=torch.float32)
        plan = drawing.totals(rng, most=s.clicks, rounds=s.rounds)
        graded = drawing.graded(rng, len(plan), s.graded)
        losses, dice = [], []
        for number, total in enumerate(plan):
            points = [torch.from_numpy(c).to(device, torch.float32) for c in given]
            with torch.set_grad_enabled(torch.is_grad_enabled() and number in graded):
                logits = self.net.decode(known, points, previous)
                if number in graded:
                    losses.append(loss(logits, targets))
            found = logits.detach() > 0
            dice.append(float(overlap(found, targets).mean()))
            previous = found.float()
            if number + 1 < len(plan):
                now = found[:, 0].cpu().numpy()
                given = [
                    np.concatenate([c, drawing.error_clicks(t, m, plan[number + 1] - total, rng)])
                    for c, t, m in zip(given, masks, now, strict=True)
                ]
        return torch.stack(losses).mean(), {"dice_first": dice[0], "dice_last": dice[-1], "clicks": plan[-1]}


class Loop:
    """Network, optimiser and one update."""

    def __init__(self, net: nn.Module, settings, device: str) -> None:
        self.net, self._settings, self._device = net, settings, device
        self._rounds = parallel(Rounds(net, settings), device)
        self.optimiser = torch.optim.AdamW(
            net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )

    def step(self, bodies: Sequence[Body], rng: np.random.Generator, rate: float) -> dict:
        """Draw patches, run the rounds, update; returns what is logged."""
        s = self._settings
        patches = [
            draw_patch(
                bodies,
                s.trained_on,
                rng,
                size=s.patch,
                prompts=s.prompts,
                centred=s.centred,
                balanced=s.balanced,
            )
            for _ in range(s.batch)
        ]
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with mixed(s.precision, self._device):
            value, seen = self._rounds(patches, rng, self._device)
        if not bool(value.isfinite()):
            raise InputError(
                f"The loss is {float(value.detach())} on a {patches[0].modality} patch. Lower the learning rate "
                f"({s.learning_rate}) and start anew from the last checkpoint."
            )
        self.optimiser.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        return {"loss": float(value.detach()), **seen}


def loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice with squared predictions plus cross-entropy, each a mean over prompts.

    SegAnyPET: "Dice loss and cross-entropy loss with sigmoid activation and squared predictions".
    """
    wanted = targets.float()
    share = torch.sigmoid(logits)
    axes = (1, 2, 3, 4)
    both = (share * wanted).sum(axes)
    dice = 1 - (2 * both + 1) / ((share**2).sum(axes) + wanted.sum(axes) + 1)
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted)
    return dice.mean() + entropy


def overlap(found: Tensor, targets: Tensor) -> Tensor:
    """Dice of masks (P, 1, I, J, K); targets are never empty."""
    axes = (1, 2, 3, 4)
    return 2 * (found & targets).sum(axes) / (found.sum(axes) + targets.sum(axes))


def mixed(precision: str, device: str):
    """Autocast to bfloat16 where the settings say so; bfloat16 needs no scaling of the loss."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.partition(":")[0], dtype=torch.bfloat16)


def own_device(device: str) -> str:
    """The device of this process: under torchrun each has a GPU of its own.

    Examples
    --------
    >>> own_device("cpu")
    'cpu'
    """
    rank = os.environ.get("LOCAL_RANK")
    return f"cuda:{rank}" if device == "cuda" and rank is not None else device


def distributed() -> tuple[int, int]:
    """Rank and number of processes; joins the group when started by torchrun."""
    if "WORLD_SIZE" not in os.environ or not torch.distributed.is_available():
        return 0, 1
    if not torch.distributed.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        torch.distributed.init_process_group(backend)
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def parallel(module: nn.Module, device: str) -> nn.Module:
    """The module, or its copy whose gradients are averaged over the processes of torchrun."""
    _, world = distributed()
    if world == 1 and "WORLD_SIZE" not in os.environ:
        return module
    # the buckets of gradients are laid out plainly
    module = module.to(memory_format=torch.contiguous_format)
    ids = [torch.device(device)] if device.startswith("cuda") else None
    return nn.parallel.DistributedDataParallel(module, device_ids=ids)
