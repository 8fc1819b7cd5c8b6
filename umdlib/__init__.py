"""What an imaging modality does to a segmentation model, shown on paired subjects."""

__version__ = "0.1.0"
