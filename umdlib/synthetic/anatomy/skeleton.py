"""The skeleton: spine, ribs, sternum, shoulders, pelvis, legs, arms, skull."""

from __future__ import annotations

import numpy as np

from umdlib.synthetic.anatomy.body import arms, capsule, profile, section
from umdlib.synthetic.anatomy.canvas import FAR, Canvas, Window, curve, ellipsoid, over, smooth_min
from umdlib.synthetic.anatomy.coordinates import line
from umdlib.synthetic.anatomy.person import Person

# Edges of the vertebrae from C1 (top) to L5 (bottom), and of the sacrum below.
_CERVICAL = np.linspace(1604, 1490, 8)
_THORACIC = 1490 - np.concatenate([[0], np.cumsum(np.linspace(20.5, 27.5, 12))])
_LUMBAR = _THORACIC[-1] - np.concatenate([[0], np.cumsum(np.linspace(34, 38, 5))])
_EDGES = np.concatenate([_CERVICAL[:-1], _THORACIC[:-1], _LUMBAR])  # 25 edges, 24 vertebrae
_SPINE = line("spine")
CAGE = line("cage")
_HIP = np.array([89.0, -4.0, 914.0])
_WING = line("wing")


def paint_skeleton(canvas: Canvas, person: Person) -> None:
    """All bones, as cortical shell around marrow, with cartilage and discs."""
    paint_spine(canvas)
    paint_sacrum(canvas)
    paint_ribs(canvas)
    _paint_shoulders(canvas, person)
    paint_pelvis(canvas)
    paint_legs(canvas)


def shell(canvas, window: Window, field: np.ndarray, cortex_mm: float, inside="marrow") -> None:
    """Bone where the field is negative: cortical to a depth, marrow below it."""
    canvas.paint(window, field < 0, "cortical_bone")
    canvas.paint(window, field < -cortex_mm, inside)


def _spine_y(z) -> np.ndarray:
    """y of the centre of the vertebral bodies at heights z."""
    return np.interp(z, _SPINE[:, 0], _SPINE[:, 1])


def paint_spine(canvas: Canvas) -> None:
    """24 vertebrae with discs, arches and processes; canal with fluid and cord."""
    w = canvas.window((-52, -135, _EDGES[-1] - 6), (52, 0, _EDGES[0] + 6))
    yc, rx, ry = profile(w.z, _SPINE)
    edges = _EDGES[::-1]
    index = np.clip(np.searchsorted(edges, w.z.ravel()) - 1, 0, 23).reshape(w.z.shape)
    low, high = edges[index].astype(np.float32), edges[index + 1].astype(np.float32)
    t = (2 * w.z - low - high) / (high - low)
    half = (high - low) / 2
    inside = (w.z > edges[0]) & (w.z < edges[-1])
    y = w.y - yc
    lumbar, cervical = index < 5, index >= 17
    r = np.sqrt((w.x / rx) ** 2 + (y / ry) ** 2) / (1 - 0.09 * (1 - t**2))
    radial = (r - 1) * np.minimum(rx, ry)
    end = (np.abs(t) - np.where(lumbar, 0.74, 0.80)) * half
    body = np.maximum(radial, end)
    canal_y = y + ry + 8.5
    canal = (np.sqrt((w.x / 11.5) ** 2 + (canal_y / 8.5) ** 2) - 1) * 9
    ring = np.maximum(canal - 4.5, np.abs(t + 0.1) * half - 0.62 * half)
    length = np.where(lumbar, 25, np.where(cervical, 12, 30)).astype(np.float32)
    droop = np.where(lumbar | cervical, 0.15, 0.75).astype(np.float32)
    back = -(canal_y + 10)
    spinous = np.maximum(
        np.abs(w.x) - 3.2,
        np.maximum(
            np.maximum(-back, back - length),
            np.abs(w.z - (low + high) / 2 + droop * back + 3) - np.where(lumbar, 8.5, 5.0),
        ),
    )
    reach = np.where(lumbar, 42, np.where(cervical, 24, 33)).astype(np.float32)
    sideways = np.abs(w.x)
    sweep = canal_y - 2 + np.where(lumbar, 0.0, 0.45).astype(np.float32) * (sideways - 12)
    transverse = np.maximum(
        np.maximum(np.abs(sweep) - 4.2, np.abs(t - 0.1) * half - 4.2),
        np.maximum(sideways - reach, 9 - sideways),
    )
    facet = np.maximum(np.abs(canal_y + 6) - 5, np.abs(sideways - 14) - 5)
    arch = np.minimum(np.minimum(ring, spinous), np.minimum(transverse, facet))
    canvas.paint(w, inside & (radial < 1.0), "disc")
    shell(canvas, w, np.where(inside, np.minimum(arch, FAR), FAR), 2.2)
    shell(canvas, w, np.where(inside, body, FAR), 1.4)
    canvas.paint(w, inside & (canal < 0), "csf")
    cord = np.sqrt((w.x / 6) ** 2 + (canal_y / 4.6) ** 2) < 1
    canvas.paint(w, inside & cord & (w.z > 1165), "cord")


def paint_sacrum(canvas: Canvas) -> None:
    """Sacrum and coccyx: a curved wedge with its canal."""
    w = canvas.window((-62, -130, 878), (62, -20, 1020))
    yc, rx, ry = profile(w.z, _SPINE)
    y = w.y - yc
    front_hollow = 0.10 * np.maximum(rx - np.abs(w.x), 0)
    r = np.sqrt((w.x / rx) ** 2 + ((y + front_hollow) / ry) ** 2)
    field = np.maximum((r - 1) * np.minimum(rx, ry), np.maximum(w.z - 1013, 884 - w.z))
    shell(canvas, w, field, 1.6)
    canal = np.sqrt((w.x / 10) ** 2 + ((y + ry * 0.75) / 5) ** 2)
    canvas.paint(w, (canal < 1) & (w.z > 945) & (w.z < 1015), "csf")


def _cage_point(angle: np.ndarray, z: np.ndarray, inset: float) -> np.ndarray:
    """Points (N, 3) on the rib cage at angles from the back (0) to the front (pi), right side."""
    a, front, back = profile(np.asarray(z, np.float32), CAGE)
    s, c = np.sin(angle), -np.cos(angle)
    b = np.where(c > 0, front, back)
    p = 2.4
    rho = (np.abs(s / a) ** p + np.abs(c / b) ** p) ** (-1 / p) - inset
    return np.stack([rho * s, rho * c - 5, z], axis=1)


def rib(number: int) -> tuple[np.ndarray, float]:
    """Centre line (N, 3) of a right rib with its cartilage, and the share of it that is bone."""
    z0 = (_THORACIC[number - 1] + _THORACIC[number]) / 2 + 7
    span = [2.45, 2.7, 2.85, 2.92, 2.95, 2.95, 2.92, 2.85, 2.7, 2.5, 1.75, 1.2][number - 1]
    drop = [22, 44, 62, 76, 88, 98, 106, 110, 110, 105, 62, 36][number - 1]
    angle = np.linspace(0.24, span, 44)
    s = (angle - 0.24) / (2.95 - 0.24)
    z = z0 - drop * np.sin(np.clip(s, 0, 1) * np.pi / 2) ** 1.25
    bone = 1.0
    if number <= 10:
        bone = 0.80 if number > 2 else 0.86
        rise = np.clip((s - bone * s[-1]) / (s[-1] * (1 - bone)), 0, 1)
        z = z + rise**1.3 * [0, 2, 6, 14, 24, 38, 52, 62, 66, 64][number - 1]
    points = _cage_point(angle, z, 5.0)
    y_spine = _spine_y(z0)
    root = np.array([[15, y_spine - 12, z0], [30, y_spine - 22, z0 - 1]])
    points = np.vstack([root, points[np.abs(points[:, 0]) > 34]])
    return points, bone


def paint_ribs(canvas: Canvas) -> None:
    """Twelve pairs of ribs with cartilage, and the sternum."""
    w = canvas.window((-150, -125, 1085), (150, 110, 1475))
    bone = np.full(w.tissue.shape, FAR, np.float32)
    cartilage = bone.copy()
    for number in range(1, 13):
        points, share = rib(number)
        for side in (-1, 1):
            p = points * [side, 1, 1]
            n = round(share * len(p))
            radius = 5.6 if number not in (1, 11, 12) else 4.8
            canvas.tube(w, p[:n], radius, bone)
            if n < len(p):
                canvas.tube(w, p[n - 1 :], 5.4, cartilage)
    canvas.paint(w, cartilage < 0, "cartilage")
    shell(canvas, w, bone, 2.0)
    front = 88 - 0.055 * np.maximum(w.z - 1300, 0) - 0.0019 * np.maximum(w.z - 1330, 0) ** 2
    width = 14 + 9 * np.clip((w.z - 1385) / 30, 0, 1) + 4 * np.clip((1290 - w.z) / 30, 0, 1)
    plate = np.maximum(np.abs(w.x) - width, np.abs(w.y - front) - 6)
    plate = np.maximum(plate, np.maximum(w.z - 1424, 1246 - w.z))
    shell(canvas, w, plate, 1.6)
    canvas.paint(w, (np.abs(w.x) < 8) & (np.abs(w.y - front) < 4) & (np.abs(w.z - 1236) < 12), "cartilage")


def _paint_shoulders(canvas: Canvas, person: Person) -> None:
    """Clavicles, scapulae, humeri, forearms."""
    for side in (-1, 1):
        flip = np.array([side, 1, 1])
        points, _ = arms(person, side)
        low, high = sorted((side * 10, side * 200))
        w = canvas.window((low, -135, 1280), (high, 90, 1470))
        collar = [(16, 58, 1424), (60, 52, 1436), (110, 18, 1446), (150, -12, 1442)]
        field = canvas.tube(w, curve(np.array(collar) * flip, 14), 6.5)
        ridge = np.array([(92, -104, 1392), (130, -92, 1420), (160, -52, 1440)]) * flip
        canvas.tube(w, ridge, [4, 5, 8], field)
        canvas.tube(w, np.array([(132, -45, 1404), (136, -38, 1390)]) * flip, 9, field)
        shell(canvas, w, np.minimum(field, _scapula(w, flip)), 2.0)
        _paint_arm(canvas, points, side)


def _paint_arm(canvas: Canvas, points: np.ndarray, side: int) -> None:
    """Humerus with its head; radius and ulna."""
    w = canvas.window(points.min(axis=0) - 30, points.max(axis=0) + 30)
    head = points[0] + [side * 8, 0, -4]
    shaft = canvas.tube(w, curve(np.vstack([head, points[1:4]]), 16), 10.5)
    ball = canvas.tube(w, np.stack([head, head + [0, 0, 1]]), 23.0)
    shell(canvas, w, smooth_min(shaft, ball, 10), 3.4, "yellow_marrow")
    for shift in (-9, 9):
        bone = points[3:] + np.array([shift, 0.3 * shift, 0])
        shell(canvas, w, canvas.tube(w, bone, np.linspace(9, 6.5, len(bone))), 2.6, "yellow_marrow")


def _scapula(w: Window, flip) -> np.ndarray:
    """Distance to the blade: a thin triangle bent round the rib cage."""
    corners = np.array([(78, -104, 1412), (138, -56, 1404), (96, -112, 1292)]) * flip
    a, b, c = corners.astype(np.float32)
    e1, e2 = b - a, c - a
    normal = np.cross(e1, e2)
    normal = normal / np.linalg.norm(normal)
    x, y, z = w.x - a[0], w.y - a[1], w.z - a[2]
    height = x * normal[0] + y * normal[1] + z * normal[2]
    inverse = np.linalg.pinv(np.stack([e1, e2], axis=1)).astype(np.float32)
    u = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2] * z
    v = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2] * z
    bend = height - 14 * u * (1 - u) + 6
    outside = np.maximum(np.maximum(-u, -v), u + v - 1) * 60
    return np.maximum(np.abs(bend) - 2.6, outside)


def paint_pelvis(canvas: Canvas) -> None:
    """Hip bones: wing, column, socket, rami; symphysis."""
    for side in (-1, 1):
        low, high = sorted((0, side * 165))
        w = canvas.window((low, -110, 825), (high, 110, 1082))
        flip = np.array([side, 1, 1])
        bowl = section(w, _WING, power=2.0, y_middle=50.0)
        y = w.y + 8
        crest = 1066 - 0.0062 * y**2
        thick = 4.2 + 3.5 * np.clip((w.z - crest + 16) / 14, 0, 1)
        wing = np.maximum(np.abs(bowl) - thick, np.maximum(w.z - crest, 952 - w.z))
        front = w.y - (74 - 0.62 * np.maximum(1000 - w.z, 0))
        back = (-88 + 0.30 * np.maximum(990 - w.z, 0)) - w.y
        wing = np.maximum(wing, np.maximum(front, back))
        iliacus = (bowl < 0) & (bowl > -15) & (w.z < crest - 8) & (w.z > 950)
        canvas.paint(w, iliacus & (w.y > -48) & (w.y < 62), "muscle", over("visceral_fat"))
        field = wing
        hip = _HIP * flip
        ball = ellipsoid(w, hip, (35, 35, 35))
        column = canvas.tube(
            w, np.array([(84, -8, 945), (70, -40, 972), (50, -66, 998)]) * flip, [17, 15, 12]
        )
        pubis = canvas.tube(
            w, np.array([(76, 22, 922), (45, 52, 914), (14, 66, 902), (9, 64, 885)]) * flip, [13, 8.5, 10, 9]
        )
        sit = canvas.tube(w, np.array([(80, -30, 905), (68, -52, 868), (58, -44, 846)]) * flip, [17, 15, 15])
        ramus = canvas.tube(w, np.array([(58, -40, 846), (34, 8, 858), (10, 58, 884)]) * flip, [11, 7, 8])
        for part in (ball, column, pubis, sit, ramus):
            field = smooth_min(field, part, 6)
        shell(canvas, w, field, 2.2)
    w = canvas.window((-6, 40, 870), (6, 85, 915))
    canvas.paint(w, (np.abs(w.x) < 3.5) & (np.abs(w.y - 64) < 9) & (np.abs(w.z - 894) < 17), "cartilage")


def paint_legs(canvas: Canvas) -> None:
    """Femora: head in its socket, neck, trochanters, shaft."""
    for side in (-1, 1):
        low, high = sorted((side * 40, side * 165))
        w = canvas.window((low, -60, 700), (high, 60, 945))
        flip = np.array([side, 1, 1])
        hip = _HIP * flip
        socket = capsule(w, hip, hip + [side * 12, 5, -12], 27, 31)
        canvas.paint(w, socket < 0, "cartilage")
        rim = capsule(w, hip + [side * 22, 4, -20], hip + [side * 40, 0, -34], 24, 26)
        canvas.paint(w, rim < 0, "muscle")
        head = capsule(w, hip, hip, 24, 24)
        neck = capsule(w, hip, np.array([124, -10, 884]) * flip, 15, 17)
        great = capsule(w, np.array([132, -14, 892]) * flip, np.array([130, -12, 868]) * flip, 16, 17)
        shaft = np.minimum(
            capsule(w, np.array([126, -10, 868]) * flip, np.array([118, -2, 800]) * flip, 19, 14.5),
            capsule(w, np.array([118, -2, 800]) * flip, np.array([104, 6, 680]) * flip, 14.5, 14),
        )
        field = smooth_min(smooth_min(head, neck, 8), smooth_min(great, shaft, 8), 10)
        thick = 1.8 + 5.2 * np.clip((870 - w.z) / 60, 0, 1)
        canvas.paint(w, field < 0, "cortical_bone")
        canvas.paint(w, field + thick < 0, "yellow_marrow")
