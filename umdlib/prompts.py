"""Prompts in world coordinates: what a user gives a segmenter."""

from __future__ import annotations

from dataclasses import dataclass

XYZ = tuple[float, float, float]


@dataclass(frozen=True)
class Click:
    """A point in world coordinates (RAS+, mm); `positive` inside the structure, negative outside."""

    xyz_mm: XYZ
    positive: bool = True


@dataclass(frozen=True)
class Box:
    """A box in world coordinates (RAS+, mm), from the outer faces of its first to its last voxels."""

    low_mm: XYZ
    high_mm: XYZ


@dataclass(frozen=True)
class Prompt:
    """All that a user has given so far for one structure.

    Attributes
    ----------
    structure
        Name of the structure (what a class- or text-prompted system is asked for).
    clicks
        In the order given; the last is the newest.
    box
        Optional box.
    text
        Optional text.
    protocol
        How the prompt was drawn, e.g. ``"centre"``.
    seed
        Seed of the draw; 0 for protocols that draw nothing.
    note
        Stated exception, e.g. ``"outside_partner"``: the click lies outside the structure on the
        partner image's grid.
    """

    structure: str
    clicks: tuple[Click, ...] = ()
    box: Box | None = None
    text: str | None = None
    protocol: str = "centre"
    seed: int = 0
    note: str = ""

    @property
    def step(self) -> int:
        """Corrective clicks so far: clicks given after the first."""
        return max(len(self.clicks) - 1, 0)
