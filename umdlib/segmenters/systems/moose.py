"""MOOSE and LION: nnU-Nets of the ENHANCE-PET initiative behind a resampling of their own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from umdlib.images.volume import Volume
from umdlib.segmenters.contract import Segment, Segmenter, Weights
from umdlib.segmenters.preparation import nnunet, published_folders
from umdlib.segmenters.preparation.folders import Folders, published_unions
from umdlib.segmenters.preparation.slices import oriented

_RESAMPLED_FROM = 150  # voxels of an axis from which it is resampled in pieces
_PREDICTED_TO = 350  # voxels of an axis up to which it is predicted in one piece
_SHARED = 20  # voxels that neighbouring pieces share on either side
_FOLD = "fold_all"  # as their training notes say
# folder of MOOSE -> its archive and its folder there
_MOOSE = {
    "clin_ct_organs": ("clin_ct_organs_ras_07052025", "Dataset123_Organs"),
    "clin_ct_cardiac": ("clin_ct_cardiac_ras_21052025", "Dataset888_Cardiac"),
    "clin_ct_digestive": ("clin_ct_digestive_06102024", "Dataset999_Digestive"),
}
LABELS = {"clin_ct_organs": 19, "clin_ct_cardiac": 13, "clin_ct_digestive": 4}
TUMOUR = {"fdg": 11, "psma": 6}  # in LION's labels of each tracer
# tracer of LION -> its archive and its folder there
_LION = {
    "fdg": ("clin_pt_fdg_5235_17122025", "Dataset789_Tumors"),
    "psma": ("clin_pt_psma_2046_25112025", "Dataset711_PSMA"),
}


class Resliced:
    """The label map of one network on the grid of its plans, brought back to the image by the nearest voxel.

    Parameters
    ----------
    net
        The network.
    turned
        Whether the image is turned to RAS first, as MOOSE does; LION keeps the axes of the file and takes
        the plans' spacing in the order (I, J, K).
    pieces_to
        Voxels of an axis up to which it is predicted in one piece; None: always.
    """

    def __init__(self, net: nnunet.NnUNet, *, turned: bool, pieces_to: int | None = _PREDICTED_TO) -> None:
        self._net, self._turned, self._pieces_to = net, turned, pieces_to
        # what the network is given, for axes (K, J, I)
        self._told = net.planned_spacing(transposed_back=turned)
        self._spacing = self._told[::-1] if turned else self._told  # of the grid, for axes (I, J, K)

    def label_map(self, image: Volume) -> np.ndarray:
        """Values of the network (I, J, K) on the image's grid."""
        data, affine, back = image.data, image.affine, np.ascontiguousarray
        if self._turned:
            data, affine, back = oriented(data, affine, "RAS")
        reference = _itk(np.ascontiguousarray(data.T), affine)
        array = _interpolated(reference, self._spacing)
        labels = np.zeros(array.shape, np.uint8)
        for seen, kept, place in _pieces(array.shape, self._pieces_to):
            found = self._predicted(array[seen])
            labels[place] = found[kept]
        return back(_nearest(labels, self._spacing, reference).T)

    def _predicted(self, array: np.ndarray) -> np.ndarray:
        """Label map (K, J, I) of a piece (K, J, I)."""
        grid = np.diag([*self._told[::-1], 1.0])
        return self._net.label_map(Volume(array.T, grid)).T


def _itk(array: np.ndarray, affine: np.ndarray):
    """ITK's image of an array (K, J, I) on a grid of the world (RAS+, mm)."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(array)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(affine, float)
    spacing = np.sqrt((lps[:3, :3] ** 2).sum(axis=0))
    image.SetSpacing([float(np.float32(s)) for s in spacing])  # as a NIfTI file holds it
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def _interpolated(image, spacing: Sequence[float]) -> np.ndarray:
    """Array (K, J, I) by cubic B-splines at a spacing; long axes in equal pieces, each for itself.

    What lies behind the last voxel's centre is 0. An image of fewer than four voxels along an axis has no
    cubic spline, and the official code stops there: it is interpolated linearly.
    """
    import SimpleITK

    few = min(image.GetSize()) < 4
    by = SimpleITK.sitkLinear if few else SimpleITK.sitkBSpline

    sizes = [n // _equal_pieces(n) for n in image.GetSize()]
    given = image.GetSpacing()
    new = [max(round(n * (a / b)), 1) for n, a, b in zip(sizes, given, spacing, strict=True)]
    array = SimpleITK.GetArrayViewFromImage(image)
    counts = [n // size for n, size in zip(image.GetSize(), sizes, strict=True)]
    out = np.zeros([n * c for n, c in zip(new[::-1], counts[::-1], strict=True)], array.dtype)
    for at in itertools.product(*map(range, counts[::-1])):
        old = tuple(slice(i * n, (i + 1) * n) for i, n in zip(at, sizes[::-1], strict=True))
        piece = SimpleITK.GetImageFromArray(np.ascontiguousarray(array[old]))
        piece.SetSpacing(given)
        still = SimpleITK.Transform()
        done = SimpleITK.Resample(
            piece, new, still, by, piece.GetOrigin(), list(spacing), piece.GetDirection()
        )
        place = tuple(slice(i * n, (i + 1) * n) for i, n in zip(at, new[::-1], strict=True))
        out[place] = SimpleITK.GetArrayViewFromImage(done)
    return out


def _equal_pieces(size: int) -> int:
    """The most equal pieces of at least 150 voxels that an axis can be cut into.

    Examples
    --------
    >>> [_equal_pieces(n) for n in (149, 299, 300, 512)]
    [1, 1, 2, 2]
    """
    most = max(size // _RESAMPLED_FROM, 1)
    return next(n for n in range(most, 0, -1) if size % n == 0)


def _pieces(shape: tuple[int, ...], longest: int | None) -> Iterator[tuple[tuple[slice, ...], ...]]:
    """What each piece of an array sees, what is kept of it, and where that belongs."""
    axes = []
    for size in shape:
        count = 1 if longest is None else max(1, math.ceil(size / longest))
        ends = np.cumsum([size // count + (i < size % count) for i in range(count)])
        starts = [0, *ends[:-1]]
        parts = []
        for start, end in zip(map(int, starts), map(int, ends), strict=True):
            low, high = max(0, start - _SHARED), min(size, end + _SHARED)
            parts.append((slice(low, high), slice(start - low, end - low), slice(start, end)))
        axes.append(parts)
    for chosen in itertools.product(*axes):
        yield tuple(zip(*chosen, strict=True))


def _nearest(labels: np.ndarray, spacing: Sequence[float], reference) -> np.ndarray:
    """Label map (K, J, I) on the reference's grid."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(labels)
    image.SetSpacing(list(spacing))
    image.SetOrigin(reference.GetOrigin())
    image.SetDirection(reference.GetDirection())
    done = SimpleITK.Resample(image, reference, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
    return SimpleITK.GetArrayFromImage(done)


def _moose_files(folder: str) -> tuple[Weights, ...]:
    """Files of one of MOOSE's networks."""
    archive, dataset = _MOOSE[folder]
    return published_folders.files(
        f"moose/{folder}",
        folds=(_FOLD,),
        where=f"release moosez-v.3.1.3 of ENHANCE-PET/MOOSE, {archive}.zip; or copy TRAINER__PLANS__CONFIGURATION "
        f"from MOOSE's own {dataset}",
        licence="CC BY 4.0",
        url=f"https://github.com/ENHANCE-PET/MOOSE/releases/download/moosez-v.3.1.3/{archive}.zip",
        inside=f"{dataset}/*__*__*",
    )


def _lion_files(tracer: str) -> tuple[Weights, ...]:
    """Files of LION's network of a tracer."""
    archive, dataset = _LION[tracer]
    return published_folders.files(
        f"lion/{tracer}",
        folds=(_FOLD,),
        where=f"release lionz-v.1.0.0 of ENHANCE-PET/LION, {archive}.zip; or copy "
        f"TRAINER__PLANS__CONFIGURATION from LION's own {dataset}",
        licence="Apache-2.0, as the repository; the archive's own licence was not seen",
        url=f"https://github.com/ENHANCE-PET/LION/releases/download/lionz-v.1.0.0/{archive}.zip",
        inside=f"{dataset}/*__*__*",
    )


def _load_moose(device: str = "cpu") -> Segment:
    """The three networks, each with the spacing of its plans."""
    parts = []
    for folder in _MOOSE:
        net = published_folders.opened(_moose_files(folder), "moose", device, labels=LABELS[folder])
        parts.append(Resliced(net, turned=True))
    return Folders(parts, published_unions("moose", *_MOOSE))


def _load_lion(device: str = "cpu", *, name: str, tracer: str) -> Segment:
    """The network of a tracer; only its tumour label is used."""
    net = published_folders.opened(_lion_files(tracer), name, device, labels=TUMOUR[tracer], at_least=True)
    return _lion(net, tracer)


def _lion(net: nnunet.NnUNet, tracer: str) -> Folders:
    """The call around LION's network."""
    return Folders([Resliced(net, turned=False, pieces_to=None)], published_unions("lion", tracer))


def _tiny_moose() -> Segment:
    """Three networks of three stages with random weights at 5 x 4 x 4 mm."""
    nets = [published_folders.tiny(n, seed=k) for k, n in enumerate(LABELS.values())]
    return Folders([Resliced(n, turned=True) for n in nets], published_unions("moose", *_MOOSE))


def _tiny_lion() -> Segment:
    """A network of three stages with random weights."""
    return _lion(published_folders.tiny(TUMOUR["fdg"], favoured=TUMOUR["fdg"]), "fdg")


_COMMON = {
    "prompts": frozenset({"class"}),
    "packages": ("nnunetv2", "torch", "SimpleITK"),
    "extra": "nnunet",
    "code_licence": "Apache-2.0",
}
MOOSE = Segmenter(
    name="moose",
    title="MOOSE",
    summary="Three nnU-Nets of CT (organs, cardiac, digestive; version 3.2), here the structures of the benchmark.",
    load=_load_moose,
    settings={"networks": " ".join(_MOOSE)},
    weights=tuple(w for folder in _MOOSE for w in _moose_files(folder)),
    modalities=("CT",),
    paper="doi:10.2967/jnumed.122.264063",
    trained_on="low-dose CT of whole-body PET/CT (ENHANCE-PET/MOOSE#92); the number of scans was not found. "
    "The digestive labels were not verified by their authors (#205)",
    native="the same: no prompt",
    grid="RAS; cubic B-splines at the plans' spacing, long axes in pieces; windows of the plans, half overlapping, "
    "mirrored where training was; labels come back by the nearest voxel",
    users="volumes that were not RAS were answered wrongly up to 3.1.1 and in part after (#221, #210); here each "
    "image is turned first, and a test holds that",
    tiny=_tiny_moose,
    structures=tuple(published_unions("moose", *_MOOSE)),
    **_COMMON,
)


def _lion_record(name: str, title: str, tracer: str, patients: str, **more) -> Segmenter:
    """Record of LION's network of a tracer."""
    label = TUMOUR[tracer]
    return Segmenter(
        name=name,
        title=title,
        summary=f"An nnU-Net for tumours in {tracer.upper()} PET (version 1.0), whose label {label} is the tumour.",
        load=partial(_load_lion, name=name, tracer=tracer),
        settings={"network": tracer, "label": label},
        weights=_lion_files(tracer),
        modalities=("PET",),
        paper="doi:10.5281/zenodo.12626789",
        trained_on=f"{tracer.upper()} PET of {patients} patients, as its readme says",
        native="the same: no prompt; an SUV threshold can be asked for there and is not used here",
        grid="the file's own axes: it is not turned, as the official code does not; cubic B-splines at the plans' "
        "spacing, windows of the plans, half overlapping; labels come back by the nearest voxel",
        users="none was found; since images are not turned, a file with other axes than those of its training gets "
        "another mask",
        structures=("lesion",),
        **_COMMON,
        **more,
    )


LION = _lion_record("lion", "LION", "fdg", "5,235", tiny=_tiny_lion)
LION_PSMA = _lion_record("lion_psma", "LION, PSMA", "psma", "2,046")
