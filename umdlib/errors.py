"""The one error that bad input raises, its kind for what a run does not hold, and the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Input that breaks a stated rule; the message names the file or case, the value and the rule."""

    def _render_traceback_(self) -> list[str]:
        """In a notebook: the sentence in place of a traceback, as IPython asks."""
        return [f"{type(self).__name__}: {self}"]


class NothingToShow(InputError):
    """A run does not hold what a page shows; the page is then its title and this sentence."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Error for a name that is not in a closed set, with the nearest known name.

    Parameters
    ----------
    kind
        What is named, e.g. ``"structure"``.
    name
        The name that was given.
    known
        The names that exist.

    Returns
    -------
    InputError
        To be raised by the caller.

    Examples
    --------
    >>> print(unknown_name("structure", "livre", ["liver", "spleen"]))
    Unknown structure 'livre'. Did you mean 'liver'? Known: liver, spleen.
    """
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return InputError(f"Unknown {kind} '{name}'.{hint} Known: {', '.join(known) or 'none'}.")
