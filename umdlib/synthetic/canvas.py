"""A grid that anatomy is painted on, seen in the coordinates of a reference adult."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from umdlib.synthetic.noise import SplineField
from umdlib.synthetic.person import REFERENCE_HEIGHT_MM, Person
from umdlib.synthetic.tissue import CODES

# Reference body (mm): x to the right, y to the front, z up from the soles.
LOW, HIGH = np.array([-330.0, -200.0, 700.0]), np.array([330.0, 260.0, 1900.0])
Z_ORIGIN = 1100.0
FAR = np.float32(1e3)


@dataclass(frozen=True)
class Frame:
    """From world (RAS+, mm) to the reference adult: size of the person, then smooth deformation."""

    scale: tuple[float, float, float]
    warps: tuple[tuple[SplineField, ...], ...]

    def axes(self, x, y, z):
        """World axes (mm) to reference axes before the deformation."""
        sx, sy, sz = self.scale
        return x / sx, y / sy, z / sz + Z_ORIGIN

    def reference(self, x, y, z) -> list[np.ndarray]:
        """Reference coordinates, three arrays (len(x), len(y), len(z)) float32."""
        axes = self.axes(x, y, z)
        out = []
        for axis, fields in enumerate(self.warps):
            shape = [1, 1, 1]
            shape[axis] = -1
            value = axes[axis].astype(np.float32).reshape(shape)
            for field in fields:
                value = value + field.on_axes(*axes)
            out.append(value)
        return out

    def world(self, points: np.ndarray) -> np.ndarray:
        """World points (N, 3) of reference points (N, 3): the deformation inverted."""
        points = np.atleast_2d(np.asarray(points, float))
        guess = points.copy()
        for _ in range(8):
            shift = np.stack([sum(f.at(guess) for f in fields) for fields in self.warps], axis=1)
            guess = points - shift
        return (guess - [0, 0, Z_ORIGIN]) * self.scale


def draw_frame(person: Person, rng: np.random.Generator, *, strength: float = 1.0) -> Frame:
    """The frame of a person: stature scales z, the root of it the widths; two scales of warp."""
    tall = person.height_cm * 10 / REFERENCE_HEIGHT_MM
    wide = tall**0.7 * (0.955 if person.sex == "F" else 1.0)
    warps = []
    for sd_wide, sd_fine in ((2.6, 1.1), (2.6, 1.1), (3.4, 1.1)):
        warps.append(
            (
                SplineField(rng, LOW, HIGH, 110.0, sd_wide * strength),
                SplineField(rng, LOW, HIGH, 42.0, sd_fine * strength),
            )
        )
    return Frame((wide, wide, tall), tuple(warps))


class Window:
    """A box of the canvas: views of its coordinates and tissues."""

    def __init__(self, canvas: Canvas, box: tuple[slice, slice, slice]):
        self.box = box
        self.x, self.y, self.z = (c[box] for c in canvas.coordinates)
        self.tissue = canvas.tissue[box]
        self.canvas = canvas


class Canvas:
    """Tissue codes on a grid, and each voxel's place in the reference adult.

    Parameters
    ----------
    frame
        World to reference.
    low_mm, high_mm
        World box to cover.
    spacing_mm
        Edge of the cubic voxels.
    """

    def __init__(self, frame: Frame, low_mm, high_mm, spacing_mm: float):
        self.frame, self.spacing_mm = frame, float(spacing_mm)
        count = np.ceil((np.asarray(high_mm) - low_mm) / spacing_mm).astype(int) + 1
        self.axes_mm = [l + spacing_mm * np.arange(n) for l, n in zip(low_mm, count, strict=True)]
        self.affine = np.diag([spacing_mm] * 3 + [1.0])
        self.affine[:3, 3] = [a[0] for a in self.axes_mm]
        self.coordinates = frame.reference(*self.axes_mm)
        self.tissue = np.zeros(tuple(count), np.uint8)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml."""
        return self.spacing_mm**3 / 1000

    def window(self, low, high) -> Window:
        """Window that covers a box of reference coordinates (mm)."""
        corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
        middle = (np.asarray(low, float) + high) / 2
        world = self.frame.world(np.vstack([corners, middle]))
        margin = 8.0
        return Window(self, self._box(world.min(axis=0) - margin, world.max(axis=0) + margin))

    def whole(self) -> Window:
        """All of it."""
        return Window(self, tuple(slice(0, n) for n in self.tissue.shape))

    def _box(self, low, high) -> tuple[slice, slice, slice]:
        """Index box of a world box, clipped to the grid."""
        out = []
        for axis, (a, b) in enumerate(zip(low, high, strict=True)):
            n, start = self.tissue.shape[axis], self.axes_mm[axis][0]
            i = int(np.clip(np.floor((a - start) / self.spacing_mm), 0, n))
            j = int(np.clip(np.ceil((b - start) / self.spacing_mm) + 1, 0, n))
            out.append(slice(i, max(i, j)))
        return tuple(out)

    def tube(self, window: Window, points, radii, field: np.ndarray | None = None) -> np.ndarray:
        """Distance (mm) to the surface of a tube through points (N, 3) with radii (N,).

        Exact near the tube (to twice its radius), `FAR` further away.
        """
        points = np.asarray(points, float)
        radii = np.broadcast_to(np.asarray(radii, float), len(points))
        if field is None:
            field = np.full(window.tissue.shape, FAR, np.float32)
        world = self.frame.world(points)
        reach = radii * 2.2 + 4 + self.spacing_mm
        offset = [s.start for s in window.box]
        for p, q, rp, rq, wp, wq, m in zip(
            points[:-1], points[1:], radii[:-1], radii[1:], world[:-1], world[1:],
            np.maximum(reach[:-1], reach[1:]), strict=True,
        ):  # fmt: skip
            box = self._box(np.minimum(wp, wq) - m, np.maximum(wp, wq) + m)
            inner = tuple(
                slice(min(max(b.start - o, 0), n), min(max(b.stop - o, 0), n))
                for b, o, n in zip(box, offset, window.tissue.shape, strict=True)
            )
            part = field[inner]
            if part.size == 0:
                continue
            d = (q - p).astype(np.float32)
            length2 = max(float(d @ d), 1e-6)
            x, y, z = (
                c[inner] - np.float32(v)
                for c, v in zip((window.x, window.y, window.z), p, strict=True)
            )
            t = np.clip((x * d[0] + y * d[1] + z * d[2]) / np.float32(length2), 0, 1)
            x -= t * d[0]
            y -= t * d[1]
            z -= t * d[2]
            distance = np.sqrt(x * x + y * y + z * z) - (np.float32(rp) + t * np.float32(rq - rp))
            np.minimum(part, distance, out=part)
        return field

    def paint(self, window: Window, mask: np.ndarray, tissue: str, over: np.ndarray | None = None):
        """Set the tissue where `mask`, only over the tissues of the table `over` (256,) if given."""
        if over is not None:
            mask = mask & over[window.tissue]
        window.tissue[mask] = CODES[tissue]
        return mask


def over(*names: str) -> np.ndarray:
    """Table (256,) bool: the tissues that may be painted over."""
    table = np.zeros(256, bool)
    table[[CODES[n] for n in names]] = True
    return table


def level_for(
    field: np.ndarray, allowed: np.ndarray, voxels: float, *, most: float = 12.0
) -> float:
    """Level of a distance field at which `field < level` holds `voxels` of the allowed voxels.

    Kept within ± `most` mm, so that a crowded organ is smaller rather than misshapen.
    """
    values = field[allowed]
    n = int(round(voxels))
    if values.size == 0 or n >= values.size:
        return most
    return float(np.clip(np.partition(values, n)[n], -most, most))


def ellipsoid(window: Window, centre, radii, axes=None) -> np.ndarray:
    """Approximate distance (mm) to an ellipsoid; `axes` (3, 3) rows are its directions."""
    x, y, z = (
        c - np.float32(v) for c, v in zip((window.x, window.y, window.z), centre, strict=True)
    )
    if axes is not None:
        a = np.asarray(axes, np.float32)
        x, y, z = (a[i, 0] * x + a[i, 1] * y + a[i, 2] * z for i in range(3))
    r = [np.float32(v) for v in radii]
    k0 = np.sqrt((x / r[0]) ** 2 + (y / r[1]) ** 2 + (z / r[2]) ** 2)
    k1 = np.sqrt((x / r[0] ** 2) ** 2 + (y / r[1] ** 2) ** 2 + (z / r[2] ** 2) ** 2)
    return k0 * (k0 - 1) / np.maximum(k1, np.float32(1e-6))


def smooth_min(a: np.ndarray, b: np.ndarray, k: float) -> np.ndarray:
    """Union of two distance fields, rounded over `k` mm (polynomial, C1)."""
    h = np.maximum(np.float32(k) - np.abs(a - b), 0) / np.float32(k)
    return np.minimum(a, b) - h * h * np.float32(k / 4)


def smooth_max(a: np.ndarray, b: np.ndarray, k: float) -> np.ndarray:
    """Intersection of two distance fields, rounded over `k` mm."""
    return -smooth_min(-a, -b, k)


def axes_along(direction, up=(0, 0, 1)) -> np.ndarray:
    """Rows of an orthonormal frame whose first axis is `direction`."""
    a = np.asarray(direction, float)
    a = a / np.linalg.norm(a)
    b = np.cross(up, a)
    b = b / np.linalg.norm(b)
    return np.stack([a, b, np.cross(a, b)])


def curve(points, n: int) -> np.ndarray:
    """`n` points on the smooth curve (cubic, chord length) through the given points (M, D)."""
    from scipy.interpolate import CubicSpline, PchipInterpolator

    points = np.asarray(points, float)
    step = np.linalg.norm(np.diff(points[:, :3], axis=0), axis=1) ** 0.5
    s = np.concatenate([[0], np.cumsum(step)])
    at = np.linspace(0, s[-1], n)
    place = CubicSpline(s, points[:, :3], bc_type="natural")(at)
    if points.shape[1] == 3:
        return place
    return np.hstack([place, PchipInterpolator(s, points[:, 3:])(at)])
