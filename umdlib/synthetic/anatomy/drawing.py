"""The anatomy of a person as one map of tissues, and the label map drawn on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from umdlib.errors import InputError
from umdlib.images.volume import LabelMap
from umdlib.synthetic.anatomy import abdomen, body, bowel, head, muscle, skeleton, thorax
from umdlib.synthetic.anatomy.canvas import HIGH, LOW, Z_ORIGIN, Canvas, Frame, draw_frame
from umdlib.synthetic.anatomy.person import Person
from umdlib.synthetic.anatomy.tissue import label_of_code

COARSEST_MM = 5.0
FLOOR_MM, TOP_MM = 742.0, 1786.0


@dataclass(frozen=True)
class Anatomy:
    """Tissues of one person on a cubic grid.

    Attributes
    ----------
    tissue
        (I, J, K) uint8, codes of `umdlib.synthetic.anatomy.tissue`.
    affine
        (4, 4), voxel to world (RAS+, mm).
    person
        Who.
    frame
        World to reference body; None where the map was not drawn by this module.
    bladder
        (box, distance field, level) of the bladder, so that it can fill; None if not known.
    heights
        (scale, offset) from world z (mm) to the height in the reference body; None if not known.
    """

    tissue: np.ndarray
    affine: np.ndarray
    person: Person | None = None
    frame: Frame | None = None
    bladder: tuple | None = None
    heights: tuple[float, float] | None = None

    @property
    def label_map(self) -> LabelMap:
        """The structures of `umdlib.labels` on the anatomy's grid."""
        return LabelMap(label_of_code()[self.tissue], self.affine, "anatomy")


def draw_anatomy(person: Person, *, spacing_mm: float = 2.0) -> Anatomy:
    """Paint a person's anatomy.

    Parameters
    ----------
    person
        Who; `person.shape_seed` seeds every random field.
    spacing_mm
        Edge of the cubic voxels, 1 to 5 mm. The same person is the same body on any grid.

    Raises
    ------
    InputError
        If the spacing is not positive or too coarse for the thinnest structure.
    """
    if not 0 < spacing_mm <= COARSEST_MM:
        raise InputError(
            f"Invalid spacing {spacing_mm} mm. Must be above 0 and at most {COARSEST_MM} mm: "
            "the oesophagus is 12-15 mm thick."
        )
    streams = np.random.SeedSequence(person.shape_seed).spawn(16)
    rng = iter([np.random.default_rng(s) for s in streams])
    frame = draw_frame(person, next(rng))
    outline = _outline_canvas(frame, person)
    lean, skin = body.outline_fields(outline, person)
    canvas = Canvas(frame, *_body_box(outline, frame, skin), spacing_mm)
    body.paint_body(canvas, outline, lean, skin)
    abdomen.paint_cavity(canvas, person)
    thorax.paint_cavities(canvas, person)
    muscle.paint_septa(canvas, person, next(rng))
    muscle.paint_fat_pads(canvas)
    body.paint_glands(canvas, person, next(rng))
    skeleton.paint_skeleton(canvas, person)
    thorax.paint_mediastinum(canvas, person)
    thorax.paint_heart(canvas, person)
    head.paint_neck(canvas)
    thorax.paint_vessels(canvas, person)
    thorax.paint_oesophagus(canvas, person)
    thorax.paint_lung_vessels(canvas, next(rng))
    abdomen.paint_liver(canvas, person, next(rng))
    abdomen.paint_kidneys(canvas, person, next(rng))
    abdomen.paint_spleen(canvas, person, next(rng))
    abdomen.paint_stomach(canvas, person, next(rng))
    abdomen.paint_pancreas(canvas, person, next(rng))
    bladder = bowel.paint_pelvic_organs(canvas, person, next(rng))
    bowel.paint_colon(canvas, person, next(rng))
    bowel.paint_small_bowel(canvas, person, next(rng))
    head.paint_head(canvas, person, next(rng))
    window, field, level = bladder
    heights = (1 / frame.scale[2], Z_ORIGIN)
    return Anatomy(canvas.tissue, canvas.affine, person, frame, (window.box, field, level), heights)


_OUTLINE_MM = 6.0


def _field_of_view(frame: Frame) -> np.ndarray:
    """Heights (mm, world) of the lower and the upper end: mid-thigh to above the head."""
    return frame.scale[2] * (np.array([FLOOR_MM, TOP_MM]) - Z_ORIGIN)


def _outline_canvas(frame: Frame, person: Person) -> Canvas:
    """A coarse canvas that any body fits in."""
    wide = np.array([*frame.scale[:2], 1.0])
    bottom, top = _field_of_view(frame)
    low = np.array([LOW[0], LOW[1], 0]) * wide + [0, 0, bottom - _OUTLINE_MM]
    high = np.array([HIGH[0], HIGH[1], 0]) * wide + [0, 0, top + _OUTLINE_MM]
    return Canvas(frame, low, high, _OUTLINE_MM)


def _body_box(outline: Canvas, frame: Frame, skin: np.ndarray):
    """World box (low, high) of the body in the field of view."""
    filled = np.argwhere(skin < 0)
    ends = [a[i] for a, i in zip(outline.axes_mm, filled.min(axis=0), strict=True)]
    low = np.array(ends) - 12.0
    ends = [a[i] for a, i in zip(outline.axes_mm, filled.max(axis=0), strict=True)]
    high = np.array(ends) + 12.0
    low[2], high[2] = _field_of_view(frame)
    return low, high
