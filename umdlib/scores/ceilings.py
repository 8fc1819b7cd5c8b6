"""Kinds of ceilings: names as the table of ceilings has them, and which of them are bounds."""

# Kind -> what it is, in words.
KINDS: dict[str, str] = {
    "grid": "the reference carried to PET's voxels and back, nearest neighbour",
    "grid, best": "the best mask of whole PET voxels against the reference as drawn on the structural image",
    "shift": "the reference against itself moved along the body by a stated length",
    "motion": "the reference against itself moved by the measured displacement between the two acquisitions",
    "second reader": "the reference against itself drawn again with a boundary that differs by a stated length",
    "two references": "the structural image's reference on PET's voxels against PET's own",
}
# What no score of the kind named in `KINDS` can exceed; the others are lines to read a score by.
BOUNDS: tuple[str, ...] = ("grid, best",)

FILE = "ceilings.tsv"
COLUMNS = ("subject", "session", "modality", "structure", "kind", "size_mm", "ceiling", "reason")
