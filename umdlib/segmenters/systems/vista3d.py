"""VISTA3D by class or by points and NV-Segment-CTMR by class, with the constants of NVIDIA's MONAI bundles."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256

import numpy as np

from umdlib.errors import InputError
from umdlib.images import geometry
from umdlib.images.grids import Grid, push
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Prompt
from umdlib.segmenters.contract import Segment, Segmenter, Weights
from umdlib.segmenters.preparation import network
from umdlib.weights import reading as files

SPACING_MM = 1.5
WINDOW_HU = (-963.8247715525971, 1053.678477684517)
SIDE = 128
OVERLAP = 0.25  # the bundle builds its sliding window without its own setting, so MONAI's default
_POINT_OVERLAP = 0.3
MARGIN = 10
WINDOWS = 4  # encoded windows kept between the clicks of a structure, 400 MB each in float32

# ids of the bundle's label_dict.json. "lung" (20) is a super-class removed from training: its
# five lobes stand for it, as the bundle's `subclass` does.
CLASSES: dict[str, tuple[int, ...]] = {
    "liver": (1,),
    "kidney_left": (14,),
    "kidney_right": (5,),
    "brain": (22,),
    "heart": (115,),
    "spleen": (3,),
    "aorta": (6,),
    "lung": (28, 29, 30, 31, 32),
    "colon": (62,),
    "urinary_bladder": (15,),
    "pancreas": (4,),
    "esophagus": (11,),
    "stomach": (12,),
}


@dataclass(frozen=True)
class Recipe:
    """What differs between the two bundles.

    Attributes
    ----------
    window
        Voxels of a window along X, Y, Z.
    percentiles
        Of the cropped image, which become 0 and 1; None: the window of CT does, whatever the image is.
    others
        Class numbers of structures in images that are not CT.
    """

    window: tuple[int, int, int] = (SIDE, SIDE, SIDE)
    percentiles: tuple[float, float] | None = None
    others: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: CLASSES)


CT_BUNDLE = Recipe()
# its label_dict.json has lobes for CT and whole lungs for MR
CTMR_BUNDLE = Recipe((192, 192, 128), (1.0, 99.0), CLASSES | {"lung": (135, 136)})


class _Windows:
    """An encoder that keeps what it made of the last windows, by their values: later clicks go on from it."""

    def __init__(self, encode) -> None:
        self._encode = encode
        self._seen: OrderedDict[tuple, tuple] = OrderedDict()

    def __call__(self, window, **asked):
        """Features of a window."""
        voxels = np.ascontiguousarray(window.detach().cpu().numpy())
        key = sha256(voxels.data).digest(), str(voxels.dtype), voxels.shape, tuple(sorted(asked.items()))
        if key not in self._seen:
            self._seen[key] = self._encode(window, **asked)
            while len(self._seen) > WINDOWS:
                self._seen.popitem(last=False)
        self._seen.move_to_end(key)
        return self._seen[key]

    def clear(self) -> None:
        """Forget all windows."""
        self._seen.clear()


class Vista3D:
    """The network with the last image it has prepared, and the masks of all classes in it."""

    def __init__(
        self, net, device: str, *, by: str, recipe: Recipe = CT_BUNDLE, name: str = "vista3d"
    ) -> None:
        self._net = network.guard(net.to(device).eval(), name)
        self._device, self._by, self._recipe = device, by, recipe
        self._classes: Mapping[str, tuple[int, ...]] = CLASSES
        self._data: np.ndarray | None = None
        self._ready = None
        self._spaced: Grid | None = None
        self._masks: dict[str, np.ndarray] = {}  # packed bits on the prepared grid
        self._windows = _Windows(net.image_encoder.forward)
        if by != "class":
            net.image_encoder.forward = self._windows
        self._lean = False  # windows put together in the machine's memory, one structure at a time

    def __call__(self, image: Volume, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        """Boolean mask (I, J, K)."""
        import torch

        ready = self._prepared(image)
        kind = torch.device(self._device).type
        with torch.inference_mode(), torch.autocast(kind, enabled=kind == "cuda"):
            if self._by == "class":
                mask = self._of_class(ready, prompt.structure)
            else:
                mask = network.numpy_mask(self._by_points(ready, image, prompt) > 0)
        return home(mask, np.asarray(ready.affine.cpu(), float), self._spaced, image)

    def free_memory(self) -> bool:
        """Move preparation and assembly to the machine's memory; False where they are there already."""
        had_more, self._lean = not self._lean, True
        self._data, self._ready = None, None
        self._windows.clear()
        return had_more

    def _of_class(self, ready, structure: str) -> np.ndarray:
        """Boolean mask (X, Y, Z) of a structure; all are predicted together at the first call."""
        shape = tuple(ready.shape[1:])
        if structure not in self._masks:
            known = self._classes
            wanted = (structure,) if self._lean else tuple(known)
            logits = self._by_class(ready, [c for name in wanted for c in known[name]])
            first = 0
            for name in wanted:
                part = logits[first : first + len(known[name])]
                self._masks[name] = np.packbits(network.numpy_mask(part.amax(0) > 0))
                first += len(known[name])
        bits = np.unpackbits(self._masks[structure], count=int(np.prod(shape)))
        return bits.astype(bool).reshape(shape)

    def _prepared(self, image: Volume):
        """MetaTensor (1, X, Y, Z) on the bundle's grid, made once per image."""
        from monai.data import MetaTensor

        if self._data is not image.data:
            tensor = MetaTensor(np.ascontiguousarray(image.data, np.float32)[None], affine=image.affine)
            if not self._lean:  # as the bundle: resampled where the network is
                tensor = tensor.to(self._device)
            spaced, rest = _preparation(self._recipe)
            even = spaced({"image": tensor})
            self._spaced = Grid(tuple(even["image"].shape[1:]), np.array(even["image"].affine.tolist()))
            self._ready = rest(even)["image"].to(self._device)
            self._masks.clear()
            self._windows.clear()
            self._data = image.data
            self._classes = CLASSES if image.unit == "HU" else self._recipe.others
        return self._ready

    def _by_class(self, ready, classes: list[int]):
        """Logits (N, X, Y, Z) of classes, each window encoded once."""
        import torch
        from monai.inferers import SlidingWindowInfererAdapt

        ids = torch.tensor(classes, device=self._device)[:, None]
        window = SlidingWindowInfererAdapt(
            roi_size=self._recipe.window,
            sw_batch_size=1,
            with_coord=True,
            overlap=OVERLAP,
            padding_mode="replicate",  # since bundle 0.5.7: what lies beyond is like the edge
            device="cpu" if self._lean else None,
        )
        logits = window(
            ready[None],
            self._net,
            transpose=True,
            point_coords=None,
            point_labels=None,
            class_vector=ids,
            prompt_class=ids,
            prev_mask=None,
            labels=None,
            label_set=None,
        )
        return logits[0]

    def _by_points(self, ready, image: Volume, prompt: Prompt):
        """Logits (X, Y, Z) of the components that hold a positive point; NaN far from points."""
        import torch
        from monai.apps.vista3d.inferer import point_based_window_inferer
        from monai.transforms.utils import keep_components_with_positive_points

        affine = np.asarray(ready.affine.cpu(), float)
        clicks = [
            (ijk, c)
            for ijk, c in zip(_places(affine, image, prompt), prompt.clicks, strict=True)
            if ((np.round(ijk) >= 0) & (np.round(ijk) < ready.shape[1:])).all()  # as the bundle finds them
        ]
        if not any(c.positive for _, c in clicks):
            raise InputError(
                f"No positive click for '{prompt.structure}' lies in the part of {image.name} "
                f"above 0, to which VISTA3D's preparation crops."
            )
        points = torch.from_numpy(np.array([ijk for ijk, _ in clicks]))[None].to(self._device)
        signs = torch.tensor([[int(c.positive) for _, c in clicks]], device=self._device)
        with warnings.catch_warnings():
            # MONAI hands one affine to its own constructor twice
            warnings.filterwarnings("ignore", message="Setting affine", category=UserWarning)
            logits = point_based_window_inferer(
                ready[None],
                roi_size=self._recipe.window,
                predictor=self._net,
                point_coords=points,
                point_labels=signs,
                class_vector=None,
                prompt_class=None,
                prev_mask=None,
                transpose=True,
                with_coord=True,
                sw_batch_size=1,
                mode="gaussian",
                overlap=_POINT_OVERLAP,
                labels=None,
                label_set=None,
            )
        kept = keep_components_with_positive_points(
            logits.as_tensor(), point_coords=points.cpu(), point_labels=signs.cpu()
        )
        return torch.nan_to_num(kept, nan=-1.0)[0, 0]


def _places(affine: np.ndarray, image: Volume, prompt: Prompt) -> np.ndarray:
    """Clicks (n, 3) in voxels of the prepared image, by the sums that the bundle does with voxels of the file.

    A window begins at a whole voxel before the click: the last bit can decide which.
    """
    voxels = geometry.to_voxel(image.affine, np.array([c.xyz_mm for c in prompt.clicks]).reshape(-1, 3))
    whole = np.round(voxels)
    voxels = np.where(np.abs(voxels - whole) < 1e-6, whole, voxels)
    points = np.vstack([voxels.T, np.ones(len(voxels))])
    return (np.linalg.inv(affine) @ image.affine @ points)[:3].T


def home(mask: np.ndarray, affine: np.ndarray, spaced: Grid, image: Volume) -> np.ndarray:
    """Boolean mask on the image's grid, as the bundle's inverted transforms bring it back.

    `mask` is on `affine`, a crop of the `spaced` grid. That grid can end just before the image's
    outermost voxels, which then take the mask of its edge; what was cropped away stays empty.
    """
    whole = np.pad(push(mask, Grid(mask.shape, affine), spaced), 1, mode="edge")
    wider = spaced.affine.copy()
    wider[:3, 3] = geometry.to_world(spaced.affine, (-1, -1, -1))
    return push(whole, Grid(whole.shape, wider), image)


def _preparation(recipe: Recipe):
    """The bundle's preprocessing: to 1.5 mm; then crop to the positive, scale to 0 to 1, RAS."""
    from monai.transforms import (
        Compose,
        CropForegroundd,
        Orientationd,
        ScaleIntensityRanged,
        ScaleIntensityRangePercentilesd,
        Spacingd,
    )

    scaled = (
        ScaleIntensityRanged("image", *WINDOW_HU, 0, 1, clip=True)
        if recipe.percentiles is None
        else ScaleIntensityRangePercentilesd("image", *recipe.percentiles, 0, 1, clip=True)
    )
    return Spacingd("image", pixdim=(SPACING_MM,) * 3, mode="bilinear"), Compose(
        [
            CropForegroundd("image", source_key="image", allow_smaller=True, margin=MARGIN),
            scaled,
            Orientationd("image", axcodes="RAS", labels=None),
        ]
    )


def build(*, small: bool = False):
    """The network with random weights, full or tiny."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="monai")
        from monai.networks.nets import SegResNetDS2, vista3d132
        from monai.networks.nets.vista3d import VISTA3D, ClassMappingClassify, PointMappingSAM
    if not small:
        return vista3d132(in_channels=1)
    encoder = SegResNetDS2(
        spatial_dims=3,
        in_channels=1,
        init_filters=16,
        out_channels=16,
        blocks_down=(1, 1, 1),
        norm="instance",
        dsdepth=1,
    )
    return VISTA3D(
        encoder,
        ClassMappingClassify(512, 16, use_mlp=True),
        PointMappingSAM(16, n_classes=512, last_supported=132),
    )


def _load(device: str = "cpu", *, by: str) -> Segment:
    """The published file, prompted by class or by points."""
    net = build()
    files.load_strict(net, FILE, "vista3d")
    return Vista3D(net, device, by=by)


def _load_ctmr(device: str = "cpu") -> Segment:
    """The file of CT and MR."""
    net = build()
    files.load_strict(net, CTMR_FILE, "nv_segment_ctmr")
    return Vista3D(net, device, by="class", recipe=CTMR_BUNDLE, name="nv_segment_ctmr")


def _tiny(by: str, *, recipe: Recipe = CT_BUNDLE, window: tuple[int, int, int] = (32, 32, 32)) -> Segment:
    """Either kind with a thin encoder, small windows and random weights."""
    with network.seeded(0):
        return Vista3D(build(small=True), "cpu", by=by, recipe=replace(recipe, window=window))


FILE = Weights(
    file="vista3d/model.pt",
    where="the address in the MONAI bundle's large_files.yml (the research repository's file has other keys)",
    licence="NVIDIA License, not for commercial use (3.3), as the bundle's file says; the card of "
    "NV-Segment-CT names the NVIDIA Open Model License",
    md5="6ce45a8edde4400c5d28d5e74d7b61d5",
    url="https://developer.download.nvidia.com/assets/Clara/monai/tutorials/model_zoo/model_vista3d.pt",
)
CTMR_FILE = Weights(
    file="vista3d/nv_segment_ctmr.pt",
    where="Hugging Face nvidia/NV-Segment-CTMR, vista3d_pretrained_model/model.pt",
    licence="not for commercial use, as the repository's readme says",
    repo="nvidia/NV-Segment-CTMR",
    remote="vista3d_pretrained_model/model.pt",
)
_PACKAGES = {"packages": ("monai", "torch", "einops"), "extra": "monai", "code_licence": "Apache-2.0"}
_COMMON = _PACKAGES | {
    "weights": (FILE,),
    "modalities": ("CT",),
    "paper": "arXiv:2406.05285",
    "trained_on": "11,454 CT scans; the CT window is applied to any image: SUV 0 to 20 becomes "
    "0.478 to 0.488",
    "users": "black output for the super-classes 2, 20, 21 (Project-MONAI/VISTA#42, #41); a wrong "
    "affine gives fuzzy masks (#45)",
}
VISTA3D_CLASS = Segmenter(
    name="vista3d",
    title="VISTA3D",
    summary="Segments by class number (218 M parameters); the lung is the union of five lobes.",
    load=partial(_load, by="class"),
    prompts=frozenset({"class"}),
    version="4",
    settings={"spacing_mm": SPACING_MM, "side": SIDE, "overlap": OVERLAP},
    structures=tuple(CLASSES),
    native="the same: class numbers, each with a mask of its own here, argmax where several are asked "
    "together",
    grid="1.5 mm, RAS, CT window, windows of 128 voxels with overlap 0.25 over the whole image",
    tiny=partial(_tiny, "class"),
    **_COMMON,
)
VISTA3D_POINT = Segmenter(
    name="vista3d_point",
    title="VISTA3D, points",
    summary="VISTA3D's interactive branch: one window around each click, no class.",
    load=partial(_load, by="click"),
    prompts=frozenset({"click", "negative_click"}),
    version="4",
    settings={"spacing_mm": SPACING_MM, "side": SIDE, "overlap": _POINT_OVERLAP},
    native="in its validation a point at the centre of each window's reference; nothing is "
    "predicted beyond the windows of the points",
    grid="1.5 mm, RAS, CT window, one window of 128 voxels around each click",
    tiny=partial(_tiny, "click"),
    **_COMMON,
)
NV_SEGMENT_CTMR = Segmenter(
    name="nv_segment_ctmr",
    title="NV-Segment-CTMR",
    summary="VISTA3D's network trained further on CT and MR, by class number; the lung is the union of five lobes "
    "in CT, of two lungs elsewhere.",
    load=_load_ctmr,
    prompts=frozenset({"class"}),
    settings={"spacing_mm": SPACING_MM, "window": "192 x 192 x 128", "overlap": OVERLAP},
    weights=(CTMR_FILE,),
    modalities=("CT", "MR"),
    paper="arXiv:2406.05285 is of its predecessor VISTA3D; none of its own was found",
    trained_on="VISTA3D's weights, then more than 30,000 CT and MR scans, as its readme says; no PET is named",
    native="the same: class numbers, those of TotalSegmentator MR for MR, each with a mask of its own here, argmax "
    "where several are asked together. Its networks for brain parts want a skull-stripped T1 and are not here",
    grid="1.5 mm, RAS, percentiles 1 to 99 of the image cropped to its positive voxels, windows of 192 x 192 x 128 "
    "voxels with overlap 0.25",
    users="a structure inside another vanishes where both are asked together (NVIDIA-Medtech/NV-Segment-CTMR#8); "
    "here each has its own mask",
    structures=tuple(CLASSES),
    tiny=partial(_tiny, "class", recipe=CTMR_BUNDLE, window=(64, 32, 32)),
    **_PACKAGES,
)
