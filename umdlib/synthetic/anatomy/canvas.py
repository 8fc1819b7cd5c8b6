"""A grid that anatomy is painted on, seen in the coordinates of a reference adult."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from umdlib.synthetic.anatomy import kernel
from umdlib.synthetic.anatomy.noise import SplineField
from umdlib.synthetic.anatomy.person import REFERENCE_HEIGHT_MM, Person
from umdlib.synthetic.anatomy.tissue import CODES

# Reference body (mm): x to the right, y to the front, z up from the soles.
LOW, HIGH = np.array([-330.0, -200.0, 700.0]), np.array([330.0, 260.0, 1900.0])
Z_ORIGIN = 1100.0
FAR = np.float32(1e3)


@dataclass(frozen=True)
class Frame:
    """From world (RAS+, mm) to the reference adult: size of the person, then smooth deformation."""

    scale: tuple[float, float, float]
    warps: tuple[tuple[SplineField, ...], ...] = ((), (), ())
    origin: tuple[float, float, float] = (0.0, 0.0, Z_ORIGIN)

    def axes(self, x, y, z):
        """World axes (mm) to reference axes before the deformation."""
        return tuple(a / s + o for a, s, o in zip((x, y, z), self.scale, self.origin, strict=True))

    def reference(self, x, y, z) -> list[np.ndarray]:
        """Reference coordinates, three arrays (len(x), len(y), len(z)) float32."""
        axes = self.axes(x, y, z)
        full = tuple(len(a) for a in axes)
        out = []
        for axis, fields in enumerate(self.warps):
            shape = [1, 1, 1]
            shape[axis] = -1
            value = axes[axis].astype(np.float32).reshape(shape)
            for field in fields:
                value = value + field.on_axes(*axes)
            out.append(np.ascontiguousarray(np.broadcast_to(value, full)))
        return out

    def world(self, points: np.ndarray) -> np.ndarray:
        """World points (N, 3) of reference points (N, 3): the deformation inverted."""
        points = np.atleast_2d(np.asarray(points, float))
        guess = points.copy()
        for _ in range(4):
            shift = [sum((f.at(guess) for f in fs), np.zeros(len(guess))) for fs in self.warps]
            guess = points - np.stack(shift, axis=1)
        return (guess - self.origin) * self.scale


def draw_frame(person: Person, rng: np.random.Generator) -> Frame:
    """The frame of a person: stature scales z, the root of it the widths; two scales of warp."""
    tall = person.height_cm * 10 / REFERENCE_HEIGHT_MM
    wide = tall**0.7 * (0.955 if person.sex == "F" else 1.0)
    warps = []
    for sd_wide, sd_fine in ((2.6, 1.0), (2.6, 1.0), (2.8, 1.0)):
        warps.append(
            tuple(SplineField(rng, LOW, HIGH, mm, sd) for mm, sd in ((110.0, sd_wide), (42.0, sd_fine)))
        )
    return Frame((wide, wide, tall), tuple(warps))


class Window:
    """A box of the canvas: views of its coordinates and tissues."""

    def __init__(self, canvas: Canvas, box: tuple[slice, slice, slice], corners=(LOW, HIGH)):
        """Take the views; `corners` are its reference coordinates, the box of its random fields."""
        self.box, self.corners = box, corners
        self.start = np.array([s.start or 0 for s in box])
        self.x, self.y, self.z = (c[box] for c in canvas.coordinates)
        self.tissue = canvas.tissue[box]
        self.canvas = canvas

    def random(self, rng, knots_mm: float, sd: float) -> np.ndarray:
        """A smooth random field over the window, drawn for its corners."""
        return self.values(SplineField(rng, *self.corners, knots_mm, sd))

    def values(self, field: SplineField) -> np.ndarray:
        """Values of a field in the window."""
        return field.on_axes(*self.axes())

    def axes(self):
        """Reference axes (mm) of the window before the deformation."""
        return self.canvas.frame.axes(*(a[b] for a, b in zip(self.canvas.axes_mm, self.box, strict=True)))


class Canvas:
    """Tissue codes on a grid, and each voxel's place in the reference adult."""

    def __init__(self, frame: Frame, low_mm, high_mm, spacing_mm: float):
        """Lay out the grid and find every voxel's reference coordinates."""
        self.frame, self.spacing_mm = frame, float(spacing_mm)
        count = np.ceil((np.asarray(high_mm) - low_mm) / spacing_mm).astype(int) + 1
        self.axes_mm = [a + spacing_mm * np.arange(n) for a, n in zip(low_mm, count, strict=True)]
        self.affine = np.diag([spacing_mm] * 3 + [1.0])
        self.affine[:3, 3] = [a[0] for a in self.axes_mm]
        self.coordinates = tuple(frame.reference(*self.axes_mm))
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
        ends = self._box(world.min(axis=0) - margin, world.max(axis=0) + margin)
        box = tuple(slice(*two) for two in ends.tolist())
        return Window(self, box, (np.asarray(low, float), np.asarray(high, float)))

    def whole(self) -> Window:
        """All of it."""
        return Window(self, tuple(slice(0, n) for n in self.tissue.shape))

    def _box(self, low, high) -> np.ndarray:
        """First and past-last indices (..., 3, 2) of world boxes (..., 3), clipped to the grid."""
        start = np.array([axis[0] for axis in self.axes_mm])
        first = np.floor((low - start) / self.spacing_mm)
        last = np.ceil((high - start) / self.spacing_mm) + 1
        first, last = (np.clip(v, 0, self.tissue.shape).astype(int) for v in (first, last))
        return np.stack([first, np.maximum(first, last)], axis=-1)

    def tube(self, window, points, radii, field=None, *, reach: float = 0.0) -> np.ndarray:
        """Distance (mm) to the surface of a tube through points (N, 3) with radii (N,).

        Exact to about twice the radius (and to `reach` mm), `FAR` further away. With `field`, the
        minimum of both, in place.
        """
        points = np.asarray(points, float)
        radii = np.broadcast_to(np.asarray(radii, float), len(points))
        ends = points[:-1], points[1:], radii[:-1], radii[1:]
        return self.segments(window, *ends, field=field, reach=reach)

    def strand(self, window, points, n: int, field=None) -> np.ndarray:
        """Distance (mm) to a tube along `n` points of the curve through (x, y, z, radius) points."""
        line = curve(points, n)
        return self.tube(window, line[:, :3], line[:, 3], field)

    def slabs(self):
        """Windows of 64 slices that cover the canvas from bottom to top."""
        full = slice(None)
        for start in range(0, self.tissue.shape[2], 64):
            yield Window(self, (full, full, slice(start, start + 64)))

    def segments(self, window, start, stop, a, b, *, field=None, reach: float = 0.0) -> np.ndarray:
        """Distance (mm) to capsules from `start` (N, 3) with radius `a` (N,) to `stop` with `b`."""
        if field is None:
            field = np.full(window.tissue.shape, FAR, np.float32)
        world = self.frame.world(np.vstack([start, stop]))
        low, high = np.minimum(*np.split(world, 2)), np.maximum(*np.split(world, 2))
        far = np.maximum(np.maximum(a, b) * 2.2 + 4 + self.spacing_mm, reach)[:, None]
        boxes = self._box(low - far, high + far) - window.start[:, None]
        draw_capsules(window, boxes, (start, stop, a, b), field)
        return field

    def paint(self, window: Window, mask: np.ndarray, tissue: str, over: np.ndarray | None = None):
        """Set the tissue where `mask`, only over the tissues of the table `over` (256,) if given."""
        if over is not None:
            mask = mask & over[window.tissue]
        window.tissue[mask] = CODES[tissue]
        return mask


def draw_capsules(window: Window, boxes: np.ndarray, capsules, field: np.ndarray) -> None:
    """Lower a window's distances (mm) to capsules (start, stop, radii), each in its box (N, 3, 2)."""
    boxes = np.clip(boxes, 0, np.array(field.shape)[:, None])
    capsules = [np.ascontiguousarray(v, float) for v in capsules]
    kernel.capsules(window.canvas.coordinates, window.start, boxes, *capsules, field)


def over(*names: str) -> np.ndarray:
    """Table (256,) bool: the tissues that may be painted over."""
    table = np.zeros(256, bool)
    table[[CODES[n] for n in names]] = True
    return table


def level_for(field: np.ndarray, allowed: np.ndarray, voxels: float, *, most: float = 12.0) -> float:
    """Level of a distance field at which `field < level` holds `voxels` of the allowed voxels.

    Kept within ± `most` mm, so that a crowded organ is smaller rather than misshapen.
    """
    values = field[allowed]
    n = round(voxels)
    if values.size == 0 or n >= values.size:
        return most
    return float(np.clip(np.partition(values, n)[n], -most, most))


def ellipsoid(window: Window, centre, radii, axes=None) -> np.ndarray:
    """Approximate distance (mm) to an ellipsoid; `axes` (3, 3) rows are its directions."""
    out = np.empty(window.tissue.shape, np.float32)
    rows = np.eye(3) if axes is None else np.asarray(axes, float)
    inverse = 1 / np.asarray(radii, float)
    scaled = (rows * inverse[:, None]).astype(np.float32)
    centre, inverse = np.array(centre, np.float32), inverse.astype(np.float32)
    kernel.ellipsoid(window.canvas.coordinates, window.start, centre, scaled, inverse, out)
    return out


def smooth_min(a: np.ndarray, b: np.ndarray, k: float) -> np.ndarray:
    """Union of two distance fields, rounded over `k` mm (polynomial, C1)."""
    out = np.empty(np.broadcast_shapes(a.shape, b.shape), np.float32)
    a, b = (np.ascontiguousarray(np.broadcast_to(v, out.shape), np.float32) for v in (a, b))
    kernel.smooth_min(a.ravel(), b.ravel(), float(k), out.reshape(-1))
    return out


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
