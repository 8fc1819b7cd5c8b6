"""Segmenters: the contract, the registry, and one adapter per system."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "contract": ["Segment", "Segmenter", "Weights"],
        "registry": [
            "Availability",
            "BUILT_IN",
            "KINDS",
            "OWN",
            "availability",
            "check_prompt",
            "checked",
            "get",
            "identity",
            "kinds_of",
            "load",
            "names",
            "out_of_memory",
            "register",
            "table",
            "untrained",
        ],
    },
)
