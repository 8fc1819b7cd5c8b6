"""The abdomen: wall and cavity, liver, spleen, kidneys, pancreas, stomach, gall bladder."""

from __future__ import annotations

import numpy as np

from umdlib.synthetic.anatomy.body import TRUNK, capsule, section, sex_table
from umdlib.synthetic.anatomy.canvas import (
    FAR,
    Canvas,
    axes_along,
    ellipsoid,
    level_for,
    over,
    smooth_max,
    smooth_min,
)
from umdlib.synthetic.anatomy.coordinates import line
from umdlib.synthetic.anatomy.person import Person

FATTY = over("visceral_fat")


def paint_cavity(canvas: Canvas, person: Person) -> None:
    """Abdominal and pelvic cavity filled with fat; psoas and back muscles stay muscle."""
    w = canvas.window((-180, -125, 860), (180, 180, 1262))
    table = sex_table(person, TRUNK)
    wall = section(w, table)
    cavity = wall + np.where(w.y > 20, 11, 15 + 0.06 * np.maximum(20 - w.y, 0))
    back = -(w.y + 62 - 0.32 * np.maximum(np.abs(w.x) - 35, 0))
    gutter = smooth_max(cavity, back, 16)
    pelvis = np.sqrt((w.x / 64) ** 2 + ((w.y + 8) / 68) ** 2) - 1
    funnel = np.maximum(930 - w.z, 0) * 0.35
    pelvis = pelvis * 60 + funnel
    blend = np.clip((1016 - w.z) / 56, 0, 1)
    blend = blend * blend * (3 - 2 * blend)
    field = gutter * (1 - blend) + smooth_max(pelvis, gutter, 12) * blend
    field = smooth_max(field, 866 - w.z, 20)
    canvas.paint(w, (field < 0) & (w.z < 1172), "visceral_fat", over("muscle"))
    for s in (-1, 1):
        psoas = canvas.strand(w, line("psoas", s), 26)
        canvas.paint(w, psoas < 0, "muscle", FATTY)
        crus = [(s * 12, -20, 1120, 4), (s * 17, -16, 1180, 6), (s * 15, -6, 1240, 7)]
        canvas.paint(w, canvas.strand(w, crus, 14) < 0, "muscle", FATTY)
        quad = capsule(w, (s * 62, -64, 1170), (s * 72, -58, 1070), 12, 16)
        canvas.paint(w, quad < 0, "muscle", FATTY)


def paint_liver(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """A wedge under the right dome with a left lobe that thins to the left; its veins."""
    w = canvas.window((-110, -110, 1060), (140, 115, 1310))
    right = ellipsoid(w, (66, -8, 1205), (78, 98, 92))
    left = ellipsoid(w, (-6, 44, 1232), (86 + 8 * person.shape["liver_left"], 42, 46))
    field = smooth_min(right, left, 40)
    caudate = ellipsoid(w, (14, -4, 1214), (17, 15, 32))
    under = (1128 + 0.62 * (70 - w.x) + 0.10 * np.maximum(w.y, -40)) - w.z
    field = smooth_max(field, under.astype(np.float32), 26)
    hollow = ellipsoid(w, (18, -44, 1190), (27, 29, 58))
    field = smooth_max(field, -hollow, 14)
    hollow = ellipsoid(w, (-62, -10, 1215), (46, 44, 60))
    field = smooth_max(field, -hollow, 10)
    field = smooth_min(field, caudate, 8)
    field = field + w.random(rng, 45, 1.6)
    allowed = FATTY[w.tissue]
    level = level_for(field, allowed, person.volumes_ml["liver"] / canvas.voxel_ml, most=16)
    mask = allowed & (field < level)
    canvas.paint(w, mask, "liver")
    veins = np.full(w.tissue.shape, FAR, np.float32)
    for vein in (
        [(20, 0, 1258, 6), (60, -14, 1245, 4.6), (98, -24, 1212, 2.6), (118, -30, 1180, 1.4)],
        [(20, 2, 1258, 6), (48, 22, 1232, 4.2), (70, 42, 1195, 2.4), (80, 50, 1165, 1.4)],
        [(18, 4, 1258, 5), (-4, 26, 1250, 3.6), (-34, 44, 1238, 1.8)],
        [(22, 16, 1178, 6.5), (46, 14, 1195, 5.5), (78, 12, 1190, 3.6), (106, 10, 1172, 2)],
        [(46, 14, 1195, 4.6), (74, -20, 1208, 3.2), (98, -48, 1222, 1.6)],
        [(30, 16, 1190, 5), (2, 34, 1218, 3.4), (-24, 46, 1226, 1.8)],
        [(70, 12, 1192, 3.4), (90, 40, 1178, 2.2), (98, 58, 1160, 1.2)],
        [(60, 0, 1245, 3.4), (70, 24, 1255, 2.0)],
    ):
        canvas.strand(w, vein, 14, veins)
    canvas.paint(w, mask & (veins < 0), "liver_vessel")
    bladder = ellipsoid(w, (52, 48, 1136), (13, 14, 27), axes_along((0, 0.2, 1), (1, 0, 0))[[1, 2, 0]])
    allowed = over("visceral_fat", "liver")[w.tissue]
    level = level_for(bladder, allowed, person.volumes_ml["gall_bladder"] / canvas.voxel_ml, most=9)
    canvas.paint(w, allowed & (bladder < level), "gall_bladder")


def paint_spleen(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """A curved half-moon under the left ribs."""
    w = canvas.window((-150, -115, 1110), (-30, 60, 1300))
    shift = 7 * np.clip(person.shape["spleen_level"], -2, 2)
    outer = ellipsoid(
        w, (-88, -42, 1212 + shift), (46, 52, 60), axes_along((0.0, 0.42, -0.9), (1, 0, 0))[[1, 2, 0]]
    )
    inner = ellipsoid(w, (-66, -14, 1212 + shift), (42, 46, 66))
    field = smooth_max(outer, -inner, 10) + w.random(rng, 35, 0.8)
    allowed = FATTY[w.tissue]
    level = level_for(field, allowed, person.volumes_ml["spleen"] / canvas.voxel_ml)
    canvas.paint(w, allowed & (field < level), "spleen")


def paint_kidneys(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """Beans with cortex, medullary pyramids and a pelvis that opens to the middle; ureters."""
    for s, name, z0 in ((-1, "kidney_left", 1160), (1, "kidney_right", 1146)):
        z0 = z0 + 6 * np.clip(person.shape["kidney_level"], -2, 2)
        low, high = sorted((s * 8, s * 112))
        w = canvas.window((low, -110, z0 - 82), (high, 30, z0 + 82))
        centre = np.array([s * 61, -40, z0])
        frame = _kidney_axes(s)
        body = ellipsoid(w, centre, (27, 25, 55), frame)
        notch = ellipsoid(w, centre - s * 29 * frame[0] * s * s + np.array([0, 4, 0]), (17, 14, 19), frame)
        field = smooth_max(body, -notch, 9) + w.random(rng, 30, 0.5)
        allowed = over("visceral_fat", "muscle", "liver")[w.tissue]
        level = level_for(field, allowed, person.volumes_ml[name] / canvas.voxel_ml, most=9)
        canvas.paint(w, field < level + 7, "visceral_fat", over("muscle"))
        canvas.paint(w, field < level + 2.5, "visceral_fat", over("liver"))
        mask = FATTY[w.tissue] & (field < level)
        depth = level - field
        canvas.paint(w, mask, f"{name}_cortex")
        along = (w.z - centre[2]) / 11.0
        columns = np.cos(2 * np.pi * along) * 0.5 + w.random(rng, 13, 0.45)
        canvas.paint(w, mask & (depth > 6.0) & (columns > -0.30), f"{name}_medulla")
        pelvis = ellipsoid(w, centre - frame[0] * 11 * s * s + np.array([0, 2, 0]), (12, 8, 20), frame)
        calyx = np.minimum(
            *(ellipsoid(w, centre - frame[0] * 4 + np.array([0, 1, d]), (11, 6, 7), frame) for d in (-22, 22))
        )
        sinus = np.minimum(pelvis, calyx)
        canvas.paint(w, mask & (sinus < 3) & (depth > 4), "visceral_fat")
        canvas.paint(
            w,
            mask & (sinus < 0.5) & (depth > 1),
            f"{name}_pelvis",
            over("visceral_fat", f"{name}_cortex", f"{name}_medulla"),
        )
        wu = canvas.window((low - 20, -80, 890), (high, 40, z0))
        ureter = line("ureter", s)
        ureter[:2, 2] += z0
        canvas.paint(wu, canvas.strand(wu, ureter, 30) < 0, "ureter", over("visceral_fat", "muscle"))
        adrenal = canvas.tube(w, np.array([(s * 40, -34, z0 + 62), (s * 44, -44, z0 + 48)]), 4.0)
        canvas.paint(w, adrenal < 0, "adrenal", FATTY)


def _kidney_axes(side: int) -> np.ndarray:
    """Rows: lateral (away from the spine), front, up; the upper pole leans to the middle and back."""
    up = np.array([-side * 0.22, -0.18, 1.0])
    up /= np.linalg.norm(up)
    lateral = np.array([side * 1.0, -0.45, 0.0])
    lateral -= up * (lateral @ up)
    lateral /= np.linalg.norm(lateral)
    return np.stack([lateral, np.cross(up, lateral), up])


def paint_stomach(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """Fundus under the left dome, body, antrum to the right; wall, content, and air in front."""
    w = canvas.window((-120, -75, 1085), (70, 115, 1295))
    field = canvas.strand(w, line("stomach"), 40) + w.random(rng, 28, 1.3)
    allowed = over("visceral_fat")[w.tissue] & (field < 40)
    level = level_for(field, allowed, person.volumes_ml["stomach"] / canvas.voxel_ml, most=14)
    mask = allowed & (field < level)
    canvas.paint(w, mask, "stomach_wall")
    inside = mask & (field < level - 4.2)
    canvas.paint(w, inside, "stomach_content")
    share = np.clip(0.28 + 0.13 * person.shape["stomach_gas"], 0.05, 0.6)
    if inside.any():
        y_level = np.quantile(w.y[inside], 1 - share)
        canvas.paint(w, inside & (w.y > y_level), "stomach_gas")
    wd = canvas.window((-50, -30, 1060), (90, 60, 1200))
    d = canvas.strand(wd, line("duodenum"), 40)
    canvas.paint(wd, d < 0, "bowel_wall", FATTY)
    canvas.paint(wd, d < -3, "bowel_content", over("bowel_wall"))


def paint_pancreas(canvas: Canvas, person: Person, rng: np.random.Generator) -> None:
    """Head in the duodenal loop, neck before the vessels, body and tail to the spleen; lobulated."""
    w = canvas.window((-115, -50, 1090), (75, 60, 1240))
    field = canvas.strand(w, line("pancreas"), 44) + w.random(rng, 7.5, 1.3)
    allowed = FATTY[w.tissue] & (field < 18)
    level = level_for(field, allowed, person.volumes_ml["pancreas"] / canvas.voxel_ml, most=9)
    mask = allowed & (field < level)
    canvas.paint(w, mask, "pancreas")
    splenic = [(14, 8, 1160, 4.5), (-20, 6, 1176, 4), (-60, -14, 1192, 3.6), (-88, -32, 1206, 3)]
    canvas.paint(w, canvas.strand(w, splenic, 24) < 0, "vessel", FATTY)
    mesenteric = [(12, 14, 1160, 5), (12, 22, 1120, 4.5), (18, 34, 1070, 3)]
    wm = canvas.window((0, -10, 1050), (40, 60, 1190))
    canvas.paint(wm, canvas.strand(wm, mesenteric, 14) < 0, "vessel", FATTY)
