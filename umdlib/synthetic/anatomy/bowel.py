"""Colon, rectum and small bowel, bladder and the organs of the small pelvis."""

from __future__ import annotations

import numpy as np

from umdlib.synthetic.anatomy.abdomen import FATTY
from umdlib.synthetic.anatomy.canvas import Canvas, Window, curve, ellipsoid, level_for, over, smooth_min
from umdlib.synthetic.anatomy.coordinates import line
from umdlib.synthetic.anatomy.person import Person


def _colon_line(person: Person) -> np.ndarray:
    """Centre line (N, 4) of the colon with its radius, from caecum to anus."""
    dip = 22 * np.clip(person.shape["transverse_dip"], -2, 1.5)
    curl = 8 * np.clip(person.shape["sigmoid"], -2, 2)
    points = line("colon")
    points[6:9, 2] -= np.array([0.6, 1.0, 0.6]) * dip
    points[16:18, 2] += curl
    return curve(points, 260)


def paint_colon(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """A frame of haustrated loops: wall, stool, and gas that rises to the front."""
    w = canvas.window((-150, -100, 835), (150, 160, 1215))
    course = _colon_line(person)
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(course[:, :3], axis=0), axis=1))])
    wave = np.abs(np.sin(np.pi * arc / 27 + rng.uniform(0, np.pi)))
    slow = np.interp(arc, np.linspace(0, arc[-1], 14), rng.uniform(0.84, 1.12, 14))
    radius = course[:, 3] * slow * np.where(arc < arc[-1] - 140, 0.80 + 0.24 * wave, 0.95)
    field = canvas.tube(w, course[:, :3], radius) + w.random(rng, 14, 0.9)
    allowed = over("visceral_fat", "muscle", "ureter")[w.tissue] & (field < 10)
    allowed &= (w.z < 905) | over("visceral_fat", "ureter")[w.tissue]
    mask = allowed & (field < 0)
    canvas.paint(w, mask, "colon_wall")
    inside = mask & (field < -2.6)
    canvas.paint(w, inside, "colon_stool")
    _paint_gas(canvas, w, inside, course, arc, person, rng)


def _paint_gas(canvas: Canvas, w, inside, course, arc, person: Person, rng) -> None:
    """Gas above a level of its own in each stretch of the colon, most in the transverse part."""
    from scipy.spatial import cKDTree

    if not inside.any():
        return
    points = np.stack([w.x[inside], w.y[inside], w.z[inside]], axis=1)
    nearest = cKDTree(course[:, :3]).query(points)[1]
    part = np.minimum(arc / arc[-1], 0.999)
    knots = np.linspace(0, 1, 16)
    amount = (
        0.42
        + 0.16 * person.shape["colon_gas"]
        + 0.28 * np.sin(np.pi * np.clip((knots - 0.2) / 0.35, 0, 1))
        + rng.normal(0, 0.16, 16)
    )
    share = np.clip(np.interp(part, knots, amount), 0, 0.95)
    level = course[:, 1] + course[:, 3] * (1 - 2 * share)
    gas = np.zeros(inside.shape, bool)
    gas[inside] = points[:, 1] > level[nearest]
    canvas.paint(w, gas, "colon_gas")


# Coils of small bowel, from the duodenum to the caecum: the box (x, y, z) that each is folded into.
_COILS = (
    ((-96, -36), (6, 58), (1112, 1156)),
    ((-94, -22), (2, 64), (1052, 1104)),
    ((-10, 66), (12, 66), (1048, 1098)),
    ((-82, -6), (6, 66), (990, 1044)),
    ((6, 76), (6, 66), (990, 1040)),
    ((-44, 54), (18, 58), (955, 982)),
)


_GAP_MM = 23.0  # between the loops of a coil


def coil(box, rng: np.random.Generator, deeper: float) -> np.ndarray:
    """Path (N, 3) folded into a box: to and fro along x or z, layer by layer to the front."""
    (x, y, z), y_front = box, box[1][1] + deeper
    upright = bool(rng.random() < 0.5)
    run, side = (z, x) if upright else (x, z)
    steps = np.linspace(*run, max(round((run[1] - run[0]) / 26) + 1, 2))
    points, count = [], 0
    for layer, front in enumerate(np.linspace(y[0], y_front, round((y_front - y[0]) / _GAP_MM) + 1)):
        across = np.linspace(*side, round((side[1] - side[0]) / _GAP_MM) + 1)
        for c in across[:: -1 if layer % 2 else 1]:
            for r in steps[:: -1 if count % 2 else 1]:
                points.append((c, front, r) if upright else (r, front, c))
            count += 1
    path = np.array(points, float) + rng.normal(0, 1, (len(points), 3)) * [5, 5, 5]
    middle, angle = path.mean(axis=0), rng.uniform(-0.45, 0.45)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return middle + (path - middle) @ turn


def paint_small_bowel(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """Packed loops of small bowel, each with a wall of its own; more fat between them in the heavy."""
    w = canvas.window((-125, -40, 925), (110, 135, 1170))
    rough = w.random(rng, 12, 0.7)
    deeper = float(np.clip((person.bmi - 24) * 1.6, -8, 30))
    size = float(np.clip(1.03 - 0.012 * (person.bmi - 24), 0.86, 1.1))
    for box in _COILS:
        path = coil(box, rng, deeper)
        course = curve(path, 5 * len(path))
        arc = np.arange(len(course))
        slow = np.interp(arc, np.linspace(0, arc[-1], 6), rng.normal(0, 1.3, 6))
        radius = np.clip((12.0 + 1.5 * np.sin(arc / 1.7) + slow) * size, 7, 15)
        low, high = course.min(axis=0) - 20, course.max(axis=0) + 20
        part = canvas.window(low, high)
        inner = tuple(
            slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(part.box, w.box, strict=True)
        )
        part = Window(canvas, inner, (low, high))
        field = canvas.tube(part, course, radius)
        field += rough[
            tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, w.box, strict=True))
        ]
        mask = FATTY[part.tissue] & (field < 0)
        canvas.paint(part, mask, "bowel_wall")
        canvas.paint(part, mask & (field < -2.8), "bowel_content")


def paint_pelvic_organs(canvas: Canvas, person: Person, rng: np.random.Generator) -> tuple:
    """Bladder to its volume; prostate, testes, or uterus. Returns the window, field, level of the bladder."""
    w = canvas.window((-75, -60, 820), (75, 85, 1020))
    field = ellipsoid(w, (0, 26, 922), (41, 33, 30)) + w.random(rng, 35, 1.0)
    allowed = over("visceral_fat")[w.tissue]
    level = level_for(field, allowed, person.volumes_ml["urinary_bladder"] / canvas.voxel_ml, most=25)
    mask = allowed & (field < level)
    canvas.paint(w, allowed & (field < level + 2.5), "muscle", FATTY)
    canvas.paint(w, mask, "bladder")
    soft = over("visceral_fat", "muscle")
    if person.sex == "M":
        canvas.paint(w, (ellipsoid(w, (0, 14, 884), (23, 17, 18)) < 0), "prostate", soft)
        for s in (-1, 1):
            vesicle = ellipsoid(w, (s * 18, -12, 908), (17, 6, 7))
            canvas.paint(w, vesicle < 0, "prostate", over("visceral_fat"))
        _paint_scrotum(canvas)
    else:
        body = smooth_min(
            ellipsoid(w, (2, -6, 958), (24, 20, 26)), ellipsoid(w, (0, -18, 922), (14, 11, 24)), 8
        )
        canvas.paint(w, body < 0, "uterus", over("visceral_fat"))
        for s in (-1, 1):
            canvas.paint(w, ellipsoid(w, (s * 40, -14, 955), (14, 9, 11)) < 0, "uterus", over("visceral_fat"))
    return w, field, level


def _paint_scrotum(canvas: Canvas) -> None:
    """Testes below the symphysis, in a pouch of skin."""
    w = canvas.window((-40, 20, 770), (40, 120, 900))
    pouch = smooth_min(ellipsoid(w, (0, 58, 832), (30, 24, 26)), ellipsoid(w, (0, 62, 872), (22, 20, 26)), 14)
    canvas.paint(w, pouch < 0, "skin", over("air"))
    canvas.paint(w, pouch < -3, "fat", over("air", "skin", "muscle"))
    penis = canvas.tube(w, np.array([(0, 66, 878), (2, 92, 850), (4, 88, 812)]), [12, 13, 12])
    canvas.paint(w, penis < 0, "skin", over("air"))
    canvas.paint(w, penis < -3, "soft", over("fat", "skin", "muscle"))
    for s in (-1, 1):
        canvas.paint(
            w, ellipsoid(w, (s * 15, 56, 830), (10, 12, 17)) < 0, "testis", over("fat", "skin", "soft")
        )
