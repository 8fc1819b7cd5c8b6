"""What a clinician reads off a mask: volume, SUV and HU."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "masks": ["QUANTITIES", "Reading", "quantify"],
        "table": ["QUANTITIES_VERSION", "read_quantities", "write_quantities"],
    },
)
