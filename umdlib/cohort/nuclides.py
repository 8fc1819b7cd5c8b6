"""Nuclides of PET: which one a text names, and whether a half-life is one of theirs."""

from __future__ import annotations

import re

from umdlib.errors import InputError

# Nuclide -> (element, half-life in s), rounded from ENSDF.
NUCLIDES: dict[str, tuple[str, float]] = {
    "O15": ("oxygen", 122.2),
    "N13": ("nitrogen", 597.9),
    "C11": ("carbon", 1221.6),
    "F18": ("fluorine", 6586.2),
    "Sc44": ("scandium", 14550.0),
    "Mn52": ("manganese", 483062.0),
    "Co55": ("cobalt", 63108.0),
    "Cu62": ("copper", 580.0),
    "Cu64": ("copper", 45720.0),
    "Ga66": ("gallium", 34160.0),
    "Ga68": ("gallium", 4062.6),
    "Br76": ("bromine", 58320.0),
    "Rb82": ("rubidium", 75.5),
    "Y86": ("yttrium", 53064.0),
    "Y90": ("yttrium", 230500.0),
    "Zr89": ("zirconium", 282276.0),
    "I120": ("iodine", 4896.0),
    "I124": ("iodine", 360800.0),
}

# Half-lives in headers differ by this share at most from one of these.
_TOLERANCE = 0.03

_FDG = ("fdg", "fluorodeoxyglucose")


def nuclide_of(*texts: str) -> str:
    """Nuclide that the first of these texts with one names; empty where none does.

    Examples
    --------
    >>> nuclide_of("", "^18^Fluorine"), nuclide_of("[68Ga]Ga-PSMA-11"), nuclide_of("FDG"), nuclide_of("PSMA-1007")
    ('F18', 'Ga68', 'F18', '')
    """
    for text in texts:
        tokens = [t.lower() for t in re.findall(r"[A-Za-z]+|\d+", text)]
        for name, (element, _) in NUCLIDES.items():
            symbol, mass = re.fullmatch(r"([A-Z][a-z]?)(\d+)", name).groups()
            if mass in tokens and (symbol.lower() in tokens or element in tokens):
                return name
        if any(word in tokens for word in _FDG):
            return "F18"
    return ""


def half_life_s(given: object, nuclide: str, tag: str) -> float:
    """Half-life of a tracer in seconds.

    Parameters
    ----------
    given
        As a header has it; None or an empty text is missing.
    nuclide
        Of `NUCLIDES`, or empty where nothing names it.
    tag
        What errors call the value.

    Raises
    ------
    InputError
        A half-life that is missing beside no nuclide, that is not one of `NUCLIDES` (it may be in minutes), or that is
        the half-life of another nuclide than the one that is named.
    """
    if given is None or str(given).strip() == "":
        if not nuclide:
            raise InputError(f"{tag} is missing, and no nuclide is named. Without it PET cannot become SUV")
        return NUCLIDES[nuclide][1]
    try:
        seconds = float(str(given))
    except ValueError:
        seconds = float("nan")
    near = [n for n, (_, s) in NUCLIDES.items() if abs(seconds / s - 1) <= _TOLERANCE]
    if not near:
        raise InputError(
            f"{tag} is '{given}'. Must be the half-life of a nuclide of PET in seconds (F-18: 6586): is it in minutes "
            "or hours?"
        )
    if nuclide and nuclide not in near:
        raise InputError(
            f"{tag} is '{given}', that of {near[0]}, and the nuclide is {nuclide} ({NUCLIDES[nuclide][1]:g} s)"
        )
    return seconds
