"""Trainers within nnU-Net: its own network, SegResNet, SwinUNETR and STU-Net.

Without the plans' entry ``umdlib`` they train as nnU-Net does (1000 epochs); with it, as the recipe
in it says. Everything else (loss, sampling, augmentation, checkpoints) is nnU-Net's.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from umdlib.files import replaced

CUDA = torch.device("cuda")
LOG = "log.tsv"
COLUMNS = ("epoch", "train_loss", "val_loss", "pseudo_dice", "learning_rate", "cpu_s", "wall_s")


def settings_of(configuration_manager) -> dict:
    """The recipe in a configuration; empty where it has none."""
    return configuration_manager.configuration.get("umdlib", {})


class NnUNetTrainer(nnUNetTrainer):
    """nnU-Net's trainer, with the length, rate, rotation and mirroring of a recipe."""

    def __init__(self, plans, configuration, fold, dataset_json, device=CUDA):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.recipe = settings_of(self.configuration_manager)
        self.small = self.recipe.get("name", "full") != "full"
        if self.recipe:
            self.num_epochs = self.recipe["epochs"]
            self.num_iterations_per_epoch = self.recipe["iterations"]
            self.initial_lr = self.recipe["learning_rate"]
        if self.small:
            self.num_val_iterations_per_epoch = 1
            self.save_every = max(1, self.num_epochs // 10)
        self.logger.plot_progress_png = lambda folder: None  # the log has the losses

    def configure_optimizers(self):
        """AdamW where the training is short: SGD with momentum 0.99 needs thousands of steps."""
        if not self.small:
            return super().configure_optimizers()
        optimizer = torch.optim.AdamW(
            self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay
        )
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):
        """Small rotations and no mirroring, where the recipe says so."""
        if not self.small:
            return super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size

        angle = np.deg2rad(self.recipe["rotation_deg"])
        rotation, patch = (-angle, angle), self.configuration_manager.patch_size
        axes = (0, 1, 2) if self.recipe["mirrored"] else None
        self.inference_allowed_mirroring_axes = axes
        first = get_patch_size(patch, rotation, rotation, rotation, (0.85, 1.25))
        return rotation, False, first, axes

    def on_train_epoch_start(self):
        """Set the weights of the structures for this epoch."""
        super().on_train_epoch_start()
        if self.recipe.get("balanced"):
            share = 1 - self.current_epoch / self.num_epochs
            weights = _class_weights(self.recipe["class_voxels"], share).to(self.device)
            getattr(self.loss, "loss", self.loss).ce.weight = weights

    def train_step(self, batch):
        """One iteration; on a CPU the network may compute in bfloat16, the loss in float32."""
        if self.device.type != "cpu" or self.recipe.get("precision") != "bfloat16":
            return super().train_step(batch)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = self.network(batch["data"])
        output = [o.float() for o in output] if isinstance(output, list | tuple) else output.float()
        loss = self.loss(output, batch["target"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
        self.optimizer.step()
        return {"loss": loss.detach().cpu().numpy()}

    def validation_step(self, batch):
        """In bfloat16 where the training is."""
        if self.device.type != "cpu" or self.recipe.get("precision") != "bfloat16":
            return super().validation_step(batch)
        network = self.network
        self.network = lambda data: _in_bfloat16(network, data)
        try:
            return super().validation_step(batch)
        finally:
            self.network = network

    def on_epoch_start(self):
        """Start the clocks."""
        super().on_epoch_start()
        self.started = time.process_time(), time.perf_counter()

    def on_epoch_end(self):
        """Write the epoch's line of the log, then what nnU-Net does."""
        cpu, wall = (
            now - then
            for now, then in zip((time.process_time(), time.perf_counter()), self.started, strict=True)
        )
        values = [
            self.logger.get_value(k, step=-1) for k in ("train_losses", "val_losses", "mean_fg_dice", "lrs")
        ]
        _write_line(Path(self.output_folder) / LOG, [self.current_epoch, *values, cpu, wall])
        super().on_epoch_end()

    def save_checkpoint(self, filename):
        """Atomically: a killed training never leaves half a checkpoint."""
        part = f"{filename}.part"
        super().save_checkpoint(part)
        if self.local_rank == 0 and not self.disable_checkpointing:
            os.replace(part, filename)

    def plot_network_architecture(self):
        """Nothing: it needs a program that is not here."""

    def _save_debug_information(self):
        """Nothing: it would keep the machine's name."""


def _in_bfloat16(network, data):
    """Outputs of a network that computes in bfloat16, as float32."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(data)
    return [o.float() for o in output] if isinstance(output, list | tuple) else output.float()


def _class_weights(voxels: list[int], share: float) -> torch.Tensor:
    """(background / structure voxels)^0.5, at most 30, to the power `share`; one for the background.

    Examples
    --------
    >>> _class_weights([900, 100, 0], 1.0).tolist(), _class_weights([900, 100, 0], 0.0).tolist()
    ([1.0, 3.0, 30.0], [1.0, 1.0, 1.0])
    """
    counts = np.maximum(np.asarray(voxels, float), 1e-9)
    weights = np.minimum(np.sqrt(counts[0] / counts), 30.0) ** share
    return torch.as_tensor(np.maximum(weights, 1.0), dtype=torch.float32)


def _write_line(path: Path, values: list) -> None:
    """Put an epoch's line in the log; lines of this and later epochs, of a killed run, go."""
    lines = path.read_text("utf-8").splitlines()[1:] if path.is_file() else []
    lines = [line for line in lines if int(line.split("\t")[0]) < values[0]]
    lines.append("\t".join([str(values[0]), *(f"{float(v):.6g}" for v in values[1:])]))
    with replaced(path) as part:
        part.write_text("\n".join(["\t".join(COLUMNS), *lines]) + "\n", "utf-8")


class _Flat(NnUNetTrainer):
    """A trainer of a network of `umdlib.networks.specialists`, which has one output."""

    network_name = ""

    def __init__(self, plans, configuration, fold, dataset_json, device=CUDA):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = False

    def set_deep_supervision_enabled(self, enabled):
        """Nothing: there is none."""

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager,
        configuration_manager,
        num_input_channels,
        num_output_channels,
        enable_deep_supervision=True,
    ):
        """The network of the configuration."""
        from umdlib.networks import specialists

        build = getattr(specialists, cls.network_name)
        return build(num_input_channels, num_output_channels, small=_small(configuration_manager))


class SegResNetTrainer(_Flat):
    """MONAI's SegResNet: 18.8 M parameters at full size."""

    network_name = "segresnet"


class SwinUNETRTrainer(_Flat):
    """MONAI's SwinUNETR: 62.2 M parameters at full size; patches from 64 voxels."""

    network_name = "swinunetr"


class STUNetTrainer(_Flat):
    """MedIM's STU-Net-S: 14.6 M parameters at full size."""

    network_name = "stunet"


def _small(configuration_manager) -> bool:
    """Whether a configuration is not at full size."""
    return settings_of(configuration_manager).get("name", "full") != "full"
