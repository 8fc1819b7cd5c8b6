"""Inputs of the graph's jobs: code followed by its imports, what a chapter says of itself, and their hashes."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import umdlib
from umdlib.errors import InputError, unknown_name
from umdlib.files import replaced
from umdlib.scores import release
from umdlib.sources import import_closure
from umdlib.version import __version__

TRACKS = ("measured", "published", "simulated")
_PACKAGES = ("umdlib", "umdbook")
# The three training runs of a network, and the prompt of further networks.
TRAININGS = ("structural", "pet", "both")
FURTHER_PROMPTS = "centre:1:0"
DOMAIN_SEED = 3  # of the cohorts of other domains: no subject of a training
_HERE = Path(__file__).parent


class Beside(NamedTuple):
    """A run beside the main one, on its subjects: segmenters, the name of their released run, prompts."""

    segmenters: tuple[str, ...]
    release: str
    prompts: str = FURTHER_PROMPTS


LIVE = Beside(("litemedsam",), "litemedsam", "box")  # the one published network whose weights are here
BESIDE = {
    # the network of both images, with the second image and without it
    "both_images": Beside(("clicknet_pair", "clicknet_pair_alone"), "second_image"),
    # the three training runs once more, with as many steps for each kind of image
    "balanced": Beside(tuple(f"clicknet_balanced_{t}" for t in TRAININGS), "balanced"),
}


def chapter(template: str | Path) -> dict:
    """Track and inputs of a chapter, from its template's metadata.

    Returns
    -------
    dict
        ``track``: whose numbers it shows, one of `TRACKS`; ``reads``: files beside the run that it
        reads (those that are there), from patterns relative to the project's folder.
    """
    metadata = json.loads(Path(template).read_text("utf-8"))["metadata"].get("umd")
    if metadata is None:
        raise InputError(f"Notebook {template} has no entry 'umd' in its metadata.")
    if metadata.get("track") not in TRACKS:
        raise unknown_name(f"track of {template}", str(metadata.get("track")), TRACKS)
    project = _HERE.parents[1]
    reads = [str(p) for pattern in metadata.get("reads", []) for p in sorted(project.glob(pattern))]
    return {"track": metadata["track"], "reads": reads}


@functools.cache
def code_of(*starts: str) -> tuple[Path, ...]:
    """Files that modules, scripts or notebooks are computed with: code and package data, sorted.

    What opens segmenters by their names depends on the adapters of all; the command line on its table.

    Parameters
    ----------
    *starts
        Dotted names of modules, or paths of ``.py`` and ``.ipynb`` files.
    """
    name = "\n".join(map(str, starts))
    if name not in _kept:
        _kept[name] = list(map(str, _found_code(starts)))
    return tuple(map(Path, _kept[name]))


_kept: dict[str, list[str]] = {}  # what `code_of` has found: files by the lines of its starts


def keep_found_code(path: str | Path) -> None:
    """Take what `code_of` found in an earlier process, where no source has changed, and keep what it finds in this one.

    Reading every import takes seconds; a file of hashes tells in an instant that they are as they were.
    """
    state = _state_of_sources()
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(Path(path).read_text("utf-8"))
        if known["state"] == state:
            _kept.update(known["found"])
    before = len(_kept)

    def keep() -> None:
        if len(_kept) > before:
            with suppress(InputError), replaced(path) as part:
                part.write_text(json.dumps({"state": state, "found": _kept}), "utf-8")

    atexit.register(keep)


def _state_of_sources() -> str:
    """Hash of all that `code_of` reads: sources by their content, other files of the packages by their names."""
    project, state = _HERE.parents[1], hashlib.sha256(__version__.encode())
    for folder in (Path(umdlib.__file__).parent, _HERE, project / "notebooks", project / "workflow"):
        for inside, folders, names in os.walk(folder):
            folders[:] = sorted(n for n in folders if n not in ("__pycache__", ".ipynb_checkpoints"))
            for name in sorted(names):
                path = os.path.join(inside, name)
                state.update(f"{path}\n".encode())
                if name.endswith((".py", ".ipynb")):
                    state.update(Path(path).read_bytes())
    return state.hexdigest()


def _found_code(starts: Iterable[str]) -> tuple[Path, ...]:
    """See `code_of`."""
    files = set(import_closure(starts, packages=_PACKAGES))
    if any(file.match("segmenters/registry.py") for file in files):
        root = next(f for f in files if f.match("segmenters/registry.py")).parent
        files.update(
            import_closure([*sorted(root.glob("systems/*.py")), *sorted(root.glob("external/*.py"))])
        )
        files.update(root.glob("external/workers/*.py"))
    files |= {file.with_name("commands.tsv") for file in files if file.match("umdlib/__main__.py")}
    return tuple(sorted(files | set(_data_beside(files))))


def _data_beside(files: Iterable[Path]) -> set[Path]:
    """Data files in the folders of modules and in their folders without modules; no released networks."""
    return {p for folder in {file.parent for file in files} for p in _data_in(folder)}


@functools.cache
def _data_in(folder: Path) -> tuple[Path, ...]:
    """`_data_beside` of the modules of one folder."""
    if not set(_PACKAGES) & set(folder.parts) or folder.name in _PACKAGES:
        return ()
    found: set[Path] = set()
    for path in folder.iterdir():
        inside = path.rglob("*") if path.is_dir() and not any(path.glob("*.py")) else [path]
        found.update(p for p in inside if p.is_file() and p.suffix not in (".py", ".pyc"))
    return tuple(p for p in found if not {"__pycache__", "released"} & set(p.parts))


def keep_key(path: str | Path, files: Iterable[str | Path], **values: object) -> str:
    """Write the hashes of a job's inputs to the file `path`, which changes only when one of them does; return it.

    The graph compares this file's time: a copied, touched or re-checked-out source that says the
    same, a date in the future, and characters that the graph would take for wildcards do not matter.
    """
    lines = [f"{_digest(file)}  {_shown(file)}" for file in sorted(map(Path, files))]
    lines += [f"{name}: {value}" for name, value in sorted(values.items())]
    text = "\n".join(lines) + "\n"
    path = Path(path)
    if not path.is_file() or path.read_text("utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as part:
            part.write_text(text, "utf-8")
    return str(path)


def keep_images_key(path: str | Path, files: Iterable[str | Path], kept: str | Path) -> str:
    """Write the hashes of a cohort's files to one key file, which represents all of them in other keys.

    A file is read once, and again where its size or time has changed.
    """
    from umdlib.evaluation.store import FileHashes

    hashes, found = FileHashes(Path(kept)), {}
    for file in map(str, files):
        try:
            found[file] = hashes(Path(file))
        except InputError:
            found[file] = "absent"
    hashes.keep()
    return keep_key(path, (), **found)


def _digest(file: Path) -> str:
    try:
        found = file.stat()
    except OSError:
        return "absent"
    return _hashed(file, found.st_mtime_ns, found.st_size)


@functools.cache
def _hashed(file: Path, changed: int, size: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


@functools.cache
def _shown(file: Path) -> str:
    """A file relative to the project's folder where it lies there."""
    project = _HERE.parents[1]
    file = file.resolve()
    return str(file.relative_to(project)) if file.is_relative_to(project) else str(file)


def run_name(profile: str, manifest: str = "") -> str:
    """Name of the run's folder: the profile's, or of a user's cohort its folder with a hash of its path.

    Examples
    --------
    >>> run_name("small")
    'small'
    >>> run_name("default", "/data/a/manifest.tsv")[:2], len(run_name("default", "/data/a/manifest.tsv"))
    ('a-', 8)
    >>> run_name("default", "/data/a/manifest.tsv") == run_name("default", "/other/a/manifest.tsv")
    False
    """
    if not manifest:
        return profile
    place = Path(manifest).resolve()
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", place.parent.name).strip("-") or "cohort"
    return f"{name}-{hashlib.sha256(str(place).encode()).hexdigest()[:6]}"


def names_of(segmenters: str) -> dict[str, str]:
    """File name -> segmenter as it was given: one of the user's own is ``file.py:NAME``, no file name.

    Examples
    --------
    >>> names_of("threshold,models/a.py:MINE")
    {'threshold': 'threshold', 'models-a.py-MINE': 'models/a.py:MINE'}
    """
    given = list(dict.fromkeys(filter(None, segmenters.split(","))))
    names = {re.sub(r"[^A-Za-z0-9_.]+", "-", s).strip("-.") or "segmenter": s for s in given}
    if len(names) < len(given):
        raise InputError(
            f"Two of the segmenters {', '.join(given)} have names that differ in marks alone. Rename one."
        )
    return names


@functools.cache
def uses_gpu(segmenter: str) -> bool:
    """Whether a segmenter can use a GPU: of the built-in ones those that need a package; a user's own may.

    Examples
    --------
    >>> uses_gpu("threshold"), uses_gpu("vista3d"), uses_gpu("my_model.py:MODEL")
    (False, True, True)
    """
    from umdlib import segmenters

    if segmenter not in segmenters.BUILT_IN:
        return True
    record = segmenters.get(segmenter)
    return bool(record.packages or record.external)


def prompts_of(profile: Mapping, segmenter: str, session: str) -> str:
    """Prompt plan of a segmenter in a session: that of the first plan whose name theirs begins with.

    Examples
    --------
    >>> prompts_of({"prompts": "centre", "plans": {"a/petct": "box"}}, "a", "petct")
    'box'
    """
    name = f"{segmenter}/{session}"
    plans = profile.get("plans") or {}
    return str(next((p for start, p in plans.items() if name.startswith(start)), profile["prompts"]))


def further_networks(profile: Mapping) -> dict[str, str]:
    """Further training runs that a profile scores beside its segmenters: name of the segmenter -> its card.

    Those of another seed (`training_seed`) with one that withheld structures, and those of another
    architecture (`architecture`).

    Examples
    --------
    >>> list(further_networks({"architecture": "sam_med3d_small"}))[0]
    'sam_med3d_small_structural'
    """
    seed, other, folder = profile.get("training_seed"), profile.get("architecture"), "umdlib/weights/released"
    found = {}
    if seed:
        names = (*(f"{t}_{seed}" for t in TRAININGS), "pet_visible")
        found |= {f"clicknet:{folder}/clicknet_{n}.json": f"{folder}/clicknet_{n}.json" for n in names}
    if other:
        found |= {f"{other}_{t}": f"{folder}/{other}_{t}.json" for t in TRAININGS}
    if seed and other:
        cards = [f"{folder}/{other}_{t}_{seed}.json" for t in TRAININGS]
        found |= {f"{other}:{card}": card for card in cards}
    return found


class DomainRun(NamedTuple):
    """What is asked on the cohorts of other domains: folder in the run, segmenters, plan, one domain or all ("")."""

    folder: str
    segmenters: list[str]
    prompts: str
    domain: str


def domain_runs(profile: Mapping) -> dict[str, DomainRun]:
    """Runs of a profile's own networks on other domains, and with many clicks on the training's own.

    Examples
    --------
    >>> runs = domain_runs({"segmenters": "threshold,clicknet_both", "curve_clicks": 3})
    >>> runs["domains"].segmenters, runs["curve"].prompts
    (['clicknet_both'], 'centre:1:3')
    """
    networks = {f"clicknet_{t}" for t in TRAININGS}
    own = [s for s in names_of(str(profile["segmenters"])).values() if s in networks]
    found = {"domains": DomainRun("domains", own, FURTHER_PROMPTS, "")} if own else {}
    if "clicknet_both" in own:
        asked = ["clicknet_both", *(n for n in further_networks(profile) if n.endswith("_both"))]
        found["curve"] = DomainRun("domains/curve", asked, f"centre:1:{profile['curve_clicks']}", "same")
    return found


def domain_releases(profile: Mapping, own: str = "") -> dict[str, release.Release]:
    """Cards of the released runs on domains that a profile stands on; empty unless all of them are there and fit."""
    if standing(profile, own)[0] is None or profile.get("organ_maps"):
        return {}
    name, folder = release_place(profile)
    found = {}
    for part, run in domain_runs(profile).items():
        if f"{name}_{part}" not in release.release_names(folder):
            return {}
        card = release.read_card(f"{name}_{part}", folder)
        rows = (Path(s.rpartition(":")[2]).stem for s in run.segmenters)
        settings = {"seed": DOMAIN_SEED, "spacing_mm": profile["spacing_mm"]}
        settings["prompts"] = {f"{row}/petct": run.prompts for row in rows}
        if card.settings["subjects"] != profile["domain_subjects"] or release.misfit(card, settings):
            return {}
        found[part] = card
    return found


def batches(profile: Mapping, sessions: Iterable[str]) -> list[tuple[str, list[str], str]]:
    """Segmenters that share one plan in a session: (plan, names, session), the run's and further ones.

    Examples
    --------
    >>> batches({"segmenters": "a,b,c", "prompts": "box", "plans": {"b": "centre"}}, ["petct"])
    [('box', ['a', 'c'], 'petct'), ('centre', ['b'], 'petct')]
    """
    found: dict[tuple[str, str], list[str]] = {}
    for session in sessions:
        for name in names_of(str(profile["segmenters"])).values():
            found.setdefault((prompts_of(profile, name, session), session), []).append(name)
        for name in further_networks(profile):
            found.setdefault((FURTHER_PROMPTS, session), []).append(name)
    return [(plan, names, session) for (plan, session), names in found.items()]


def standing(profile: Mapping, own: str = "") -> tuple[release.Release | None, dict[str, list[str]]]:
    """Card of the released run that a profile uses, and the subjects to compute again, by session.

    The profile's `released` is a name in this package, or ``FOLDER/NAME``. None and no subject where it
    names no release, there is none of that name, the cohort is a user's own, or settings differ (see
    `standing_words`).
    """
    name, folder = release_place(profile)
    if own or not name or name not in release.release_names(folder):
        return None, {}
    card = release.read_card(name, folder)
    if _misfit(card, profile):
        return None, {}
    return card, release.live_subjects(card, int(profile.get("live_subjects") or 1), __version__)


def release_place(profile: Mapping) -> tuple[str, Path]:
    """Name and folder of the release that a profile names."""
    folder, _, name = str(profile.get("released") or "").rpartition("/")
    return name, Path(folder) if folder else release.FOLDER


def standing_words(profile: Mapping, own: str = "") -> str:
    """Say whose scores the chapters of a run read."""
    card, live = standing(profile, own)
    if card is not None:
        counted = " + ".join(str(len(names)) for names in card.subjects.values())
        again = ", ".join(name for names in live.values() for name in names)
        domains = " and the first of each domain" if domain_releases(profile, own) else ""
        return (
            f"chapters read released run '{card.name}' ({counted} subjects); computed again: {again}{domains}"
        )
    name, folder = release_place(profile)
    if own or not name:
        return "chapters read what this run computes"
    if name not in release.release_names(folder):
        return f"no released run '{name}' here: chapters read what this run computes"
    return f"released run '{name}' does not fit: {_misfit(release.read_card(name, folder), profile)}"


def _misfit(card: release.Release, profile: Mapping) -> str:
    """Why a profile cannot use a release; empty where it can."""
    names = names_of(str(profile["segmenters"])).values()
    plans = {f"{n}/{s}": prompts_of(profile, n, s) for n in names for s in card.subjects}
    return release.misfit(card, {**profile, "prompts": plans})


def holds_further(card: release.Release, profile: Mapping) -> bool:
    """Whether a release has every further training of a profile."""
    names = {Path(f).stem for f in further_networks(profile).values()}
    return bool(names) and names <= set(card.segmenters)


def beside_released(run: Beside, card: release.Release | None, profile: Mapping) -> bool:
    """Whether a run beside the main one is released, of the cohort of the release that a profile stands on."""
    _, folder = release_place(profile)
    if card is None or run.release not in release.release_names(folder):
        return False
    own = release.read_card(run.release, folder)
    prompts = {f"{n}/{s}": run.prompts for n in run.segmenters for s in own.subjects}
    return not release.misfit(own, {**profile, "prompts": prompts})


def own_files(segmenter: str) -> list[str]:
    """Files of a segmenter of the user's own, code or card, that its jobs depend on too.

    Examples
    --------
    >>> own_files("my_model.py:MODEL"), own_files("clicknet:nets/a.json"), own_files("threshold")
    (['my_model.py'], ['nets/a.json'], [])
    """
    kind, _, rest = segmenter.partition(":")
    if kind in ("clicknet", "sam_med3d_small") and rest:
        return [rest]
    file = segmenter.rpartition(":")[0]
    if not file.endswith(".py"):
        return []
    return [str(p) for p in import_closure(file)] if Path(file).is_file() else [file]
