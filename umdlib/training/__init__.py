"""Training: networks made by this project, from paired subjects to released weights."""
