"""What an imaging modality does to a segmentation model, shown on paired subjects."""

import lazy_loader as lazy

from umdlib import moved

moved.announce()

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "version": ["__version__"],
        "errors": ["InputError"],
        "images.volume": ["LabelMap", "Volume", "read_label_map", "read_volume", "write_mask"],
        "cohort.manifest": ["Cohort", "read_cohort", "write_manifest"],
        "cohort.checks": ["check_cohort"],
        "synthetic.cohort": ["synthesise"],
        "prompts.prompt": ["Box", "Click", "Prompt"],
        "metrics.masks": ["assd", "dice", "hausdorff_95", "surface_dice"],
        "segmenters.contract": ["Segmenter"],
        "segmenters.registry": ["list_segmenters", "register"],
        "segmenters.calls": ["load_segmenter"],
        "evaluation.run": ["score_cohort"],
        "scores.table": ["read_scores"],
        "statistics.comparison": ["compare"],
        "viewer.live": ["view"],
    },
)
