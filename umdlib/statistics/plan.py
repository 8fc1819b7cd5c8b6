"""The frozen plan of analysis, its hash, and where a table departs from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import resources


def read_plan() -> dict[str, object]:
    """Read the plan: primary endpoint, prompt, families, settings, date, and what was known by then."""
    return json.loads((resources.files("umdlib.statistics") / "plan.json").read_text(encoding="utf-8"))


def plan_hash() -> str:
    """SHA-256 of the plan's content, whatever the layout of its file."""
    text = json.dumps(read_plan(), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def departures(settings: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    """List settings of a comparison that are not those of the plan.

    Parameters
    ----------
    settings
        ``attrs`` of a table of `umdlib.statistics.comparison.compare`.

    Returns
    -------
    dict
        Name -> (planned, used); empty where the table follows the plan.

    Examples
    --------
    >>> departures(read_plan()["settings"] | {"margin": 0.05})
    {'margin': (0.02, 0.05)}
    """
    planned = read_plan()["settings"]
    return {k: (v, settings[k]) for k, v in planned.items() if k in settings and settings[k] != v}


def exploratory_words() -> str:
    """Quote the plan beside tests that it does not hold."""
    plan = f"Plan {plan_hash()[:8]}, frozen {read_plan()['frozen']}"
    return f"{plan}: these comparisons are not in it, they are exploratory."


def plan_words(settings: Mapping[str, object]) -> str:
    """Quote the plan under a table: its hash and date, and where the table departs from it."""
    plan = read_plan()
    name = f"Plan {plan_hash()[:8]}, frozen {plan['frozen']}"
    changed = departures(settings)
    if not changed:
        return f"{name}: followed."
    changes = ", ".join(f"{k} {used} instead of {planned}" for k, (planned, used) in changed.items())
    return f"{name}: this table departs from it ({changes}) and is exploratory."
