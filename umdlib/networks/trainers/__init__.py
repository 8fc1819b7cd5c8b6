"""nnU-Net trainers of the specialists: also a folder for nnU-Net's `nnUNet_extTrainer`."""
