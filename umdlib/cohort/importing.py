"""The kinds of import by name: what `umdlib import KIND SOURCE DEST` knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from umdlib.errors import InputError, unknown_name

if TYPE_CHECKING:  # the command line names the kinds at once; what they need is imported when one is used
    from umdlib.cohort.names import NameMap
    from umdlib.cohort.plan import Plan


@dataclass(frozen=True)
class ImportOptions:
    """Options of an import; each kind uses its own.

    Attributes
    ----------
    names
        Table of names over those that ship (`names.read_names`).
    image, reference, modalities
        Of the kind pattern.
    suv
        Kind of SUV, of the kinds dicom and bids.
    apart
        Whether images of another time than the PET are enrolled, of the kinds dicom and ibsi.
    organs
        Folder of AutoPET-Organ's labels, of the kind autopet.
    target
        organs or lesions, of the kind deep-psma.
    beside
        Folder of the manifest.
    """

    names: str | Path | None = None
    image: str = ""
    reference: str = ""
    modalities: Mapping[str, str] = field(default_factory=dict)
    suv: str = "bw"
    apart: bool = False
    organs: str | Path | None = None
    target: str = "organs"
    beside: Path | None = None


def _dicom(source: Path, names: NameMap, o: ImportOptions, say: Callable[[str], None]) -> Plan:
    from umdlib.cohort.dicom import DicomOptions, plan_dicom

    return plan_dicom(source, names, DicomOptions(o.suv, o.apart), say)


def _bids(source: Path, names: NameMap, o: ImportOptions, say: Callable[[str], None]) -> Plan:
    from umdlib.cohort.bids import plan_bids

    return plan_bids(source, names, suv=o.suv)


def _nnunet(source: Path, names: NameMap, o: ImportOptions, say: Callable[[str], None]) -> Plan:
    from umdlib.cohort.nnunet import plan_nnunet

    return plan_nnunet(source, names)


def _masks(source: Path, names: NameMap, o: ImportOptions, say: Callable[[str], None]) -> Plan:
    from umdlib.cohort.masks import plan_masks

    return plan_masks(source, names)


def _pattern(source: Path, names: NameMap, o: ImportOptions, say: Callable[[str], None]) -> Plan:
    from umdlib.cohort.pattern import plan_pattern

    if not o.image:
        raise InputError("Kind pattern needs --image, e.g. '{subject}/{modality}.nii.gz'.")
    return plan_pattern(
        source,
        image=o.image,
        reference=o.reference,
        modalities=o.modalities or None,
        names=names,
        beside=o.beside,
    )


def _ibsi(source: Path, names: NameMap, o: ImportOptions, say: Callable[[str], None]) -> Plan:
    from umdlib.cohort.ibsi import plan_ibsi

    return plan_ibsi(source, apart=o.apart)


def _public(name: str) -> Callable[..., Plan]:
    """Planner of a public set's layout."""

    def plan(source: Path, names: NameMap, o: ImportOptions, say: Callable[[str], None]) -> Plan:
        from umdlib.cohort import public_layouts

        if name == "autopet":
            return public_layouts.plan_autopet(source, names, organs=o.organs)
        if name == "deep-psma":
            return public_layouts.plan_deep_psma(source, names, target=o.target)
        planners = {
            "petwb-rep": public_layouts.plan_petwb_rep,
            "enhance-pet": public_layouts.plan_enhance_pet,
            "bic-mac": public_layouts.plan_bic_mac,
            "totalsegmentator": public_layouts.plan_totalsegmentator,
        }
        return planners[name](source, names)

    return plan


# Kind -> (planner, what it is).
KINDS: dict[str, tuple[Callable[..., Plan], str]] = {
    "dicom": (_dicom, "DICOM files of any layout: series chosen, PET to SUV, RTSTRUCT and SEG to labels"),
    "bids": (_bids, "BIDS with PET-BIDS: PET to SUV by its sidecar, label maps of derivatives"),
    "nnunet": (_nnunet, "nnU-Net's raw layout: dataset.json, imagesTr, labelsTr"),
    "masks": (
        _masks,
        "a folder of each subject with images and one mask per structure (TotalSegmentator's output)",
    ),
    "pattern": (_pattern, "any layout with one naming pattern: --image, --reference, --modality"),
    "ibsi": (_ibsi, "IBSI validation set: soft-tissue sarcomas"),
    "petwb-rep": (_public("petwb-rep"), "PETWB-REP: whole-body PET/CT without labels"),
    "enhance-pet": (_public("enhance-pet"), "ENHANCE.PET 1.6k"),
    "autopet": (_public("autopet"), "autoPET in either form; AutoPET-Organ with --organs"),
    "deep-psma": (_public("deep-psma"), "DEEP-PSMA: two tracers of one person"),
    "bic-mac": (_public("bic-mac"), "BIC-MAC: CT, PET and MR of one person"),
    "totalsegmentator": (_public("totalsegmentator"), "TotalSegmentator's data sets (no PET)"),
}


def plan_import(
    kind: str,
    source: str | Path,
    options: ImportOptions | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Plan:
    """Plan an import; nothing is written.

    Parameters
    ----------
    kind
        One of `KINDS`.
    source
        Folder of the files.
    options
        None takes the defaults.
    say
        Takes a line of progress.

    Raises
    ------
    InputError
        An unknown kind; a source that is not a folder, or not laid out as the kind says.
    """
    from umdlib.cohort.names import read_names
    from umdlib.cohort.plan import given_values

    if kind not in KINDS:
        raise unknown_name("kind of import", kind, KINDS)
    source, options = Path(source).expanduser(), options or ImportOptions()
    if not source.is_dir():
        raise _no_folder(source)
    names = read_names(options.names)
    schemes = read_names().schemes()
    for scheme in names.schemes():
        if scheme not in ("*", *schemes):
            raise unknown_name(f"scheme in {options.names}", scheme, ["*", *schemes])
    plan = KINDS[kind][0](source, names, options, say)
    plan.notes += names.notes
    if kind not in ("bids", "nnunet", "pattern") and given_values(names):
        plan.notes.append(
            f"{options.names} gives values without a scheme, which '{kind}' has no use for: "
            "a row of value * goes by the name"
        )
    _cite(plan, kind)
    return plan


def _no_folder(source: Path) -> InputError:
    """What a source is that is not a folder, and the way on."""
    from umdlib.cohort.archives import is_archive

    if not source.exists():
        return InputError(f"Folder {source} does not exist.")
    if is_archive(source):
        return InputError(f"{source} is an archive. Unpack it: umdlib cohorts unpack {source} FOLDER")
    return InputError(f"{source} is a file. An import takes the folder that it lies in.")


def _cite(plan: Plan, kind: str) -> None:
    """Put licence and citation of a public set into its rows, where they have none of their own."""
    from umdlib.cohort.public import records

    record = next(
        (r for r in records() if r.import_as == kind == r.name or r.import_as == kind == "ibsi"), None
    )
    if record is not None:
        own = {"citation": record.doi} | (
            {"licence": record.licence} if record.licence.startswith("CC") else {}
        )
        plan.rows = [replace(r, columns={**own, **r.columns}) for r in plan.rows]
