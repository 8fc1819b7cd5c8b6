"""Live viewing in JupyterLab: the page's viewer in the notebook, or itkwidgets for one case."""

from __future__ import annotations

import importlib
import urllib.error
import urllib.request
from collections.abc import Sequence
from urllib.parse import urlsplit

import numpy as np

from umdlib.cohort.manifest import Case
from umdlib.errors import InputError
from umdlib.viewer import cases as exhibits
from umdlib.viewer.pair import Pair

ITK = (
    "itkwidgets cannot be used here: {reason} It is the optional extra `itk` "
    "(pip install 'umdlib[itk]'), runs in JupyterLab only, and loads its viewer from the internet "
    "when it is shown. `umdlib.view(case)` without it needs neither."
)


def view(
    case: Case | Sequence[Case], *, engine: str = "page", structure: str = "", **options
) -> Pair | object:
    """Look at a case, or at both cases of an examination, in a notebook.

    Parameters
    ----------
    case
        A case of a cohort, or the (structural, PET) pair of one subject.
    engine
        ``"page"``: the viewer of the book, self-contained, works offline. ``"itk"``: itkwidgets,
        volume rendering of one case with its reference; needs the extra and the internet.
    structure
        Structure shown first; ``""`` for all.
    **options
        Of `exhibits.read_viewer`: root, table, segmenters, prompt, seed, overlay, spacing_mm.

    Returns
    -------
    Pair, or the viewer of itkwidgets
        It shows itself as the last value of a cell.

    Raises
    ------
    InputError
        An unknown engine or structure; two cases for itkwidgets; itkwidgets that cannot be used.
    """
    cases = (case,) if isinstance(case, Case) else tuple(case)
    if engine == "page":
        return exhibits.read_viewer(cases, structure=structure, **options)
    if engine != "itk":
        raise InputError(f"Unknown engine '{engine}'. Known: page, itk.")
    if len(cases) != 1 or options:
        raise InputError("itkwidgets shows one case with its reference, without further options.")
    return _itk(cases[0], structure)


def _itk_image(data: np.ndarray, affine: np.ndarray) -> dict:
    """A volume as the plain mapping that itkwidgets takes: axes (K, J, I), LPS+ mm.

    Examples
    --------
    >>> image = _itk_image(np.zeros((2, 3, 4)), np.diag([2.0, 3, 4, 1]))
    >>> image["data"].shape, image["spacing"], image["direction"][0].tolist()
    ((4, 3, 2), [2.0, 3.0, 4.0], [-1.0, 0.0, 0.0])
    """
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(affine, float)
    spacing = np.sqrt((lps[:3, :3] ** 2).sum(axis=0))
    return {
        "data": np.ascontiguousarray(data.transpose(2, 1, 0)),
        "origin": lps[:3, 3].tolist(),
        "spacing": spacing.tolist(),
        "direction": lps[:3, :3] / spacing,
    }


def reachable(url: str) -> bool:
    """Whether a server answers at an address, with whatever status."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=4.0):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def _itk(case: Case, structure: str) -> object:
    """The viewer of itkwidgets, with image and reference as NGFF images in LPS+."""
    try:
        itkwidgets = importlib.import_module("itkwidgets")
        ngff = importlib.import_module("ngff_zarr")
    except ImportError as error:
        raise InputError(ITK.format(reason=f"{error}.")) from error
    source = getattr(importlib.import_module("itkwidgets.viewer_config"), "ITK_VIEWER_SRC", "")
    if source and not reachable(source):
        host = urlsplit(source).hostname
        raise InputError(ITK.format(reason=f"its viewer at {host} cannot be reached from here."))
    image, reference = case.read()
    shown = reference.data
    if structure:
        wanted = {s.name: s.value for s in case.structures}
        if structure not in wanted:
            raise InputError(f"Unknown structure '{structure}' in {case.name}.")
        shown = (shown == wanted[structure]).astype(np.uint8)
    try:
        return itkwidgets.view(
            image=_ngff(ngff, image.data, image.affine, case.name),
            label_image=_ngff(ngff, shown, image.affine, "reference"),
        )
    except (TypeError, AttributeError, RuntimeError) as error:
        raise InputError(ITK.format(reason=f"{type(error).__name__}: {error}.")) from error


def _ngff(ngff, data: np.ndarray, affine: np.ndarray, name: str) -> object:
    """One volume for itkwidgets; it has no direction, so the axes are turned to LPS+ before."""
    flips = [axis for axis in range(3) if affine[axis, axis] * (-1, -1, 1)[axis] < 0]
    turned = np.flip(data, flips)
    image = _itk_image(turned, _flipped(affine, data.shape, flips))
    scale = dict(zip("xyz", image["spacing"], strict=True))
    translation = dict(zip("xyz", image["origin"], strict=True))
    return ngff.to_ngff_image(
        image["data"], dims=("z", "y", "x"), scale=scale, translation=translation, name=name
    )


def _flipped(affine: np.ndarray, shape: Sequence[int], axes: Sequence[int]) -> np.ndarray:
    """Affine of an array whose `axes` are reversed."""
    flip = np.eye(4)
    for axis in axes:
        flip[axis, axis], flip[axis, 3] = -1, shape[axis] - 1
    return np.asarray(affine, float) @ flip
