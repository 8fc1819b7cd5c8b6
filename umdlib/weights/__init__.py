"""Weight files: where they lie, what they must be, how they are read."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "reading": [
            "as_published",
            "converted",
            "download",
            "fill",
            "folder",
            "known_hash",
            "load_strict",
            "missing",
            "path_of",
            "plain_numbers",
            "read_state",
            "sha256",
            "shown",
            "verified",
            "vet",
        ]
    },
)
