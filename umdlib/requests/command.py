"""`umdlib segment`: answer one request or a table of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from umdlib.errors import InputError

# Options whose values may begin with a minus, which a command line else takes for an option.
_SIGNED = ("--click", "--negative", "--box")


def signed(argv: Sequence[str]) -> list[str]:
    """Words of a command line with a value that begins with a minus joined to its option.

    Examples
    --------
    >>> signed(["segment", "ct.nii", "--click", "-20,0,5"])
    ['segment', 'ct.nii', '--click=-20,0,5']
    """
    words: list[str] = []
    for word in argv:
        if words and words[-1] in _SIGNED and word[:1] == "-" and word[1:2].isdigit():
            words[-1] = f"{words[-1]}={word}"
        else:
            words.append(word)
    return words


def run(a: argparse.Namespace, draw, say: Callable[[str], None]) -> int:
    """Answer one request or a table of them; the exit status is 1 where one failed."""
    from umdlib.requests.answer import Request
    from umdlib.requests.batch import answer_all, read_requests, stem, write_results
    from umdlib.requests.given import Given
    from umdlib.segmenters import calls

    opened = calls.open(a.system, a.device)
    draw = None if a.no_picture else draw
    if a.image.lower().endswith(".tsv"):
        folder = Path(a.out or f"{Path(a.image).stem}_{opened.record.name}")
        _refuse_prompts(a)
        results = answer_all(
            read_requests(a.image, folder), opened, draw=draw, overwrite=a.overwrite, say=say
        )
        place = write_results(folder, results)
        failed = int(results["status"].eq("failed").sum())
        say(f"Results: {place} ({len(results)} rows, {failed} failed)")
        return 1 if failed else 0
    given = Given(
        tuple(a.click), tuple(a.negative), a.box, tuple(a.text), a.coordinates, a.lasso, a.initial_mask
    )
    out = Path(a.out or f"{stem(a.image)}_{opened.record.name}.nii.gz")
    request = Request(a.image, out, given, a.modality, a.session, a.partner)
    _say_answer(request, opened, draw, a.overwrite, say)
    return 0


def _say_answer(request, opened, draw, overwrite: bool, say: Callable[[str], None]) -> None:
    """One answer in words."""
    from umdlib.requests.answer import answer

    found = answer(request, opened, draw=draw, overwrite=overwrite)
    for note in found.notes:
        say(f"Note: {note}")
    for line in found.lines():
        say(line)
    say(
        f"Mask: {found.out} ({'kept' if found.kept else f'{found.seconds:.1f} s'}), on the grid of {request.image}"
    )
    say(f"Record: {request.beside('.json')}")
    if draw is not None:
        say(f"Picture: {request.beside('.png')}")


def _refuse_prompts(a: argparse.Namespace) -> None:
    """Refuse prompts beside a table, which holds its own."""
    names = "click", "negative", "box", "lasso", "initial_mask", "text", "modality", "session", "partner"
    for name in names:
        if getattr(a, name):
            option = name.replace("_", "-")
            raise InputError(f"Option --{option} goes with one image. In {a.image} it is a column.")
