"""The chapter on lesions."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "pictures": ["found_by_clicks", "three_ways", "viewer"],
        "trial": [
            "clicked_organ",
            "lesion_markdown",
            "plant_lesions",
            "run_trial",
            "summary_markdown",
            "trial_words",
        ],
    },
)
