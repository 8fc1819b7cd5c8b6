"""An anatomy from a user's label map: what the map lacks is filled by stated rules."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

import numpy as np
import scipy

from umdlib.errors import InputError, unknown_name
from umdlib.images.geometry import is_orthogonal
from umdlib.images.orientation import to_ras
from umdlib.images.volume import LabelMap
from umdlib.labels import ORGANS
from umdlib.synthetic.anatomy.body import outline_fields, upsample
from umdlib.synthetic.anatomy.canvas import Canvas, Frame
from umdlib.synthetic.anatomy.drawing import Anatomy
from umdlib.synthetic.anatomy.person import Person
from umdlib.synthetic.anatomy.skeleton import paint_legs, paint_pelvis, paint_ribs, paint_sacrum, paint_spine
from umdlib.synthetic.anatomy.tissue import CODES
from umdlib.synthetic.scanner.contrast import texture

# Tissue -> names in a label map; one that ends in * covers every name that begins so. Structures with an
# inside of their own are refined below.
NAMES: dict[str, str] = {
    "liver": "liver",
    "kidney_left_cortex": "kidney_left kidneys",
    "kidney_right_cortex": "kidney_right",
    "white_matter": "brain",
    "heart_blood": "heart* atrial_appendage*",
    "spleen": "spleen",
    "aorta": "aorta",
    "lung": "lung*",
    "colon_stool": "colon",
    "bladder": "urinary_bladder bladder",
    "pancreas": "pancreas",
    "oesophagus": "esophagus",
    "stomach_content": "stomach",
    "prostate": "prostate",
    "gland": "head_glands",
    "gall_bladder": "gallbladder gall_bladder",
    "bowel_content": "small_bowel duodenum",
    "adrenal": "adrenal_gland*",
    "thyroid": "thyroid*",
    "airway": "trachea",
    "vessel": (
        "inferior_vena_cava superior_vena_cava portal_vein* iliac_* pulmonary_* common_carotid* "
        "brachiocephalic* subclavian*"
    ),
    "marrow": "vertebra* sacrum rib_* sternum hip_* femur_* humerus_* scapula_* clavicula_* skull bone*",
    "cartilage": "costal_cartilages",
    "cord": "spinal_cord",
    "muscle": "gluteus_* autochthon_* iliopsoas_* muscle* body*",
    "fat": "fat*",
    "skin": "skin",
}

RULES = """\
1. Body: the outline of the reference adult, with the person's fat, fitted to the organs (heights
   by up to seven landmarks, width by the lungs), joined with the convex hull of the labels in each
   axial slice grown by 30 mm. With fewer than two landmarks, the hull alone.
2. Skin 2 mm, then fat, then muscle, and fat between the organs inside the hull and inside the
   abdominal wall (15 mm, more in the pelvis).
3. Brain: 3.5 mm of cortex, folds by a smooth field; 6 mm of skull around it.
4. Kidneys: 7 mm of cortex around medulla, a pelvis below 14 mm.
5. Heart: blood in a 3 mm wall; a 10 mm wall of left ventricle on its left, front, lower side.
6. Stomach and colon: a wall of 4 and 2.6 mm; gas in the front 25 % and 40 % of the inside.
7. Bones that are labelled: 2 mm of cortex around marrow. Where none is, the spine, ribs, pelvis and
   femora of the reference adult, fitted as the outline is, behind every labelled organ.
8. Breathing follows the fitted heights; a map without two landmarks does not breathe. The bladder
   fills where it is labelled."""


def tissue_named(name: str) -> str:
    """Tissue that a structure's name stands for."""
    patterns = {pattern: tissue for tissue, names in NAMES.items() for pattern in names.split()}
    for pattern, tissue in patterns.items():
        if fnmatchcase(name, pattern):
            return tissue
    raise unknown_name("structure", name, [n.rstrip("*") for n in patterns])


def anatomy_from_labels(
    label_map: LabelMap,
    person: Person,
    *,
    names: Mapping[int, str] | None = None,
    spacing_mm: float = 2.4,
    rng: np.random.Generator,
) -> Anatomy:
    """Tissues for a user's label map.

    Parameters
    ----------
    label_map
        Any map whose values are named.
    person
        Whose uptake and size to use.
    names
        Value to name; the 13 structures of `umdlib.labels` by default. TotalSegmentator's names
        are known.
    spacing_mm
        Edge of the anatomy's voxels.
    rng
        Draws the folds of the brain.

    Raises
    ------
    InputError
        Values without a name, names without a rule, an oblique affine, an empty map.
    """
    names = dict(names) if names is not None else {s.value: s.name for s in ORGANS}
    data, affine = canonical(label_map)
    present = [int(v) for v in np.flatnonzero(np.bincount(data.ravel(), minlength=1)) if v > 0]
    if not present:
        raise InputError(f"Every voxel of {label_map.name} is 0. A labelled body is needed.")
    for value in present:
        if value not in names:
            raise InputError(
                f"Label value {value} in {label_map.name} has no name. "
                f"Named: {', '.join(map(str, sorted(names)))}."
            )
    table = np.zeros(max(present) + 1, np.uint8)
    for value in present:
        table[value] = CODES[tissue_named(names[value])]
    data, affine = _crop_to_labels(data, affine)
    tissue = table[data]
    for value in present:
        if names[value] == "kidneys":
            _split_kidneys(tissue, data == value)
    tissue, grid = _to_cubes(tissue, affine, spacing_mm)
    organs = tissue.copy()
    tissue = _fill_body(organs, grid, person)
    if not (organs == CODES["marrow"]).any():
        _borrow_bones(tissue, organs, grid)
    for refine in (_layer_brain, _layer_kidneys, _layer_heart, _layer_hollow, _layer_bones):
        refine(tissue, organs, spacing_mm, rng)
    frame = _fitted_frame(organs, grid)
    heights = (1 / frame.scale[2], frame.origin[2]) if frame else None
    return Anatomy(tissue, grid, person, frame, _bladder_around(organs, spacing_mm), heights)


def canonical(label_map: LabelMap) -> tuple[np.ndarray, np.ndarray]:
    """Data and affine with axes that run right, front, up.

    Raises
    ------
    InputError
        If the axes are sheared or turned against the world's by more than a degree.
    """
    if not is_orthogonal(label_map.affine):
        raise InputError(f"The voxel axes of {label_map.name} are not perpendicular.")
    data, affine = to_ras(label_map.data, label_map.affine)
    turned = affine[:3, :3] - np.diag(np.diag(affine[:3, :3]))
    if np.abs(turned).max() > 0.0175 * np.abs(np.diag(affine)[:3]).max():
        raise InputError(
            f"The axes of {label_map.name} are oblique: {affine[:3, :3].round(3).tolist()}. "
            "Resample it to a grid along right, front, up first."
        )
    return data, affine


def _crop_to_labels(data: np.ndarray, affine: np.ndarray):
    """The map without the empty margins to the sides; its height is kept."""
    box = list(scipy.ndimage.find_objects((data > 0).astype(np.uint8))[0])
    box[2] = slice(0, data.shape[2])
    affine = affine.copy()
    affine[:3, 3] += np.array([b.start for b in box]) * np.diag(affine)[:3]
    return data[tuple(box)], affine


def _split_kidneys(tissue: np.ndarray, mask: np.ndarray) -> None:
    """Kidneys under one value: what lies right of the middle of both is the right one."""
    x = np.flatnonzero(mask.any(axis=(1, 2)))
    right = mask.copy()
    right[: int(x.mean()) + 1] = False
    tissue[right] = CODES["kidney_right_cortex"]


def _to_cubes(data: np.ndarray, affine: np.ndarray, spacing_mm: float):
    """Nearest-neighbour resampling to cubic voxels over the same box, with room for the arms."""
    step = np.diag(affine)[:3]
    pad = np.array([150.0, 70.0, 0.0])
    size = (np.array(data.shape) - 1) * step + 2 * pad
    shape = np.floor(size / spacing_mm).astype(int) + 1
    grid = np.diag([spacing_mm] * 3 + [1.0])
    grid[:3, 3] = affine[:3, 3] - pad
    out = scipy.ndimage.affine_transform(
        data, spacing_mm / step, (grid[:3, 3] - affine[:3, 3]) / step, tuple(shape), order=0
    )
    return out, grid


# Structure (by tissue) -> height (mm) of its top or its middle in the reference body.
_LANDMARKS: dict[str, tuple[str, float]] = {
    "white_matter": ("middle", 1668),
    "lung": ("top", 1452),
    "liver": ("top", 1282),
    "heart_blood": ("middle", 1312),
    "kidney_left_cortex": ("middle", 1158),
    "kidney_right_cortex": ("middle", 1146),
    "bladder": ("middle", 922),
}


def _fitted_frame(organs: np.ndarray, affine: np.ndarray) -> Frame | None:
    """The reference body fitted to the labelled organs: heights by landmarks, width by the lungs.

    None if fewer than two landmarks are labelled.
    """
    z = affine[2, 3] + affine[2, 2] * np.arange(organs.shape[2])
    found = []
    for name, (kind, height) in _LANDMARKS.items():
        where = np.flatnonzero((organs == CODES[name]).any(axis=(0, 1)))
        if where.size:
            found.append((z[where[-1]] if kind == "top" else z[where].mean(), height))
    if len(found) < 2 or np.ptp([f[0] for f in found]) < 60:
        return None
    slope, offset = np.polyfit(*np.array(found).T, 1)
    slope = float(np.clip(slope, 0.7, 1.4))
    offset = float(np.mean([h - slope * w for w, h in found]))
    inner = organs == CODES["lung"] if (organs == CODES["lung"]).any() else organs > 0
    ends = []
    for axis in (0, 1):
        where = np.flatnonzero(inner.any(axis=tuple(i for i in range(3) if i != axis)))
        ends.append(affine[axis, 3] + affine[axis, axis] * where[[0, -1]])
    width = float(np.clip((ends[0][1] - ends[0][0]) / 258, 0.8, 1.3))
    middle = [float(e.mean()) for e in ends]
    return Frame((width, width, 1 / slope), origin=(-middle[0] / width, -8 - middle[1] / width, offset))


def _fill_body(organs: np.ndarray, affine: np.ndarray, person: Person) -> np.ndarray:
    """Rules 1 and 2: the fitted outline and the hull; skin, fat, muscle, fat inside; the organs."""
    spacing_mm = float(affine[0, 0])
    hull = _hull_field(organs, spacing_mm)
    tissue = np.zeros(organs.shape, np.uint8)
    frame = _fitted_frame(organs, affine)
    lean, skin = hull - 16, hull - 30
    if frame is not None:
        axes = [affine[i, 3] + spacing_mm * np.arange(n) for i, n in enumerate(organs.shape)]
        outline = Canvas(frame, [a[0] - 6 for a in axes], [a[-1] + 6 for a in axes], 6.0)
        fields = (upsample(f, outline, axes) for f in outline_fields(outline, person))
        lean, skin = (np.minimum(a, b) for a, b in zip((lean, skin), fields, strict=True))
    tissue[skin < 0] = CODES["skin"]
    tissue[skin < -2] = CODES["fat"]
    tissue[(lean < 0) & (skin < -2)] = CODES["muscle"]
    tissue[hull < 0] = CODES["visceral_fat"]
    if frame is not None:
        _, y, z = frame.axes(*axes)
        belly = (y > -62)[None, :, None] & ((z > 880) & (z < 1180))[None, None, :]
        wall = 15 + 0.7 * np.maximum(1005 - z, 0)  # thicker in the pelvis, which narrows
        tissue[belly & (lean < -wall[None, None, :])] = CODES["visceral_fat"]
    tissue[organs > 0] = organs[organs > 0]
    return tissue


def _borrow_bones(tissue: np.ndarray, organs: np.ndarray, affine: np.ndarray) -> None:
    """Rule 7: bones of the fitted reference adult where the body is and no organ."""
    frame = _fitted_frame(organs, affine)
    if frame is None:
        return
    low = affine[:3, 3]
    high = low + (np.array(tissue.shape) - 1.5) * affine[0, 0]
    canvas = Canvas(frame, low, high, float(affine[0, 0]))
    for paint in (paint_spine, paint_sacrum, paint_ribs, paint_pelvis, paint_legs):
        paint(canvas)
    bones = np.isin(canvas.tissue, [CODES[n] for n in _BORROWED]) & (organs == 0)
    bones &= ~np.isin(tissue, [CODES["air"], CODES["skin"]])
    tissue[bones] = canvas.tissue[bones]


_BORROWED = ("cortical_bone", "marrow", "yellow_marrow", "cartilage", "disc", "cord", "csf")


def _hull_field(organs: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Distance (mm) to the hull of the organs, slice by slice, smoothed along z."""
    from skimage.morphology import convex_hull_image

    coarse = max(round(6 / spacing_mm), 1)
    small = organs[::coarse, ::coarse, ::coarse] > 0
    hull = np.zeros(small.shape, np.float32)
    for k in range(small.shape[2]):
        if small[:, :, k].sum() > 2:
            hull[:, :, k] = convex_hull_image(small[:, :, k])
    step = coarse * spacing_mm
    hull = scipy.ndimage.gaussian_filter1d(hull, 12 / step, axis=2, mode="nearest") > 0.35
    field = scipy.ndimage.distance_transform_edt(~hull, sampling=step)
    field = (field - scipy.ndimage.distance_transform_edt(hull, sampling=step)).astype(np.float32)
    return scipy.ndimage.affine_transform(field, [1 / coarse] * 3, 0, organs.shape, order=1, mode="nearest")


def _depth_in(mask: np.ndarray, spacing_mm: float):
    """Box of a mask and the depth (mm) below its surface in that box; None where it is empty."""
    boxes = scipy.ndimage.find_objects(mask.astype(np.uint8))
    if not boxes or boxes[0] is None:
        return None
    box = tuple(slice(max(b.start - 1, 0), b.stop + 1) for b in boxes[0])
    return box, scipy.ndimage.distance_transform_edt(mask[box], sampling=spacing_mm)


def _layer_brain(tissue, organs, spacing_mm, rng) -> None:
    """Rule 3."""
    mask = organs == CODES["white_matter"]
    found = _depth_in(mask, spacing_mm)
    if not found:
        return
    box, depth = found
    fold = np.abs(texture(rng, depth.shape, 14 / spacing_mm)) < 0.45
    tissue[box][(depth > 0) & ((depth < 3.5) | (fold & (depth < 22)))] = CODES["grey_matter"]
    grown = tuple(slice(max(b.start - 8, 0), b.stop + 8) for b in box)
    away = scipy.ndimage.distance_transform_edt(~mask[grown], sampling=spacing_mm)
    tissue[grown][(away > 0) & (away < 6) & (organs[grown] == 0)] = CODES["cortical_bone"]


def _layer_kidneys(tissue, organs, spacing_mm, rng) -> None:
    """Rule 4."""
    for name in ("kidney_left", "kidney_right"):
        found = _depth_in(organs == CODES[f"{name}_cortex"], spacing_mm)
        if found:
            box, depth = found
            tissue[box][depth > 7] = CODES[f"{name}_medulla"]
            tissue[box][depth > 14] = CODES[f"{name}_pelvis"]


def _layer_heart(tissue, organs, spacing_mm, rng) -> None:
    """Rule 5."""
    found = _depth_in(organs == CODES["heart_blood"], spacing_mm)
    if not found:
        return
    box, depth = found
    axis = np.array([-0.66, 0.50, -0.52])
    where = np.argwhere(depth > 0) * spacing_mm
    along = (where - where.mean(axis=0)) @ axis
    field = np.full(depth.shape, -1e3)
    field[depth > 0] = along
    tissue[box][(depth > 0) & (depth < 3)] = CODES["heart_wall"]
    tissue[box][(depth > 0) & (depth < 10) & (field > np.quantile(along, 0.45))] = CODES["myocardium"]


def _layer_hollow(tissue, organs, spacing_mm, rng) -> None:
    """Rule 6."""
    for name, wall, share in (("stomach", 4.0, 0.25), ("colon", 2.6, 0.40)):
        inside = "stomach_content" if name == "stomach" else "colon_stool"
        found = _depth_in(organs == CODES[inside], spacing_mm)
        if not found:
            continue
        box, depth = found
        tissue[box][(depth > 0) & (depth <= wall)] = CODES[f"{name}_wall"]
        deep = depth > wall
        if deep.any():
            y = np.broadcast_to(np.arange(depth.shape[1])[None, :, None], depth.shape)
            level = np.quantile(y[deep], 1 - share)
            tissue[box][deep & (y > level)] = CODES[f"{name}_gas"]


def _layer_bones(tissue, organs, spacing_mm, rng) -> None:
    """Rule 7."""
    found = _depth_in(organs == CODES["marrow"], spacing_mm)
    if found:
        box, depth = found
        tissue[box][(depth > 0) & (depth <= max(2.0, spacing_mm))] = CODES["cortical_bone"]


_BLADDER_REACH_MM = 40.0


def _bladder_around(organs: np.ndarray, spacing_mm: float):
    """Box, distance (mm) outside the bladder, and level 0; None if there is no bladder."""
    mask = organs == CODES["bladder"]
    found = _depth_in(mask, spacing_mm)
    if not found:
        return None
    more = int(_BLADDER_REACH_MM / spacing_mm)
    box = tuple(slice(max(b.start - more, 0), b.stop + more) for b in found[0])
    return box, scipy.ndimage.distance_transform_edt(~mask[box], sampling=spacing_mm), 0.0
