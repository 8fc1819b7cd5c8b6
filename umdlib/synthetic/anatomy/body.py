"""The outline of the body: muscle surface, skin, and the fat between them."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from umdlib.synthetic.anatomy import kernel
from umdlib.synthetic.anatomy.canvas import (
    FAR,
    Canvas,
    Window,
    draw_capsules,
    ellipsoid,
    over,
    smooth_max,
    smooth_min,
)
from umdlib.synthetic.anatomy.coordinates import line
from umdlib.synthetic.anatomy.person import Person

TRUNK = line("trunk")
_Y_MIDDLE = -5.0
_FAT_PER_BMI = 1.55


def profile(z: np.ndarray, table: np.ndarray, *, step: float = 0.5) -> list[np.ndarray]:
    """Columns 1.. of a table (z, values...) at heights `z`, by monotone cubic interpolation.

    Beyond its ends the table is continued with its end values.
    """
    low = table[0, 0]
    fine = np.arange(low, table[-1, 0] + step, step)
    values = PchipInterpolator(table[:, 0], table[:, 1:], axis=0)(np.minimum(fine, table[-1, 0]))
    index = np.clip((z - np.float32(low)) * np.float32(1 / step), 0, len(fine) - 1).astype(np.int32)
    return [values[:, i].astype(np.float32)[index] for i in range(values.shape[1])]


def section(window: Window, table: np.ndarray, *, power: float = 2.4, y_middle=_Y_MIDDLE) -> np.ndarray:
    """Radial distance (mm) to a surface whose sections are superellipses: width, front, back."""
    a, front, back = profile(window.z, table)
    y = window.y - np.float32(y_middle)
    b = np.where(y > 0, front, back)
    p = np.float32(power)
    ratio = (np.abs(window.x / a) ** p + np.abs(y / b) ** p) ** (1 / p)
    rho = np.sqrt(window.x**2 + y**2)
    return rho - rho / np.maximum(ratio, np.float32(1e-3))


def sex_table(person: Person, table: np.ndarray) -> np.ndarray:
    """The trunk of a woman: narrower shoulders and waist, wider hips; a belly that grows with BMI."""
    table = table.astype(float).copy()
    z = table[:, 0]
    if person.sex == "F":
        table[:, 1] *= 1 + 0.05 * _bump(z, 900, 70) - 0.06 * _bump(z, 1120, 70) - 0.06 * _bump(z, 1380, 90)
    heavy = person.bmi - 24
    belly = _bump(z, 1080, 95) * (1.0 if person.sex == "M" else 0.8)
    table[:, 2] += belly * np.clip(heavy * 3.0 + 3 * person.shape["belly"], -16, 55)
    table[:, 1] += belly * np.clip(heavy * 1.7, -5, 28)
    return table


def _bump(z, centre: float, width: float):
    """Gaussian of height 1."""
    return np.exp(-0.5 * ((z - centre) / width) ** 2)


def arms(person: Person, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Joints (N, 3) and lean radii (N,) of one arm; `side` is +1 right, -1 left."""
    bulk = np.sqrt(np.clip(person.bmi, 18, 36) / 25) * (0.88 if person.sex == "F" else 1.0)
    points = line(f"arm {person.arms}")
    if person.arms == "down":  # further from a heavier body
        points[:, 0] += np.array([0, 0.3, 0.7, 1, 1, 0.9, 0.8, 0.8]) * (0.9 * max(person.bmi - 22, 0) * 2.2)
    points[:, 0] *= side
    return points[:, :3], points[:, 3] * bulk


def _lean_field(canvas: Canvas, window: Window, person: Person) -> np.ndarray:
    """Distance (mm) to the outer surface of muscle, in the whole window."""
    table = sex_table(person, TRUNK)
    field = section(window, table)
    field = np.maximum(field, window.z - 1600)
    field = smooth_max(field, 842 - window.z + 0.10 * np.abs(window.x), 40)
    for side in (-1, 1):
        shoulder = capsule(window, (side * 40, -18, 1432), (side * 158, -20, 1404), 38, 50)
        field = smooth_min(field, shoulder, 34)
        thigh = capsule(window, (side * 91, -10, 905), (side * 86, -2, 690), 86, 75)
        field = smooth_min(field, thigh, 20)
        seat = ellipsoid(window, (side * 62, -62, 900), (62, 52, 62))
        field = smooth_min(field, seat, 26)
    head = ellipsoid(window, (0, 4, 1664), (75, 96, 86))
    face = ellipsoid(window, (0, 46, 1600), (58, 56, 76))
    head = smooth_min(head, face, 26)
    head = smooth_min(head, capsule(window, (0, 78, 1545), (0, 80, 1555), 20, 24), 24)
    for side in (-1, 1):
        jaw = capsule(window, (side * 51, 10, 1612), (side * 46, 24, 1566), 15, 15)
        head = smooth_min(head, jaw, 14)
    head = smooth_min(head, capsule(window, (0, 98, 1632), (0, 112, 1604), 7, 11), 10)
    for side in (-1, 1):
        head = smooth_min(head, capsule(window, (side * 74, -6, 1640), (side * 80, -12, 1612), 9, 8), 8)
    field = smooth_min(field, head, 22)
    for side in (-1, 1):
        points, radii = arms(person, side)
        arm = canvas.tube(window, points, radii, reach=90.0)
        field = smooth_min(field, arm, 12)
    return field


def capsule(window: Window, p, q, a: float, b: float) -> np.ndarray:
    """Distance (mm) to a capsule from `p` (radius a) to `q` (radius b)."""
    out = np.full(window.tissue.shape, FAR, np.float32)
    everywhere = np.stack([np.zeros(3, int), out.shape], axis=1)
    draw_capsules(window, everywhere[None], ([p], [q], [a], [b]), out)
    return out


def _fat_thickness(window: Window, person: Person) -> np.ndarray:
    """Thickness (mm) of subcutaneous fat, incl. skin: thick on hips and belly, thin on head."""
    mean = np.clip(_FAT_PER_BMI * (person.bmi - 15.5), 3, 38) * (1.15 if person.sex == "F" else 0.85)
    z = np.array([700, 800, 880, 950, 1040, 1120, 1230, 1330, 1420, 1480, 1530, 1570, 1620, 1900.0])
    share = np.array([0.75, 0.85, 1.15, 1.15, 1.1, 1.0, 0.7, 0.6, 0.5, 0.42, 0.32, 0.2, 0.14, 0.12])
    (rel,) = profile(window.z, np.stack([z, share], axis=1))
    y = window.y - np.float32(_Y_MIDDLE)
    angle = y / np.sqrt(window.x**2 + y**2 + 25)
    trunk = np.clip((1500 - window.z) / 120, 0, 1)
    rel = rel * (1 + trunk * (0.18 * angle**2 - 0.22 * np.maximum(angle, 0) * (window.z > 1200)))
    arm = np.clip((np.abs(window.x) - 185) / 25, 0, 1)
    return (3.5 + np.float32(mean) * rel * (1 - 0.45 * arm)).astype(np.float32)


def paint_body(canvas: Canvas, outline: Canvas, lean: np.ndarray, skin: np.ndarray) -> None:
    """Skin, subcutaneous fat and muscle; the smooth outlines are computed on a coarse canvas.

    Linear interpolation between its points is wrong by spacing² / (8 x radius of curvature), 0.2 mm.
    """
    for window in canvas.slabs():
        axes = [a[b] for a, b in zip(canvas.axes_mm, window.box, strict=True)]
        muscle, outer = (upsample(f, outline, axes) for f in (lean, skin))
        canvas.paint(window, outer < 0, "skin")
        canvas.paint(window, outer < -2.0, "fat")
        canvas.paint(window, (muscle < 0) & (outer < -2.0), "muscle")


def outline_fields(canvas: Canvas, person: Person) -> tuple[np.ndarray, np.ndarray]:
    """Distances (mm) to the surface of muscle, to the skin."""
    window = canvas.whole()
    lean = _lean_field(canvas, window, person)
    skin = lean - _fat_thickness(window, person)
    if person.sex == "F":
        skin = smooth_min(skin, _breasts(window, person), 22)
    return lean, skin


def upsample(field: np.ndarray, canvas: Canvas, axes_mm) -> np.ndarray:
    """A field of a coarse canvas on world axes, linearly."""
    indices = []
    for n, (axis, own) in enumerate(zip(axes_mm, canvas.axes_mm, strict=True)):
        index = np.clip((axis - own[0]) / canvas.spacing_mm, 0, field.shape[n] - 1.0001)
        indices += [index.astype(np.int64), (index % 1).astype(np.float32)]
    out = np.empty(tuple(len(a) for a in axes_mm), np.float32)
    kernel.upsample(field, *indices, out)
    return out


def _breasts(window: Window, person: Person, *, gland: bool = False) -> np.ndarray:
    """Distance to both breasts of a supine woman, flat and to the side; or to the glands in them."""
    size = np.clip(0.85 + 0.035 * (person.bmi - 22), 0.65, 1.5)
    radii = np.array([34, 16, 32]) if gland else np.array([64, 40, 60])
    y = 100 if gland else 92
    return np.minimum(*(ellipsoid(window, (side * 88, y, 1274), radii * size) for side in (-1, 1)))


def paint_glands(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """Glandular tissue in strands behind the nipples; it gives way to fat with age."""
    if person.sex != "F":
        return
    w = canvas.window((-160, 40, 1190), (160, 190, 1360))
    field = _breasts(w, person, gland=True) + 4 * w.random(rng, 8.0, 1.0) + 0.12 * (person.age - 45)
    canvas.paint(w, field < 0, "breast", over("fat"))
