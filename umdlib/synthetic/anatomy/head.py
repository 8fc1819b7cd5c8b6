"""Head and neck: skull, brain, eyes, air spaces, glands, thyroid."""

from __future__ import annotations

import numpy as np

from umdlib.synthetic.anatomy.body import capsule
from umdlib.synthetic.anatomy.canvas import Canvas, curve, ellipsoid, level_for, over, smooth_max, smooth_min
from umdlib.synthetic.anatomy.coordinates import line
from umdlib.synthetic.anatomy.noise import SplineField
from umdlib.synthetic.anatomy.person import Person


def _brain_shape(w) -> np.ndarray:
    """Distance to cerebrum, cerebellum and stem together."""
    cerebrum = ellipsoid(w, (0, 2, 1676), (64, 82, 60))
    temporal = np.minimum(*(ellipsoid(w, (s * 40, 14, 1634), (20, 38, 20)) for s in (-1, 1)))
    cerebellum = ellipsoid(w, (0, -46, 1630), (48, 31, 25))
    stem = capsule(w, (0, -14, 1650), (0, -24, 1606), 15, 8)
    field = smooth_min(smooth_min(cerebrum, temporal, 10), smooth_min(cerebellum, stem, 6), 6)
    sella = ellipsoid(w, (0, 22, 1612), (21, 34, 24))
    field = smooth_max(field, -sella, 10)
    rise = np.clip((w.y - 22) / 34, 0, 1)
    base = 1588 + 56 * rise * rise * (3 - 2 * rise) - w.z
    return smooth_max(field, base, 12)


def paint_head(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """Skull around the brain; face bones, mandible, teeth, sinuses, eyes; then the brain."""
    w = canvas.window((-85, -110, 1520), (85, 125, 1770))
    brain = _brain_shape(w)
    level = level_for(brain, np.ones_like(brain, bool), person.volumes_ml["brain"] / canvas.voxel_ml)
    brain = brain - level
    fold = SplineField(rng, (-120, -150, 1500), (120, 150, 1800), 9.5, 1.0)
    _paint_skull(canvas, w, brain)
    _paint_face(canvas, w)
    _paint_brain(canvas, w, brain, w.values(fold))


def _paint_skull(canvas: Canvas, w, brain: np.ndarray) -> None:
    """Vault with diploe at a few mm around the brain; base with the foramen magnum."""
    hole = np.sqrt(w.x**2 + (w.y + 24) ** 2) - 15
    thick = 4.2 + 4.3 * np.clip((w.z - 1646) / 20, 0, 1)
    vault = np.maximum(brain - thick, 1600 - w.z)
    vault = np.maximum(vault, np.where(w.z < 1618, -hole, -50))
    canvas.paint(w, vault < 0, "cortical_bone")
    canvas.paint(w, (vault < -2.2) & (brain > 4.6) & (w.z > 1640), "marrow")
    canvas.paint(w, brain < 2.4, "csf")
    for s in (-1, 1):
        petrous = capsule(w, (s * 54, -18, 1614), (s * 16, 2, 1622), 9, 6)
        canvas.paint(w, petrous < 0, "cortical_bone", over("muscle", "fat", "csf"))


_BODY = over("muscle", "fat")


def _paint_face(canvas: Canvas, w) -> None:
    """Facial bones, jaw, teeth, air spaces, eyes, tongue, glands; each gives way to those before it."""
    _paint_upper_face(canvas, w)
    _paint_jaw(canvas, w)
    _paint_air_spaces(canvas, w)
    _paint_eyes_and_glands(canvas, w)


def _paint_upper_face(canvas: Canvas, w) -> None:
    """Palate, upper teeth's bed, cheek bones, brows, and what holds them."""
    palate = np.maximum(ellipsoid(w, (0, 56, 1586), (27, 32, 30)), np.abs(w.z - 1588) - 2.6)
    canvas.paint(w, palate < 0, "cortical_bone", _BODY)
    arch = [(-26, 40, 1578), (-21, 66, 1578), (0, 77, 1578), (21, 66, 1578), (26, 40, 1578)]
    alveolus = canvas.tube(w, curve(arch, 24), 6)
    canvas.paint(w, alveolus < 0, "cortical_bone", _BODY)
    canvas.paint(w, alveolus < -2, "marrow")
    for s in (-1, 1):
        zygoma = [(s * 36, 74, 1614), (s * 52, 58, 1616), (s * 62, 30, 1618), (s * 64, 4, 1618)]
        brow = [(s * 10, 88, 1664), (s * 32, 88, 1668), (s * 52, 66, 1656), (s * 52, 60, 1622)]
        pillar = capsule(w, (s * 20, 78, 1584), (s * 12, 84, 1650), 4, 4)
        pterygoid = capsule(w, (s * 20, 24, 1586), (s * 18, 22, 1620), 3, 4)
        arches = canvas.tube(w, curve(zygoma, 20), 4.2), canvas.tube(w, curve(brow, 20), 5)
        for part in (*arches, pillar, pterygoid):
            canvas.paint(w, part < 0, "cortical_bone", _BODY)


def _paint_jaw(canvas: Canvas, w) -> None:
    """Mandible and both rows of teeth."""
    side = [(52, 2, 1606), (50, 14, 1565), (34, 60, 1546)]
    arch = [*((-x, y, z) for x, y, z in side), (0, 84, 1543), *side[::-1]]
    jaw = canvas.tube(w, curve(arch, 40), 7.0)
    canvas.paint(w, jaw < 0, "cortical_bone", _BODY)
    canvas.paint(w, jaw < -3.0, "marrow")
    for z, y in ((1558, 76), (1568, 78)):
        teeth = canvas.tube(
            w, curve([(-28, 42, z), (-22, 64, z), (0, y, z), (22, 64, z), (28, 42, z)], 24), 4.2
        )
        canvas.paint(w, teeth < 0, "tooth", over("muscle", "fat", "cortical_bone", "marrow"))


def _paint_air_spaces(canvas: Canvas, w) -> None:
    """Nose with its septum, sinuses, mastoids, pharynx."""
    septum = np.maximum(np.abs(w.x) - 0.9, ellipsoid(w, (0, 60, 1608), (5, 38, 18)))
    nose = np.minimum(*(capsule(w, (s * 6, 40, 1612), (s * 6, 96, 1608), 6, 5) for s in (-1, 1)))
    sinus = np.minimum(*(ellipsoid(w, (s * 27, 62, 1612), (12, 14, 15)) for s in (-1, 1)))
    frontal = ellipsoid(w, (0, 84, 1668), (18, 5, 11))
    sphenoid = ellipsoid(w, (0, 22, 1628), (13, 12, 9))
    mastoid = np.minimum(*(ellipsoid(w, (s * 55, -22, 1612), (8, 10, 11)) for s in (-1, 1)))
    canvas.paint(w, septum < 0, "cartilage", _BODY)
    for space in (nose, sinus, frontal, sphenoid, mastoid):
        canvas.paint(w, space < 1.4, "cortical_bone", over("muscle", "fat", "marrow", "csf"))
        canvas.paint(w, space < 0, "airway")
    throat = curve([(0, 36, 1612), (0, 14, 1600), (0, 8, 1575), (0, 8, 1545), (0, 14, 1520)], 20)
    canvas.paint(w, canvas.tube(w, throat, [7, 9, 7] + [7] * 17) < 0, "airway")


def _paint_eyes_and_glands(canvas: Canvas, w) -> None:
    """Tonsils; orbits with eyes and optic nerves; salivary glands."""
    tonsil = np.minimum(*(ellipsoid(w, (s * 15, 10, 1578), (6, 8, 12)) for s in (-1, 1)))
    canvas.paint(w, tonsil < 0, "tonsil", _BODY)
    for s in (-1, 1):
        orbit = ellipsoid(w, (s * 31, 66, 1646), (19, 24, 18))
        canvas.paint(w, orbit < 2, "cortical_bone", over("muscle", "marrow", "csf"))
        canvas.paint(w, orbit < 0, "fat")
        canvas.paint(w, ellipsoid(w, (s * 31, 76, 1646), (12, 12, 12)) < 0, "eye")
        nerve = capsule(w, (s * 30, 66, 1646), (s * 10, 36, 1642), 2.4, 2.4)
        canvas.paint(w, nerve < 0, "muscle", over("fat"))
        parotid = ellipsoid(w, (s * 60, 2, 1588), (10, 18, 24))
        canvas.paint(w, parotid < 0, "gland", _BODY)
        submandibular = ellipsoid(w, (s * 30, 34, 1538), (9, 14, 10))
        canvas.paint(w, submandibular < 0, "gland", _BODY)


def _paint_brain(canvas: Canvas, w, brain: np.ndarray, fold: np.ndarray) -> None:
    """Grey ribbon folded along sulci, white matter, deep grey nuclei, ventricles, cerebellum."""
    depth = -brain
    sulcus = np.abs(fold) * 5.0
    upper = w.z > 1648
    inside = depth > 0
    cerebellum = ellipsoid(w, (0, -46, 1628), (52, 34, 27)) < 0
    cerebellum &= (w.z < 1652) & (w.y < -18)
    near = np.where(depth < 20, sulcus, 99)
    grey = inside & ((depth < 3.8) | (near < 3.1))
    canvas.paint(w, inside, "white_matter")
    canvas.paint(w, grey, "grey_matter")
    fluid = inside & (depth < 15) & (sulcus < 0.85) & upper
    canvas.paint(w, fluid & (depth < 7), "csf")
    arch = ((w.y + 2) / 45) ** 2 + ((w.z - 1664) / 32) ** 2
    fissure = inside & (np.abs(w.x) < 4.4) & (arch > 1) & upper
    canvas.paint(w, fissure, "grey_matter")
    canvas.paint(w, fissure & (np.abs(w.x) < 1.1), "csf")
    callosum = inside & (np.abs(w.x) < 9) & (arch <= 1) & (arch > 0.66) & (w.z > 1668)
    canvas.paint(w, callosum, "white_matter")
    for s in (-1, 1):
        for centre, radii in (
            ((s * 11, -12, 1668), (8, 13, 10)),
            ((s * 24, 8, 1666), (6, 18, 12)),
            ((s * 13, 22, 1676), (5, 12, 9)),
        ):
            canvas.paint(w, ellipsoid(w, centre, radii) < 0, "grey_matter")
        insula = np.abs(ellipsoid(w, (s * 40, 6, 1664), (6, 20, 16))) < 1.8  # a curved sheet
        canvas.paint(w, inside & insula, "grey_matter")
        horn = canvas.tube(w, curve(line("lateral ventricle", s), 20), [4, 5.5, 5, 5, 3] * 4)
        canvas.paint(w, inside & (horn < 0), "ventricle")
    canvas.paint(w, inside & (ellipsoid(w, (0, -8, 1664), (2.4, 14, 9)) < 0), "ventricle")
    canvas.paint(w, inside & (ellipsoid(w, (0, -32, 1630), (6, 5, 8)) < 0), "ventricle")
    folia = inside & cerebellum & ((depth < 7) | (np.abs(np.sin(w.z * 0.75 + 0.25 * w.y)) > 0.45))
    canvas.paint(w, folia, "cerebellum", over("white_matter", "grey_matter"))
    stem = (capsule(w, (0, -14, 1652), (0, -24, 1606), 13, 7) < 0) & (w.z < 1652)
    canvas.paint(w, inside & stem, "white_matter", over("grey_matter"))


def paint_neck(canvas: Canvas) -> None:
    """Larynx, trachea to the hila, thyroid, great vessels of the neck."""
    w = canvas.window((-75, -80, 1330), (75, 60, 1535))
    soft = over("muscle", "fat", "visceral_fat", "lung", "soft")
    for s in (-1, 1):
        carotid = canvas.tube(
            w, curve([(s * 12, 2, 1405), (s * 24, 4, 1450), (s * 26, 2, 1500), (s * 30, -4, 1535)], 16), 3.6
        )
        jugular = canvas.tube(w, curve([(s * 26, 20, 1425), (s * 34, 10, 1465), (s * 36, 6, 1535)], 16), 5.5)
        canvas.paint(w, (carotid < 0) | (jugular < 0), "vessel", soft)
    for s in (-1, 1):
        lobe = ellipsoid(w, (s * 17, 12, 1472), (8, 9, 23))
        canvas.paint(w, lobe < 0, "thyroid", over("muscle", "fat", "vessel"))
    canvas.paint(w, ellipsoid(w, (0, 20, 1464), (13, 4, 7)) < 0, "thyroid", over("muscle", "fat"))
    ring = canvas.tube(
        w, curve([(0, 14, 1520), (0, 16, 1500), (0, 6, 1470), (0, -10, 1425), (1, -28, 1384)], 30), 10.0
    )
    canvas.paint(w, ring < 0, "cartilage", soft)
    canvas.paint(w, ring < -2.2, "airway")
    for s, end in ((1, (48, -40, 1352)), (-1, (-52, -42, 1352))):
        bronchus = canvas.tube(w, np.array([(1, -28, 1386), (s * 22, -34, 1368), end]), [8, 7, 5])
        canvas.paint(w, bronchus < 1.2, "soft", over("muscle", "fat", "visceral_fat", "lung"))
        canvas.paint(w, bronchus < 0, "airway")
