"""Coordinates (mm) of the reference adult: x to the right, y to the front, z up from the soles."""

from __future__ import annotations

import numpy as np

# A name, then its points; a line that begins with spaces goes on with the one before.
_TEXT = """\
# sections: z, half-width, front, back (mm from y = -5); the lean surface of a man's trunk
trunk: 700 120 60 70, 830 150 72 88, 870 166 84 100, 920 170 90 108, 980 156 92 100, 1050 140 92 96,
    1110 139 93 98, 1170 144 98 102, 1230 151 104 107, 1300 160 106 112, 1370 163 100 112, 1410 150 80 104,
    1440 104 58 92, 1462 74 46 82, 1490 60 46 76, 1540 56 44 72, 1580 54 40 68, 1600 44 30 62
# the outer surface of the rib cage
cage: 1080 112 72 84, 1130 122 82 90, 1170 130 89 94, 1230 139 95 100, 1300 141 93 106, 1350 131 82 106,
    1390 112 68 100, 1420 92 56 92, 1445 66 44 82, 1462 40 32 66, 1475 22 20 50
# the middle of the iliac wings, which flare upwards (front and back from y = 50)
wing: 930 99 60 124, 960 106 60 132, 1000 117 60 140, 1040 129 60 148, 1085 138 60 152
# centre of the vertebral body: z, y, half-width, half-depth
spine: 890 -66 8 6, 920 -88 20 9, 950 -90 34 12, 980 -76 46 16, 1008 -54 50 20, 1030 -42 25 17,
    1080 -32 25 17, 1130 -36 23 17, 1190 -48 21 16, 1260 -62 18 15, 1330 -72 16 14, 1400 -70 15 12,
    1460 -54 14 10, 1500 -42 13 9, 1540 -32 12 8.5, 1580 -28 12 8.5, 1604 -28 12 8
# half thickness of the septa between muscles, relative to the thigh's: z, share
septa: 700 1.0, 880 1.15, 960 1.1, 1040 0.6, 1150 0.45, 1260 0.55, 1380 0.95, 1470 1.0, 1560 0.9, 1640 0.3
# share of the dome's motion at a height z: none at apex and pelvis
motion: 900 0, 960 0.04, 1040 0.25, 1120 0.6, 1200 0.9, 1270 1.0, 1330 0.7, 1400 0.2, 1450 0.0
# tubes of the right side, or of the middle: x, y, z, and the radius where it varies
psoas: 26 -42 1185 7, 36 -36 1120 17, 46 -26 1050 24, 66 0 975 22, 84 22 925 17, 104 -6 872 10
ureter: 38 -34 -10 2.6, 34 -22 -50 2, 38 -6 1040 1.9, 40 -20 975 1.9, 22 4 922 1.9
stomach: -58 -26 1258 26, -66 -8 1238 36, -64 18 1206 34, -54 38 1170 28, -30 52 1146 23, 2 54 1146 18,
    26 44 1162 13, 38 32 1172 8
duodenum: 38 32 1172 9, 54 18 1165 11, 56 2 1140 11, 50 0 1105 11, 20 8 1092 10, -12 10 1100 10,
    -26 22 1118 10
pancreas: 34 8 1118 10, 36 10 1138 14, 26 14 1156 12, 8 24 1166 8.5, -20 20 1174 9.5, -50 0 1184 9.5,
    -78 -22 1196 8, -92 -32 1202 6
aorta: 2 20 1330 16, 14 24 1356 16, 14 14 1384 15, 2 -8 1399 14, -12 -34 1393 13, -22 -50 1368 12.5,
    -23 -50 1320 12, -19 -44 1260 11.5, -10 -26 1205 11, -7 -12 1160 10, -5 -6 1120 9.4, -3 -6 1078 9
lower vena cava: 20 2 1264 11, 20 -16 1236 11, 20 -20 1200 11, 20 -12 1150 11, 19 -9 1085 10, 14 -12 1068 9
iliac artery: 3 -6 1076 6, 26 -16 1020 5, 52 6 965 4.6, 72 38 925 4.5, 76 44 880 4.4, 84 26 740 4
iliac vein: 16 -13 1068 8, 28 -24 1015 6.5, 50 -6 965 6, 62 30 925 6, 66 38 880 5.6, 80 14 740 5
axillary artery: 10 -10 1414, 26 0 1438, 60 14 1446, 104 -4 1424, 134 -22 1384
axillary vein: 22 22 1416, 46 30 1432, 78 22 1434, 110 0 1408, 132 -18 1366
oesophagus: 0 -6 1504 7, -3 -22 1455 7, -6 -40 1400 7, -6 -38 1350 7.4, -12 -32 1300 7.4, -22 -22 1262 7.6,
    -38 -14 1240 7
colon: 86 22 984 25, 95 14 1010 26, 100 2 1050 25, 100 -6 1086 24, 88 12 1112 22, 66 52 1104 21,
    34 68 1086 21, 0 72 1076 21, -40 66 1090 20, -78 44 1126 20, -102 4 1172 20, -112 -22 1158 19,
    -112 -26 1110 18, -108 -18 1060 18, -104 -2 1010 18, -84 20 972 17, -52 30 962 17, -18 24 978 17,
    14 4 978 17, 18 -26 968 17, 4 -46 952 19, 0 -52 925 22, 0 -48 896 20, 0 -40 868 12, 0 -44 845 9
lateral ventricle: 8 36 1672, 9 10 1686, 14 -22 1684, 24 -44 1668, 30 -22 1652
arm down: 158 -22 1412 46, 192 -30 1370 45, 212 -38 1230 39, 226 -40 1110 36, 232 -20 1000 34, 226 4 880 25,
    220 16 800 27, 216 24 700 15
arm up: 150 -20 1412 46, 178 -22 1450 44, 196 -8 1540 38, 196 12 1660 35, 180 26 1730 34, 120 40 1800 30,
    40 50 1850 25
"""


def _read(text: str) -> dict[str, np.ndarray]:
    """Name to points."""
    lines = [row for row in text.splitlines() if not row.startswith("#")]
    named = (row.split(":") for row in "\n".join(lines).replace("\n    ", " ").split("\n") if row)
    return {name: np.array([p.split() for p in points.split(",")], float) for name, points in named}


_LINES = _read(_TEXT)


def line(name: str, side: int = 1) -> np.ndarray:
    """Points (N, D) of a line or table; `side` -1 mirrors x."""
    points = _LINES[name].copy()
    points[:, 0] *= side
    return points
