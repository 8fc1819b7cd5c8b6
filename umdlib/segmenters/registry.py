"""The registry: every segmenter by name, what it needs, and how it is loaded.

A user's own is one record and one function::

    from umdlib.segmenters import Segmenter, register

    def load(device):
        def segment(image, prompt, previous=None):
            return image.data > 100          # boolean, on the image's grid
        return segment

    MINE = register(Segmenter("mine", "Mine", "Everything above 100.", load, frozenset({"click"})))

On the command line the same record is named ``my_module:MINE`` or ``path/to/my_file.py:MINE``.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from umdlib import labels
from umdlib.errors import InputError, unknown_name
from umdlib.segmenters.contract import Segmenter

# What a record may say that it takes.
KINDS = (
    "click",
    "negative_click",
    "slice_click",
    "box",
    "slice_box",
    "scribble",
    "lasso",
    "initial_mask",
    "class",
    "text",
)

# name -> where its record lies; imported on demand, so that listing imports nothing heavy
BUILT_IN: dict[str, str] = {
    "threshold": "umdlib.segmenters.systems.threshold:THRESHOLD",
    "region_growing": "umdlib.segmenters.systems.region_growing:REGION_GROWING",
    "lesion_contour": "umdlib.segmenters.systems.lesion_contour:LESION_CONTOUR",
    "clicknet_structural": "umdlib.segmenters.systems.clicknet:CLICKNET_STRUCTURAL",
    "clicknet_pet": "umdlib.segmenters.systems.clicknet:CLICKNET_PET",
    "clicknet_both": "umdlib.segmenters.systems.clicknet:CLICKNET_BOTH",
    "clicknet_balanced_structural": "umdlib.segmenters.systems.clicknet:CLICKNET_BALANCED_STRUCTURAL",
    "clicknet_balanced_pet": "umdlib.segmenters.systems.clicknet:CLICKNET_BALANCED_PET",
    "clicknet_balanced_both": "umdlib.segmenters.systems.clicknet:CLICKNET_BALANCED_BOTH",
    "clicknet_pair": "umdlib.segmenters.systems.clicknet:CLICKNET_PAIR",
    "clicknet_pair_alone": "umdlib.segmenters.systems.clicknet:CLICKNET_PAIR_ALONE",
    "sam_med3d_small_structural": "umdlib.segmenters.systems.sam_med3d_small:SAM_MED3D_SMALL_STRUCTURAL",
    "sam_med3d_small_pet": "umdlib.segmenters.systems.sam_med3d_small:SAM_MED3D_SMALL_PET",
    "sam_med3d_small_both": "umdlib.segmenters.systems.sam_med3d_small:SAM_MED3D_SMALL_BOTH",
    "litemedsam": "umdlib.segmenters.systems.litemedsam:LITEMEDSAM",
    "sam_med3d_turbo": "umdlib.segmenters.systems.sam_med3d:SAM_MED3D",
    "segvol": "umdlib.segmenters.external.worker:SEGVOL",
    "nninteractive": "umdlib.segmenters.systems.nninteractive:NNINTERACTIVE",
    "vista3d": "umdlib.segmenters.systems.vista3d:VISTA3D_CLASS",
    "vista3d_point": "umdlib.segmenters.systems.vista3d:VISTA3D_POINT",
    "nv_segment_ctmr": "umdlib.segmenters.systems.vista3d:NV_SEGMENT_CTMR",
    "sat_pro": "umdlib.segmenters.external.worker:SAT",
    "voxtell": "umdlib.segmenters.systems.voxtell:VOXTELL",
    "seganypet_v1": "umdlib.segmenters.systems.sam_med3d:SEGANYPET_V1",
    "seganypet_v2": "umdlib.segmenters.systems.sam_med3d:SEGANYPET_V2",
    "seganypet_lesion": "umdlib.segmenters.systems.sam_med3d:SEGANYPET_LESION",
    "sam_vit_b": "umdlib.segmenters.systems.sam:SAM_B",
    "sam_vit_l": "umdlib.segmenters.systems.sam:SAM_L",
    "sam_vit_h": "umdlib.segmenters.systems.sam:SAM_H",
    "medsam2": "umdlib.segmenters.external.worker:MEDSAM2",
    "medsam": "umdlib.segmenters.systems.sam:MEDSAM",
    "sam_vit_b_grown": "umdlib.segmenters.systems.sam:SAM_B_GROWN",
    "sam_vit_l_grown": "umdlib.segmenters.systems.sam:SAM_L_GROWN",
    "sam_vit_h_grown": "umdlib.segmenters.systems.sam:SAM_H_GROWN",
    "medsam_grown": "umdlib.segmenters.systems.sam:MEDSAM_GROWN",
    "litemedsam_grown": "umdlib.segmenters.systems.litemedsam:LITEMEDSAM_GROWN",
    "totalsegmentator": "umdlib.segmenters.systems.totalsegmentator:TOTALSEGMENTATOR",
    "totalsegmentator_v3": "umdlib.segmenters.systems.totalsegmentator:TOTALSEGMENTATOR_V3",
    "totalsegmentator_mr": "umdlib.segmenters.systems.totalsegmentator:TOTALSEGMENTATOR_MR",
    "mrsegmentator": "umdlib.segmenters.systems.mrsegmentator:MRSEGMENTATOR",
    "moose": "umdlib.segmenters.systems.moose:MOOSE",
    "lion": "umdlib.segmenters.systems.moose:LION",
    "lion_psma": "umdlib.segmenters.systems.moose:LION_PSMA",
    "nnunet": "umdlib.segmenters.systems.nnunet:NNUNET",
    "stunet": "umdlib.segmenters.systems.nnunet:STUNET",
    "swinunetr": "umdlib.segmenters.systems.nnunet:SWINUNETR",
    "segresnet": "umdlib.segmenters.systems.nnunet:SEGRESNET",
    "nnunet_small": "umdlib.segmenters.systems.specialists:NNUNET_SMALL",
    "segresnet_small": "umdlib.segmenters.systems.specialists:SEGRESNET_SMALL",
    "swinunetr_small": "umdlib.segmenters.systems.specialists:SWINUNETR_SMALL",
    "stunet_small": "umdlib.segmenters.systems.specialists:STUNET_SMALL",
}
# PREFIX:PATH of a network that a user trained -> the module whose `trained` makes its record
OWN = {
    "nnunet": "nnunet",
    "clicknet": "clicknet",
    "sam_med3d_small": "sam_med3d_small",
    "specialist": "specialists",
}
_registered: dict[str, Segmenter] = {}


def names() -> tuple[str, ...]:
    """Names of all segmenters, built in first, in the order of the book.

    Examples
    --------
    >>> names()[:2]
    ('threshold', 'region_growing')
    """
    return (*BUILT_IN, *(n for n in _registered if n not in BUILT_IN))


list_segmenters = names  # its name in the package's facade


def register(segmenter: Segmenter) -> Segmenter:
    """Add a segmenter to the registry; returns it.

    Raises
    ------
    InputError
        The name belongs to a built-in segmenter or cannot be a folder's, or the record takes no
        kind of prompt, or one that does not exist, or a partner of no known modality.
    """
    if segmenter.name in BUILT_IN:
        raise InputError(f"Segmenter '{segmenter.name}' is built in. Give yours another name.")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", segmenter.name):
        raise InputError(
            f"Invalid segmenter name '{segmenter.name}'. Letters, digits, '_', '-' and '.'; it begins "
            "with a letter or digit."
        )
    if isinstance(segmenter.prompts, str) or not segmenter.prompts:
        raise InputError(
            f"Segmenter '{segmenter.name}' takes no prompt. Give a set of one or more of {', '.join(KINDS)}."
        )
    for kind in segmenter.prompts:
        if kind not in KINDS:
            raise unknown_name(f"kind of prompt of segmenter '{segmenter.name}'", kind, KINDS)
    if isinstance(segmenter.partner, str):
        raise InputError(
            f"Invalid partner '{segmenter.partner}' of segmenter '{segmenter.name}'. Write it as a tuple: "
            f"partner=('{segmenter.partner}',)."
        )
    for modality in segmenter.partner:
        if modality not in labels.MODALITIES:
            raise unknown_name(f"partner of segmenter '{segmenter.name}'", modality, labels.MODALITIES)
    segmenter = replace(segmenter, prompts=frozenset(segmenter.prompts))
    _registered[segmenter.name] = segmenter
    return segmenter


def get(name: str) -> Segmenter:
    """Record by name, or of a user's own by ``module:attribute`` or ``file.py:attribute``.

    ``nnunet:FOLDER`` is a folder that nnU-Net's training wrote, or one whose ``names.tsv`` makes one
    model of several, ``clicknet:FOLDER/NAME.json`` and
    ``sam_med3d_small:FOLDER/NAME.json`` the card of a network that ``umdlib train promptable`` made,
    ``specialist:FOLDER/nnunet_small`` the cards that ``umdlib train specialist --release FOLDER``
    wrote.

    Raises
    ------
    InputError
        There is no such segmenter (the nearest name is suggested), module or attribute.
    """
    if name in _registered:
        return _registered[name]
    if name in BUILT_IN:
        return _record(BUILT_IN[name])
    prefix, colon, path = name.partition(":")
    if colon and prefix in OWN:
        module = importlib.import_module(f"umdlib.segmenters.systems.{OWN[prefix]}")
        return register(module.trained(path))
    if ":" in name:
        return register(_record(name))
    raise unknown_name("segmenter", name, names())


def _record(path: str) -> Segmenter:
    """The record at ``module:attribute`` or ``file.py:attribute``."""
    module_name, _, attribute = path.rpartition(":")
    if module_name.endswith(".py"):
        module = _module_from_file(Path(module_name))
    else:
        here = os.getcwd()
        if here not in sys.path:
            sys.path.append(here)
        with _as_sentence(path):
            module = importlib.import_module(module_name)
    record = getattr(module, attribute, None)
    if not isinstance(record, Segmenter):
        known = [k for k, v in vars(module).items() if isinstance(v, Segmenter)]
        raise unknown_name(f"segmenter record in '{module_name}'", attribute, known)
    return record


def _module_from_file(path: Path):
    """Module of a Python file, by its own path, imported once."""
    if not path.is_file():
        raise InputError(f"File {path} does not exist. It should hold a segmenter's record.")
    name = f"umdlib_user_{path.stem}"
    if name in sys.modules and sys.modules[name].__file__ == str(path.resolve()):
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    module = importlib.util.module_from_spec(spec)
    beside = str(path.resolve().parent)
    if beside not in sys.path:
        sys.path.append(beside)  # what lies beside the file can be imported by it
    sys.modules[name] = module
    try:
        with _as_sentence(str(path)):
            spec.loader.exec_module(module)
    except InputError:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _as_sentence(path: str) -> Iterator[None]:
    """Whatever the import of a user's code raises, as one sentence."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        line = f" ({Path(where.filename).name}, line {where.lineno})"
        raise InputError(
            f"Cannot import '{path}' for a segmenter: {type(error).__name__}: {error}{line}."
        ) from None
