"""Training inside nnU-Net: raw data, plan, training, release."""
