"""What an imaging modality does to a segmentation model, shown on paired subjects."""

from umdlib.version import __version__

__all__ = ["__version__"]


def __getattr__(name: str):
    # late, so that `import umdlib` stays light
    if name == "view":
        from umdlib.viewer.live import view

        return view
    raise AttributeError(f"module 'umdlib' has no attribute '{name}'")
