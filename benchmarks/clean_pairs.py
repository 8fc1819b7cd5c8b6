"""Check 200 clean pairs: no alarm may be raised; and take away the attenuation correction: one must be.

    python benchmarks/clean_pairs.py COHORT/manifest.tsv [MORE/manifest.tsv ...]

A body of the simulator costs half a minute, so that few bodies stand for many: each examination of the cohorts is
brought to 6 mm PET and taken ten ways that leave a pair clean (`WAYS`): another place and pose of the scanner, another
order of voxels, a shorter or narrower field, another dose, noise, sharpness and voxel size, breathing. The second part
multiplies PET by the mean over transverse directions of exp(-attenuation along the line), which is what the image is
without its correction but for scatter. Writes results/clean_pairs.json beside this file; the exit status is 1 where a
clean pair raises a fault or a doubt.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from umdlib.cohort import body_checks, overlay
from umdlib.cohort.checks import examine_cohort
from umdlib.cohort.image_checks import read_facts
from umdlib.cohort.manifest import Case, Cohort, read_cohort
from umdlib.images import geometry
from umdlib.images.volume import LabelMap, Volume

RESULTS = Path(__file__).parent / "results" / "clean_pairs.json"
PET_MM = 6.0
WATER_PER_MM = 0.0096  # at 511 keV, NIST XCOM
Scan = tuple[Volume, LabelMap]


@dataclass(frozen=True)
class Held(Case):
    """A case whose volumes are in memory."""

    scan: Scan | None = None

    def read_image(self) -> Volume:
        """The image that is held."""
        return self.scan[0]

    def read(self, reference: LabelMap | None = None) -> Scan:
        """The image and the reference that are held."""
        return self.scan


def resampled(scan: Scan, spacing_mm: float) -> Scan:
    """A scan on isotropic voxels along its own axes."""
    image, reference = scan
    zoom = np.array(image.spacing_mm) / spacing_mm
    shape = tuple(int(n) for n in np.maximum(2, np.floor(np.array(image.shape) * zoom)))
    affine = image.affine @ np.diag([*1 / zoom, 1])
    affine[:3, 3] += image.affine[:3, :3] @ (0.5 / zoom - 0.5)
    data = geometry.resample(image.data.astype(np.float32), image.affine, affine, shape, order=1)
    labels = geometry.resample(reference.data, image.affine, affine, shape, order=0)
    return Volume(data, affine, image.unit), LabelMap(labels, affine)


def with_data(scan: Scan, change: Callable[[np.ndarray], np.ndarray]) -> Scan:
    """A scan with other intensities."""
    image, reference = scan
    return Volume(
        change(image.data.astype(np.float32)).astype(np.float32), image.affine, image.unit
    ), reference


def placed(scan: Scan, move: np.ndarray) -> Scan:
    """A scan elsewhere in the world."""
    return tuple(replace(v, affine=move @ v.affine) for v in scan)


def cut(scan: Scan, axis: int, low: float, high: float) -> Scan:
    """A part of the field, as shares of an axis."""
    n = scan[0].shape[axis]
    part = [slice(None)] * 3
    part[axis] = slice(int(low * n), int(high * n))
    start = np.zeros(4)
    start[axis] = part[axis].start
    found = []
    for v in scan:
        affine = v.affine.copy()
        affine[:, 3] += v.affine @ start
        found.append(replace(v, data=np.asfortranarray(v.data[tuple(part)]), affine=affine))
    return tuple(found)


def turned(scan: Scan) -> Scan:
    """The same voxels in another order: the first axis backwards, the second and third exchanged."""
    n, found = scan[0].shape[0], []
    turn = np.array([[-1.0, 0, 0, n - 1], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    for v in scan:
        found.append(
            replace(v, data=np.asfortranarray(v.data[::-1].transpose(0, 2, 1)), affine=v.affine @ turn)
        )
    return tuple(found)


def pose(degrees: float, rng: np.random.Generator) -> np.ndarray:
    """A rigid motion: some degrees about the long axis and up to 200 mm."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    move = np.eye(4)
    move[:2, :2] = [[c, -s], [s, c]]
    move[:3, 3] = rng.uniform(-200, 200, 3)
    return move


def moved_by(mm: tuple[float, float, float]) -> np.ndarray:
    """A translation."""
    move = np.eye(4)
    move[:3, 3] = mm
    return move


# Way -> function of (structural, PET, rng): a pair that is as clean as before.
WAYS: dict[str, Callable] = {
    "as it is": lambda s, p, g: (s, p),
    "another pose": lambda s, p, g: (lambda m: (placed(s, m), placed(p, m)))(pose(g.uniform(-8, 8), g)),
    "another order of voxels": lambda s, p, g: (turned(s), p),
    "a PET that ends at the thighs": lambda s, p, g: (s, cut(p, 2, g.uniform(0.1, 0.3), 1)),
    "a structural image without the head": lambda s, p, g: (cut(s, 2, 0, g.uniform(0.75, 0.85)), p),
    "arms outside a narrower field": lambda s, p, g: (cut(s, 0, 0.12, 0.88), p),
    "another dose": lambda s, p, g: (s, with_data(p, lambda d: d * g.uniform(0.7, 1.3))),
    "noise": lambda s, p, g: (
        s,
        with_data(p, lambda d: d * (1 + 0.3 * g.standard_normal(d.shape, np.float32))),
    ),
    "a blurred PET": lambda s, p, g: (
        s,
        with_data(p, lambda d: ndimage.gaussian_filter(d, g.uniform(0.4, 1.0))),
    ),
    "breathing": lambda s, p, g: (s, placed(p, moved_by((0, g.uniform(-2, 2), g.uniform(-6, 6))))),
}


def variants(pair: tuple[Case, Case], number: int) -> list[Held]:
    """The ten clean pairs of one examination."""
    rng, found = np.random.default_rng([7, number]), []
    structural, pet = (case.read() for case in pair)
    pet = resampled(pet, PET_MM)
    for way, change in WAYS.items():
        subject = f"{number:03d}-{way.replace(' ', '-')}"
        for case, scan in zip(pair, change(structural, pet, rng), strict=True):
            # a voxel's change keeps the way's image from being called another person's
            first = np.array(scan[0].data, np.float32, order="F")
            first[0, 0, 0] += np.float32(1e-3 * (len(found) + 1))
            scan = (Volume(first, scan[0].affine, case.unit), scan[1])
            own = {k: getattr(case, k) for k in Case.__dataclass_fields__} | {"subject": subject}
            found.append(Held(**own, scan=scan))
    return found


def attenuation(structural_hu: np.ndarray, spacing_mm: float, slices: int = 4) -> np.ndarray:
    """Factor (I, J, K) of PET without its correction: lines in 12 transverse directions, every fourth slice."""
    hu = structural_hu[:, :, ::slices]
    mu = WATER_PER_MM * np.maximum(1 + np.where(hu < 0, hu, hu / 2) / 1000, 0)
    total = np.zeros_like(mu)
    for angle in range(0, 180, 15):
        lines = ndimage.rotate(mu, angle, axes=(0, 1), order=1)
        through = np.broadcast_to(np.exp(-lines.sum(axis=1, keepdims=True) * spacing_mm), lines.shape)
        back = ndimage.rotate(through, -angle, axes=(0, 1), order=1)
        at = [(b - m) // 2 for b, m in zip(back.shape, mu.shape, strict=True)]
        total += back[at[0] : at[0] + mu.shape[0], at[1] : at[1] + mu.shape[1]]
    return np.repeat(total / 12, slices, axis=2)[:, :, : structural_hu.shape[2]]


def rims(pair: tuple[Case, Case]) -> tuple[float, float]:
    """Rim by core of a pair, as it is and without attenuation correction."""
    facts = [read_facts(case) for case in pair]
    both = overlay.overlay_of(*facts)
    seen = np.where(both.inside, both.structural, both.structural.min())
    if pair[0].unit != "HU":
        seen = np.where(seen > 0.15 * np.percentile(seen, 99), 0.0, -1000.0)
    factor = attenuation(seen, geometry.spacing_mm(both.grid)[0])
    without = replace(both, pet=both.pet * factor)
    return body_checks.rim_by_core(facts[0], both), body_checks.rim_by_core(facts[0], without)


def main(manifests: list[str]) -> int:
    """Check all, print and write what came out."""
    start, number, findings, checked, ratios = time.process_time(), 0, [], 0, []
    for manifest in manifests:
        cohort = read_cohort(manifest)
        for pair in cohort.pairs():
            number += 1
            held = variants(pair, number)
            kept = Cohort(tuple(held), cohort.structures, pd.DataFrame(), Path(manifest))
            found = examine_cohort(kept).findings
            # ten ways of one person share most voxels on purpose: whether that is told is another test
            findings += found[found["check"] != "duplicate"].to_dict("records")
            checked += len(held) // 2
            ratios.append(rims(pair))
            print(
                f"{pair[0].subject} {pair[0].session}: {len(held) // 2} pairs, {len(findings)} findings so far",
                flush=True,
            )
    alarms = [f for f in findings if f["kind"] != "note"]
    clean, without = (sorted(r for r in column if np.isfinite(r)) for column in zip(*ratios, strict=True))
    record = {
        "examinations": number,
        "pairs": checked,
        "alarms": len(alarms),
        "notes": len(findings) - len(alarms),
        "rim_by_core": {"clean": [clean[0], clean[-1]], "not_corrected": [without[0], without[-1]]},
        "told": sum(r > body_checks.RIM_BY_CORE for r in without),
        "cpu_s": round(time.process_time() - start),
    }
    for f in alarms:
        print(f"{f['kind']} {f['check']} {f['subject']} {f['session']}: {f['message']}")
    print(json.dumps(record, indent=1))
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 1 if alarms else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "manifests", nargs="+", metavar="MANIFEST", help="cohorts whose examinations are taken"
    )
    sys.exit(main(parser.parse_args().manifests))
