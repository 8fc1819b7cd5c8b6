"""Fat between and around the muscles, without which a body looks like a mannequin."""

from __future__ import annotations

import numpy as np

from umdlib.synthetic.body import profile
from umdlib.synthetic.canvas import HIGH, LOW, Canvas, Window, curve, ellipsoid, over
from umdlib.synthetic.noise import SplineField
from umdlib.synthetic.person import Person

# Half thickness of the sheets of fat in units of the field: z, share.
SHEETS = np.array([
    (700, 1.15), (880, 1.25), (960, 1.2), (1040, 0.8), (1150, 0.6), (1260, 0.7), (1380, 1.1),
    (1470, 1.2), (1560, 1.0), (1640, 0.3),
])  # fmt: skip


def paint_sheets(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """Thin sheets of fat in all muscle: the zero level of smooth fields, long in the body's axis."""
    fields = [
        SplineField(rng, LOW, HIGH, (15, 15, 70), 1.0),
        SplineField(rng, LOW, HIGH, (22, 22, 90), 1.0),
    ]
    width = 0.066 + 0.0016 * (person.bmi - 24) + 0.0007 * (person.age - 50)
    full = slice(None)
    for start in range(0, canvas.tissue.shape[2], 64):
        box = (full, full, slice(start, start + 64))
        w = Window(canvas, box)
        axes = canvas.frame.axes(*(a[b] for a, b in zip(canvas.axes_mm, box, strict=True)))
        (share,) = profile(axes[2].astype(np.float32), SHEETS)
        limit = (share * np.clip(width, 0.04, 0.12))[None, None, :]
        sheet = np.abs(fields[0].on_axes(*axes)) < limit
        sheet |= np.abs(fields[1].on_axes(*axes)) < 0.8 * limit
        canvas.paint(w, sheet, "fat", over("muscle"))


def paint_fat_pads(canvas: Canvas) -> None:
    """Fat of the armpits, the groins, and beside the rectum."""
    for s in (-1, 1):
        for centre, radii in (
            ((s * 128, -22, 1376), (22, 30, 40)),
            ((s * 30, -50, 872), (17, 24, 24)),
            ((s * 50, -20, 1470), (12, 24, 30)),
        ):
            low = np.array(centre) - radii
            w = canvas.window(low, np.array(centre) + radii)
            canvas.paint(w, ellipsoid(w, centre, radii) < 0, "fat", over("muscle"))
        w = canvas.window(
            sorted((s * 40, s * 110))[:1] + [-20, 740], sorted((s * 40, s * 110))[1:] + [80, 980]
        )
        line = curve(
            [
                (s * 54, 12, 965, 12),
                (s * 70, 38, 922, 16),
                (s * 72, 42, 880, 15),
                (s * 82, 20, 760, 9),
            ],
            20,
        )
        canvas.paint(w, canvas.tube(w, line[:, :3], line[:, 3]) < 0, "fat", over("muscle"))
