"""Fat between and around the muscles, without which a body looks like a mannequin."""

from __future__ import annotations

import numpy as np

from umdlib.synthetic.anatomy import kernel
from umdlib.synthetic.anatomy.body import profile
from umdlib.synthetic.anatomy.canvas import HIGH, LOW, Canvas, ellipsoid, over
from umdlib.synthetic.anatomy.coordinates import line
from umdlib.synthetic.anatomy.noise import SplineField
from umdlib.synthetic.anatomy.person import Person
from umdlib.synthetic.anatomy.tissue import CODES

_SEPTA = line("septa")
# Width (mm) of a muscle in thigh and trunk, and in arm and neck.
WIDE_MM, NARROW_MM = 34.0, 21.0
TABLE = 64  # cells along each side before their offsets repeat


def paint_septa(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """Septa of fat between the muscles: cells around scattered points, long in the body's axis.

    The cells are those of Voronoi around a jittered grid in the transverse plane (Worley, A
    cellular texture basis function, SIGGRAPH 1996); smooth displacements bend them along the body.
    """
    bend = [SplineField(rng, LOW, HIGH, (34, 34, 105), 6.0) for _ in "xy"]
    uneven = SplineField(rng, LOW, HIGH, (24, 24, 60), 0.45)
    offsets = rng.uniform(0.12, 0.88, (TABLE, TABLE, 2)).astype(np.float32)
    half_mm = np.clip(0.95 + 0.025 * (person.bmi - 24) + 0.012 * (person.age - 50), 0.5, 1.7)
    for w in canvas.slabs():
        (share,) = profile(w.axes()[2].astype(np.float32), _SEPTA)
        limit = (share * np.float32(half_mm))[None, None, :] * (1 + w.values(uneven))
        muscle = w.tissue == CODES["muscle"]
        x, y = w.x + w.values(bend[0]), w.y + w.values(bend[1])
        width = np.where((np.abs(w.x) > 185) | (w.z > 1455), NARROW_MM, WIDE_MM).astype(np.float32)
        septum = np.zeros(muscle.shape, bool)
        kernel.cell_borders(x, y, width, limit.astype(np.float32), offsets, muscle, septum)
        canvas.paint(w, septum, "fat")


def paint_fat_pads(canvas: Canvas) -> None:
    """Fat of the armpits, the groins, and beside the rectum."""
    for s in (-1, 1):
        for centre, radii in (
            ((s * 128, -22, 1376), (16, 25, 34)),
            ((s * 30, -50, 872), (17, 24, 24)),
            ((s * 50, -20, 1470), (12, 24, 30)),
        ):
            low = np.array(centre) - radii
            w = canvas.window(low, np.array(centre) + radii)
            canvas.paint(w, ellipsoid(w, centre, radii) < 0, "fat", over("muscle"))
        low, high = sorted((s * 40, s * 110))
        w = canvas.window((low, -20, 740), (high, 80, 980))
        groin = [(s * 54, 12, 965, 12), (s * 70, 38, 922, 16), (s * 72, 42, 880, 15), (s * 82, 20, 760, 9)]
        canvas.paint(w, canvas.strand(w, groin, 20) < 0, "fat", over("muscle"))
