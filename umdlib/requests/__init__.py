"""Requests: one image, a prompt, a mask on the image's own grid; no reference anywhere."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={"given": ["prompts_of"], "opening": ["Opening"], "answer": ["Answer", "Request", "answer"]},
)
