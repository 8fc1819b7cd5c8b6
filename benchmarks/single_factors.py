"""Ask the ladder for shares where a synthetic PET differs from its CT by one factor alone.

    python benchmarks/single_factors.py
    python benchmarks/single_factors.py --subjects 2 --cohorts "R;N"

A few subjects of the synthetic PET/CT cohort, eight structures, and three segmenters with the common click. The
simulator's contrast is uneven within organs (cortex and pelvis of a kidney, grey and white matter), and its
misalignment stretches, blurs and fills a bladder: more than the ladder's factor. Two cohorts isolate the factor: "even
uptake" gives each structure and each class of the rest one uptake, "shift" moves the whole body.

A cell whose image is the same to the bit as another's is predicted once. Writes results/single_factors.json beside this
file, with every segmenter that was asked, shown in the book's chapter on the ladder. A part is not judged where the
interval of its gap covers 0. The exit status is 1 where a cohort of one factor gives it under 95 % of a gap, or an
interval of another factor does not cover 0.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from umdlib import ladder, prompts, segmenters
from umdlib.images.volume import Volume
from umdlib.labels import ORGANS
from umdlib.metrics.masks import dice
from umdlib.statistics import attribution
from umdlib.synthetic.anatomy.tissue import CODES, label_of_code
from umdlib.synthetic.cohort import make_pair
from umdlib.synthetic.literature import TISSUE
from umdlib.synthetic.scanner.contrast import uptake_table
from umdlib.synthetic.scanner.factors import only
from umdlib.synthetic.scanner.sampling import Grid, blur_to, sample, structural_fwhm
from umdlib.synthetic.scanner.simulation import Pair, image_pair

RESULTS = Path(__file__).parent / "results" / "single_factors.json"
SEED, SPACING_MM = 20260207, 6.0
STRUCTURES = ("liver", "spleen", "kidney_left", "kidney_right", "brain", "urinary_bladder", "aorta", "heart")
SEGMENTERS = ("threshold", "region_growing", "clicknet_structural")
# cohort: (factor, whether nothing but this factor differs)
COHORTS = {
    "R, twice": ("R", True),
    "N": ("N", True),
    "C, even uptake": ("C", True),
    "A, shift": ("A", True),
    "C": ("C", False),
    "A": ("A", False),
}


def drawn(subject: str, wanted: Sequence[str] = tuple(COHORTS)) -> Iterator[tuple[str, Pair]]:
    """Pairs of one person by cohort: each PET differs from the same CT by one factor."""
    base = make_pair(subject, "petct", SEED, SPACING_MM, factors=only())
    seed = int(subject.removeprefix("sub-"))
    shift = tuple(np.random.default_rng([SEED, seed]).choice((-8.0, 8.0), 3))
    still = replace(base.acquisition, breathing_mm=0.0, misregistration_mm=0.0, rigid_mm=shift)
    for name in wanted:
        factor, acquisition = only(COHORTS[name][0]), base.acquisition
        if name == "R, twice":
            factor = replace(factor, resolution=2.0)
        elif name == "A, shift":
            factor, acquisition = only("misregistration"), still
        elif name == "C, even uptake":
            factor = only()
        given = {"session": "petct", "acquisition": acquisition, "seed": seed, "spacing_mm": SPACING_MM}
        pair = image_pair(base.anatomy, factors=factor, **given)
        yield name, even_uptake(pair) if name == "C, even uptake" else pair


def even_uptake(pair: Pair) -> Pair:
    """A pair whose PET has one uptake in each structure and each class of the rest, as sharp as its CT."""
    tissue, affine = pair.anatomy.tissue, pair.anatomy.affine
    hu = np.zeros(256)
    for name, record in TISSUE.items():
        hu[CODES[name]] = record.hu
    labels = label_of_code()
    kind = np.where(labels > 0, labels, 200 + np.digitize(hu, (-500, -20, 150)))
    counts = np.bincount(tissue.ravel(), minlength=256)
    suv, uptake = np.zeros(256, np.float32), uptake_table(pair.anatomy.person)
    for k in np.unique(kind):
        here = (kind == k) & (counts > 0)
        if here.any():
            suv[kind == k] = np.average(uptake[here], weights=counts[here])
    values = blur_to(suv[tissue], affine[0, 0], structural_fwhm("petct", SPACING_MM))
    ct = pair.structural
    pet = Volume(sample(values, affine, Grid(ct.shape, ct.affine)), ct.affine, "SUV")
    return replace(pair, pet=pet, pet_reference=pair.structural_reference)


def climbed(subject: str, cohort: str, pair: Pair, opened: Sequence[segmenters.Opened]) -> pd.DataFrame:
    """Scores of the cells of one pair, structure by structure, of every segmenter."""
    structural, pet = (pair.structural, pair.structural_reference), (pair.pet, pair.pet_reference)
    made_of = ladder.estimate_pair(structural, pet, ORGANS).made_of
    given = prompts.pair_prompts(
        {"CT": structural[1], "PET": pet[1]}, ORGANS, structural="CT", protocol="centre", seed=0, case=subject
    )
    images = [
        (cell, image, pet[1] if "R" in cell and made_of.grid else structural[1])
        for cell, image in ladder.degraded_cells(structural[0], made_of, name=subject)
    ]
    rows, known = [], {}
    for cell, image, reference in [*images, ("PET", *pet)]:
        digest = hashlib.sha256(image.data.tobytes() + image.unit.encode()).hexdigest()
        for one in opened:
            for s in (s for s in ORGANS if s.name in STRUCTURES):
                key = digest, one.record.name, s.name
                if key not in known:
                    known[key] = dice(reference.data == s.value, one.call()(image, given[s.name]))
                rows.append((subject, cohort, s.name, one.record.name, cell, known[key], ""))
    return pd.DataFrame(rows, columns=[*attribution.KEYS, "cell", "score", "reason"])


def judged(shares: pd.DataFrame) -> list[dict]:
    """Mean share of each factor in each cohort and for each segmenter, with its part of the gap."""
    table = attribution.share_table(shares, ("session", "segmenter"), n_resamples=10_000)
    found = []
    for (cohort, segmenter), part in table.groupby(["session", "segmenter"], sort=False):
        own, alone = COHORTS[cohort]
        part = part.set_index("factor")
        row = {"cohort": cohort, "segmenter": segmenter, "factor": own, "alone": alone}
        row["n"] = int(part["n_subjects"].max())
        for factor, line in part.iterrows():
            row[factor] = [round(float(line[c]), 6) for c in ("estimate", "low", "high")]
        here = shares[shares["session"].eq(cohort) & shares["segmenter"].eq(segmenter)]
        row["part"] = [round(v, 4) for v in part_of_gap(here, own)]
        row["gap_seen"] = not row["gap"][1] <= 0 <= row["gap"][2]
        others = [row[f] for f in ladder.FACTORS if f != own]
        row["others_cover_0"] = all(low <= 0 <= high for _, low, high in others)
        found.append(row)
    return found


def part_of_gap(shares: pd.DataFrame, factor: str) -> tuple[float, float, float]:
    """Mean share of a factor over mean gap, with a 95 % interval by percentiles of a bootstrap over subjects."""
    means = shares.pivot_table(index="subject", columns="factor", values="share")
    own, gap = means[factor].to_numpy(), means["gap"].to_numpy()
    drawn = np.random.default_rng(0).integers(0, len(gap), (10_000, len(gap)))
    ratios = own[drawn].mean(axis=1) / gap[drawn].mean(axis=1)
    return (own.mean() / gap.mean(), *np.quantile(ratios, (0.025, 0.975)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, default=4)
    parser.add_argument("--cohorts", default=";".join(COHORTS), help="names, with ; between them")
    parser.add_argument("--segmenters", default=",".join(SEGMENTERS), help="names, with , between them")
    a = parser.parse_args()
    wanted, started, parts = a.cohorts.split(";"), time.process_time(), []
    given = tuple(a.segmenters.split(","))
    opened = [segmenters.open(n) for n in given]
    for n in range(a.subjects):
        subject = f"sub-{n + 1:03d}"
        parts += [climbed(subject, name, pair, opened) for name, pair in drawn(subject, wanted)]
        print(f"{subject} {time.process_time() - started:.0f} s", flush=True)
    shares = attribution.share_rows(pd.concat(parts, ignore_index=True))
    return reported(shares, time.process_time() - started, wanted == list(COHORTS) and given == SEGMENTERS)


def reported(shares: pd.DataFrame, seconds: float, whole: bool) -> int:
    """Print and judge shares, and write them where they are all that are asked by default."""
    rows = judged(shares)
    print(pd.DataFrame(rows).to_string())
    by = ["session", "segmenter", "structure"]
    print(shares.pivot_table(index=by, columns="factor", values="share", sort=False).round(3).to_string())
    seen = [r for r in rows if r["alone"] and r["gap_seen"]]
    right = all(r["part"][0] >= 0.95 for r in seen) and all(r["others_cover_0"] for r in rows if r["alone"])
    if whole:
        record = {
            "rows": rows,
            "structures": STRUCTURES,
            "spacing_mm": SPACING_MM,
            "additivity_error": attribution.additivity_error(shares),
            "cpu_seconds": round(seconds, 1),
            "date": datetime.date.today().isoformat(),
            "command": "python benchmarks/single_factors.py",
            "python": platform.python_version(),
        }
        RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
