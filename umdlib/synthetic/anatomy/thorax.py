"""The chest: cavity, diaphragm, lungs, heart, great vessels, oesophagus."""

from __future__ import annotations

import numpy as np

from umdlib.synthetic.anatomy.body import capsule, section
from umdlib.synthetic.anatomy.canvas import (
    FAR,
    Canvas,
    axes_along,
    curve,
    ellipsoid,
    level_for,
    over,
    smooth_min,
)
from umdlib.synthetic.anatomy.coordinates import line
from umdlib.synthetic.anatomy.person import Person
from umdlib.synthetic.anatomy.skeleton import CAGE

_HEART_AXIS = (-0.66, 0.50, -0.52)
_HEART = np.array([-14.0, 20.0, 1310.0])


def dome(w, person: Person, cage: np.ndarray) -> np.ndarray:
    """Height (mm) of the diaphragm above each voxel, from its distance to the rib cage (< 0 inside)."""
    lift = 5.0 * np.clip(person.shape["diaphragm"], -2, 2)
    x, y = w.x, w.y
    right = np.exp(-(((x - 68) / 62) ** 2) - ((y - 8) / 105) ** 2)
    left = np.exp(-(((x + 72) / 58) ** 2) - ((y - 2) / 100) ** 2)
    top = 1238 + lift + 44 * right + 28 * left
    edge = 1180 + np.where(y > -5, 0.62, 0.34) * (y + 5) - 0.10 * np.abs(x)
    inner = np.clip(-(cage + 9) / 26, 0, 1)
    round_ = np.sqrt(np.maximum(1 - (1 - inner) ** 2, 0))
    return edge + (top - edge) * round_


def paint_cavities(canvas: Canvas, person: Person) -> None:
    """Air-filled chest above the diaphragm, fat-filled abdomen below it, muscle between."""
    w = canvas.window((-165, -125, 1080), (165, 125, 1480))
    cage = section(w, CAGE)
    height = dome(w, person, cage)
    wall = cage + 11.5
    canvas.paint(w, (wall < 0) & (w.z > height), "lung", over("muscle", "fat"))
    behind = w.y < -95 + 36 * np.clip((1185 - w.z) / 50, 0, 1)
    belly = (wall < 0) & (w.z <= height - 3.5) & (w.z > 1112) & ~behind
    canvas.paint(w, belly, "visceral_fat", over("muscle", "fat"))


def paint_mediastinum(canvas: Canvas, person: Person) -> None:
    """Tissue between the lungs: fat around heart, vessels, spine; it narrows to the front."""
    w = canvas.window((-90, -125, 1110), (90, 115, 1480))
    heart = _heart_shape(w, person)
    column = capsule(w, (0, -60, 1100), (0, -68, 1480), 33, 23)
    column = np.minimum(column, np.maximum(np.abs(w.x) - 27, w.y + 50))
    middle = np.abs(w.x + 4) - (15 + 9 * np.clip((w.z - 1385) / 40, 0, 1))
    middle = np.maximum(middle, -60 - w.y)
    wide = 9 + 11 * np.clip((w.z - 1392) / 44, 0, 1) + 12 * np.clip((40 - w.y) / 26, 0, 1)
    front = np.abs(w.x + 3) - wide
    narrow = np.where(w.y < 14, middle, front) + 2.2 * np.sin(w.y / 13 + w.z / 23)
    low = np.where(w.z < 1290, np.abs(w.x + 20) - 16 - 0.4 * np.maximum(1290 - w.z, 0), FAR)
    low = np.where((w.y > -40) & (w.y < 60), low, FAR)
    rim = np.clip(1.5 + 0.2 * (person.bmi - 20), 1, 5)
    field = smooth_min(narrow.astype(np.float32), heart - rim, 12)
    field = np.minimum(smooth_min(field, column, 16), low)
    canvas.paint(w, field < 0, "visceral_fat", over("lung"))
    paraspinal = column < -3
    canvas.paint(w, paraspinal & (w.y < -60), "muscle", over("visceral_fat"))


def _heart_shape(w, person: Person) -> np.ndarray:
    """Distance to the outside of the heart: blunt cone along its axis."""
    tilt = 0.08 * np.clip(person.shape["heart_tilt"], -2, 2)
    axes = axes_along((_HEART_AXIS[0], _HEART_AXIS[1], _HEART_AXIS[2] + tilt))
    ventricles = ellipsoid(w, _HEART + [-6, 4, -6], (60, 46, 43), axes)
    atria = ellipsoid(w, _HEART + [20, -14, 22], (40, 34, 36))
    return smooth_min(ventricles, atria, 22)


def paint_heart(canvas: Canvas, person: Person) -> None:
    """Left ventricle as a thick open shell, thin right wall, blood in between, to its volume."""
    w = canvas.window((-120, -75, 1210), (90, 105, 1410))
    field = _heart_shape(w, person)
    allowed = over("lung", "visceral_fat")[w.tissue]
    level = level_for(field, allowed, person.volumes_ml["heart"] / canvas.voxel_ml)
    mask = allowed & (field < level)
    field = field - level
    canvas.paint(w, mask, "heart_wall")
    canvas.paint(w, mask & (field < -3.2), "heart_blood")
    tilt = 0.08 * np.clip(person.shape["heart_tilt"], -2, 2)
    axes = axes_along((_HEART_AXIS[0], _HEART_AXIS[1], _HEART_AXIS[2] + tilt))
    centre = _HEART + [-24, 2, -8]
    outer = ellipsoid(w, centre, (48, 32, 31), axes)
    inner = ellipsoid(w, centre + np.array([6, -3, 4]), (43, 20.5, 19.5), axes)
    base = (w.x - centre[0]) * axes[0, 0] + (w.y - centre[1]) * axes[0, 1] + (w.z - centre[2]) * axes[0, 2]
    muscle = mask & (outer < 0) & (inner > 0) & (base > -27)
    canvas.paint(w, muscle, "myocardium")


def paint_vessels(canvas: Canvas, person: Person) -> None:
    """Aorta to its volume; caval veins, pulmonary trunk, iliac vessels, arch branches."""
    w = canvas.window((-60, -90, 1060), (60, 60, 1435))
    aorta = _aorta(canvas, w, person)
    soft = over("visceral_fat", "muscle", "lung", "fat")
    vein = None
    for points, n in _GREAT_VEINS:
        vein = canvas.strand(w, points, n, vein)
    canvas.paint(w, vein < 0, "vessel", soft)
    for branch in _ARCH_BRANCHES:
        b = np.array(branch, float)
        canvas.paint(w, canvas.tube(w, b[:, :3], b[:, 3]) < 0, "vessel", soft)
    _paint_shoulder_vessels(canvas)
    gives_way = ("visceral_fat", "muscle", "lung", "fat", "vessel", "heart_blood", "heart_wall")
    canvas.paint(w, aorta, "aorta", over(*gives_way))
    _paint_iliac_vessels(canvas)


def _aorta(canvas: Canvas, w, person: Person) -> np.ndarray:
    """Voxels of the aorta, to its volume; what lies around it in the lung becomes fat."""
    points = line("aorta")
    points[4:10, 0] += 3.0 * person.shape["aorta_tortuosity"] * np.sin(np.arange(6))
    field = canvas.strand(w, points, 70)
    heart = over("heart_blood", "heart_wall")[w.tissue]
    allowed = (over("visceral_fat", "muscle", "lung", "fat")[w.tissue] | heart) & (field < 15)
    allowed &= ~((w.z < 1345) & heart)
    cut = field + np.where(w.z < 1072, FAR, 0)
    level = level_for(cut, allowed, person.volumes_ml["aorta"] / canvas.voxel_ml, most=4.0)
    canvas.paint(w, allowed & (cut < level + 1.5), "visceral_fat", over("lung"))
    return allowed & (cut < level)


# lower and upper vena cava, brachiocephalic vein, pulmonary trunk with its left and its right artery
_GREAT_VEINS = (
    (line("lower vena cava"), 30),
    ([(26, 12, 1335, 9), (25, 8, 1375, 9), (24, 12, 1415, 8)], 16),
    ([(24, 12, 1408, 7), (4, 30, 1416, 7), (-18, 32, 1426, 7), (-30, 20, 1434, 6)], 16),
    ([(-14, 36, 1338, 13), (-16, 22, 1362, 13), (-22, -6, 1366, 11), (-40, -24, 1358, 8)], 16),
    ([(-12, 4, 1366, 11), (18, -12, 1360, 10), (44, -24, 1350, 8)], 12),
)
_ARCH_BRANCHES = (
    [(8, 2, 1400, 6), (18, 4, 1420, 6), (24, 4, 1434, 5)],
    [(-4, -12, 1402, 4.5), (-12, -6, 1434, 4)],
    [(-12, -22, 1402, 5), (-28, -16, 1434, 4.5)],
)


def _paint_iliac_vessels(canvas: Canvas) -> None:
    """Arteries and veins from the end of the aorta to the thighs."""
    soft = over("visceral_fat", "muscle", "fat")
    for s in (-1, 1):
        w = canvas.window((-130, -40, 700), (130, 60, 1085))
        artery = line("iliac artery", s)
        vein = line("iliac vein", s)
        vein[0, 0] = 12 + 4 * s  # they join right of the middle
        for vessel in (artery, vein):
            canvas.paint(w, canvas.strand(w, vessel, 40) < 0, "vessel", soft)


def _paint_shoulder_vessels(canvas: Canvas) -> None:
    """Subclavian and axillary arteries and veins, over the apex of the lung to the armpit."""
    soft = over("visceral_fat", "muscle", "fat")
    for s in (-1, 1):
        low, high = sorted((s * 4, s * 150))
        w = canvas.window((low, -50, 1340), (high, 60, 1470))
        artery = line("axillary artery", s)
        vein = line("axillary vein", s)
        for vessel, radius in ((artery, 4.2), (vein, 5.5)):
            canvas.paint(w, canvas.tube(w, curve(vessel, 20), radius) < 0, "vessel", soft)


def paint_oesophagus(canvas: Canvas, person: Person) -> None:
    """A collapsed tube from the larynx to the stomach, at times with a little air."""
    w = canvas.window((-60, -90, 1220), (40, 30, 1510))
    field = canvas.strand(w, line("oesophagus"), 50)
    allowed = over("visceral_fat", "muscle", "lung", "fat", "vessel", "soft", "cartilage")[w.tissue]
    allowed &= field < 15
    # an arch that lies across the whole tube gives way to its core: no oesophagus is cut in two
    allowed |= over("aorta")[w.tissue] & (field < -3)
    level = level_for(field, allowed, person.volumes_ml["esophagus"] / canvas.voxel_ml, most=4.0)
    canvas.paint(w, (field < level + 2.5), "visceral_fat", over("lung"))
    mask = allowed & (field < level)
    canvas.paint(w, mask, "oesophagus")
    canvas.paint(
        w, mask & (field < level - 4.8) & (np.sin(w.z / 17.0 + person.age) > 0.55), "oesophagus_lumen"
    )


def paint_lung_vessels(canvas: Canvas, rng: np.random.Generator) -> None:
    """Branching vessels from the hila into the lungs, to the third or fourth order."""
    for s, root in ((1, (42, -24, 1350)), (-1, (-46, -26, 1354))):
        low, high = sorted((s * 10, s * 140))
        w = canvas.window((low, -110, 1150), (high, 100, 1450))
        branches: list[tuple] = []
        grow(branches, np.array(root, float), np.array([s * 0.6, 0, 0]), 6.2, 0, rng, s)
        start, stop = (np.array([b[i] for b in branches]) for i in (0, 1))
        thick = np.array([b[2] for b in branches])
        field = canvas.segments(w, start, stop, thick, thick * 0.84)
        canvas.paint(w, field < 0, "lung_vessel", over("lung"))


def grow(branches: list, start, direction, radius: float, order: int, rng, side: int) -> None:
    """Add one vessel, bent in the middle, and its branches to a list of (start, stop, radius)."""
    length = [28, 42, 38, 30, 22][order]
    for _ in range([8, 4, 3, 3, 0][order]):
        spread = rng.normal(0, 1, 3) * [0.6, 0.85, 1.0]
        d = direction * 1.1 + spread + outward(start, side)
        d /= np.linalg.norm(d)
        size = length * rng.uniform(0.7, 1.3)
        bend = start + d * size * 0.5 + rng.normal(0, 2.0, 3)
        end = start + d * size
        branches += [(start, bend, radius), (bend, end, radius * 0.84)]
        if order < 4 and radius > 1.4:
            grow(branches, end, d, radius * 0.68, order + 1, rng, side)


def outward(point, side: int) -> np.ndarray:
    """Pull (3,) towards the periphery of a lung."""
    away = (point - np.array([side * 52, -20, 1335])) / 60
    return 0.55 * away / max(float(np.linalg.norm(away)), 0.6) + np.array([side * 0.15, 0, 0])
