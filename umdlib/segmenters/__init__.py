"""Segmenters: the contract, the registry, and one adapter per system."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["registry"],
    submod_attrs={
        "contract": ["Segment", "Segmenter", "Weights"],
        "registry": ["BUILT_IN", "KINDS", "OWN", "get", "names", "register"],
        "calls": [
            "Opened",
            "Unavailable",
            "availability",
            "check_device",
            "checked",
            "load",
            "open",
            "out_of_memory",
        ],
        "identity": ["identity_of"],
    },
)
