"""Write the papers' tables as TSV, from the text of the papers.

    python tools/transcribe_published.py UMD_TEXT SEGANYPET_TEXT OUT_FOLDER

The text of a paper is one table line per line, cells separated by tabs. Nothing is typed in by
hand: this script knows where a table begins, how many lines it has and what its columns stand
for; every label and number comes from the text. It refuses a table whose columns or lines are
not what it expects.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

from umdlib.errors import InputError
from umdlib.published.parsing import parse_cell

FIELDS = [
    "paper",
    "table",
    "line",
    "row",
    "row_line",
    "section",
    "column",
    "cohort",
    "session",
    "modality",
    "structure",
    "model",
    "segmenter",
    "prompt",
    "metric",
    "statistic",
    "value",
    "unit",
    "raw",
]
ORGAN = {
    "Liver": "liver",
    "Kidney-L": "kidney_left",
    "Kidney-R": "kidney_right",
    "Brain": "brain",
    "Heart": "heart",
    "Spleen": "spleen",
    "Aorta": "aorta",
    "Lung": "lung",
    "Colon": "colon",
    "Bladder": "urinary_bladder",
    "Pancreas": "pancreas",
    "Esophagus": "esophagus",
    "Stomach": "stomach",
    "Avg": "average",
    "Lung Lobe": "lung_lobe",
    "Lymphoma": "lymphoma",
    "Lung Cancer": "lung_cancer",
    "PCa": "prostate_carcinoma",
}
SEGMENTER = {
    "SAM-Med3D-tb": "sam_med3d_turbo",
    "SAM-Med3D": "sam_med3d_turbo",
    "SegVol": "segvol",
    "nnInteractive": "nninteractive",
    "mlInteractive": "nninteractive",  # so in the text of supplementary table 3
    "VISTA3D": "vista3d",
    "SAT": "sat_pro",
    "nnUNet": "nnunet",
    "SegResNet": "segresnet",
    "STUNet": "stunet",
    "SwinUNETR": "swinunetr",
    "SAM": "sam",
    "MedSAM": "medsam",
    "SegAnyPET": "seganypet",
    "SegAnyPET (1p)": "seganypet",
    "SegAnyPET (3p)": "seganypet",
    "SegAnyPET (5p)": "seganypet",
    "SegAnyPET(1p)": "seganypet",
    "SegAnyPET-Lesion": "seganypet_lesion",
}
POINTS = {"(1p)": "1 point", "(3p)": "3 points", "(5p)": "5 points"}
# Prompt of each system in UMD, printed in its table 3, column "Setting".
UMD_PROMPT = {
    "SAM-Med3D-tb": "1 point",
    "SegVol": "1 point",
    "nnInteractive": "1 point",
    "VISTA3D": "class id",
    "SAT": "text",
}


@dataclass(frozen=True)
class Block:
    """Lines of one table in the text: what stands before them and how many there are."""

    name: str
    paper: str
    table: str
    header: str
    after: str
    header_lines: int
    lines: int


BLOCKS = (
    Block("umd_table1", "UMD", "Table 1", "Model\tSAM-Med3D-tb", "Table 1. ", 1, 28),
    Block("umd_table2", "UMD", "Table 2", "Model\tSAM-Med3D-tb", "Table 2. ", 1, 28),
    Block("umd_table3", "UMD", "Table 3", "Model\tSetting", "Table 3. ", 2, 6),
    Block("seganypet_table1", "SegAnyPET", "Table 1", "Cohort ID\t", "", 1, 13),
    Block("seganypet_s1", "SegAnyPET", "Supplementary Table 1", "Model\tLiver", "", 1, 7),
    Block(
        "seganypet_s2", "SegAnyPET", "Supplementary Table 2", "Model\tLiver", "Supplementary Table 1: ", 1, 7
    ),
    Block("seganypet_s3", "SegAnyPET", "Supplementary Table 3", "Methods\tPrompt", "", 2, 6),
    Block("seganypet_s4", "SegAnyPET", "Supplementary Table 4", "Model\tSAM-Med3D\t", "", 2, 42),
)


def block_lines(text: list[str], block: Block) -> tuple[list[list[str]], list[str]]:
    """Header rows (split) and body lines of one table."""
    start = 0
    if block.after:
        start = next((i for i, line in enumerate(text) if line.startswith(block.after)), -1)
    first = next((i for i in range(max(start, 0), len(text)) if text[i].startswith(block.header)), -1)
    if start < 0 or first < 0:
        raise InputError(f"{block.paper}, {block.table} is not in the text: no '{block.header}'.")
    body = text[first + block.header_lines :][: block.lines]
    after = text[first + block.header_lines + block.lines :][:1]
    if len(body) < block.lines or not all(line.strip() for line in body) or any(map(str.strip, after)):
        raise InputError(f"{block.paper}, {block.table} must have {block.lines} lines.")
    head = [line.split("\t") for line in text[first : first + block.header_lines]]
    return head, body


def umd_organs(block: Block, head: list[list[str]], body: list[str]) -> list[dict]:
    """UMD tables 1 and 2: two lines per organ, the structural image first, then PET."""
    session, structural = ("petct", "CT") if block.name == "umd_table1" else ("petmr", "MR")
    rows, label = [], ""
    for number, line in enumerate(body, 1):
        first, *cells = line.split("\t")
        label = first or label
        for model, raw in zip(head[0][1:], cells, strict=True):
            rows.append(
                {
                    "line": number,
                    "row": label,
                    "row_line": 1 if first else 2,
                    "column": model,
                    "cohort": "UMD-PETCT" if session == "petct" else "UMD-PETMR",
                    "session": session,
                    "modality": structural if first else "PET",
                    "structure": ORGAN[label],
                    "model": model,
                    "prompt": UMD_PROMPT[model],
                    "metric": "dice",
                    "unit": "fraction",
                    "raw": raw,
                }
            )
    return rows


# Column of table 3 -> cohort, session, modality; reported columns have no common cohort.
TABLE3 = (
    ("Reported CT", "reported", "", "CT"),
    ("Reported MRI", "reported", "", "MR"),
    ("Reported PET", "reported", "", "PET"),
    ("UMD PET/CT CT", "UMD-PETCT", "petct", "CT"),
    ("UMD PET/CT PET", "UMD-PETCT", "petct", "PET"),
    ("UMD PET/MRI MRI", "UMD-PETMR", "petmr", "MR"),
    ("UMD PET/MRI PET", "UMD-PETMR", "petmr", "PET"),
)


def umd_overview(block: Block, head: list[list[str]], body: list[str]) -> list[dict]:
    """UMD table 3: what was reported before, and the averages on UMD."""
    if head[1] != ["", "", "CT", "MRI", "PET", "CT", "PET", "MRI", "PET"]:
        raise InputError(f"Columns of {block.paper}, {block.table} are not as expected: {head[1]}.")
    rows = []
    for number, line in enumerate(body, 1):
        model, setting, *cells = line.split("\t")
        common = {"line": number, "row": model, "row_line": 1, "model": model, "prompt": setting}
        rows.append({**common, "column": "Setting", "metric": "text", "raw": setting})
        for (column, cohort, session, modality), raw in zip(TABLE3, cells, strict=True):
            rows.append(
                {
                    **common,
                    "column": column,
                    "cohort": cohort,
                    "session": session,
                    "modality": modality,
                    "structure": "average",
                    "metric": "dice",
                    "unit": "unstated" if cohort == "reported" else "fraction",
                    "raw": raw,
                }
            )
    return rows


def cohort_sizes(block: Block, head: list[list[str]], body: list[str]) -> list[dict]:
    """SegAnyPET table 1: scans and masks of each cohort."""
    units = {"Num. Scans": "scans", "Num. Masks": "masks"}
    rows = []
    for number, line in enumerate(body, 1):
        cells = line.split("\t")
        for column, raw in zip(head[0], cells, strict=True):
            rows.append(
                {
                    "line": number,
                    "row": cells[0],
                    "row_line": 1,
                    "column": column,
                    "cohort": cells[1],
                    "modality": "PET",
                    "metric": "count" if column in units else "text",
                    "unit": units.get(column, ""),
                    "raw": raw,
                }
            )
    return rows


def specialists(block: Block, head: list[list[str]], body: list[str]) -> list[dict]:
    """SegAnyPET supplementary tables 1 and 2: one line per system, one column per organ."""
    metric = "dice" if block.name == "seganypet_s1" else "surface_dice_tau1"
    rows = []
    for number, line in enumerate(body, 1):
        model, *cells = line.split("\t")
        prompt = next((POINTS[p] for p in POINTS if model.endswith(p)), "none")
        for organ, raw in zip(head[0][1:], cells, strict=True):
            rows.append(
                {
                    "line": number,
                    "row": model,
                    "row_line": 1,
                    "column": organ,
                    "cohort": "PETS-Organ",
                    "modality": "PET",
                    "structure": ORGAN[organ],
                    "model": model,
                    "prompt": prompt,
                    "metric": metric,
                    "unit": "fraction",
                    "raw": raw,
                }
            )
    return rows


def prompt_effort(block: Block, head: list[list[str]], body: list[str]) -> list[dict]:
    """SegAnyPET supplementary table 3: points and seconds per case on UMD-PETCT."""
    organs = [name for name in head[1] if name]
    rows, model = [], ""
    for number, line in enumerate(body, 1):
        first, prompt, *cells = line.split("\t")
        model = first or model
        common = {
            "line": number,
            "row": model,
            "row_line": 1 if first else 2,
            "cohort": "UMD-PETCT",
            "session": "petct",
            "modality": "PET",
            "model": model,
            "prompt": prompt,
        }
        rows.append({**common, "column": "Prompt", "metric": "text", "raw": prompt})
        for organ, raw in zip(organs, cells[:-1], strict=True):
            rows.append(
                {
                    **common,
                    "column": organ,
                    "structure": ORGAN[organ],
                    "metric": "dice",
                    "unit": "fraction",
                    "raw": raw,
                }
            )
        rows.append(
            {**common, "column": "Inference Time (s)", "metric": "seconds", "unit": "s", "raw": cells[-1]}
        )
    return rows


def promptable(block: Block, head: list[list[str]], body: list[str]) -> list[dict]:
    """SegAnyPET supplementary table 4: sections by cohort, one line per structure."""
    models, prompts = head[0][1:], head[1][1:]
    rows, section = [], ""
    for number, line in enumerate(body, 1):
        label, *cells = line.split("\t")
        if not any(cells):
            section = label
            continue
        cohort = section.split(" for ")[0]
        session = {"UMD-PETCT": "petct", "UMD-PETMR": "petmr"}.get(cohort, "")
        for model, prompt, raw in zip(models, prompts, cells, strict=True):
            rows.append(
                {
                    "line": number,
                    "row": label,
                    "row_line": 1,
                    "section": section,
                    "column": model,
                    "cohort": cohort,
                    "session": session,
                    "modality": "PET",
                    "structure": ORGAN[label],
                    "model": model,
                    "prompt": prompt,
                    "metric": "dice",
                    "unit": "fraction",
                    "raw": raw,
                }
            )
    return rows


READERS = {
    "umd_table1": umd_organs,
    "umd_table2": umd_organs,
    "umd_table3": umd_overview,
    "seganypet_table1": cohort_sizes,
    "seganypet_s1": specialists,
    "seganypet_s2": specialists,
    "seganypet_s3": prompt_effort,
    "seganypet_s4": promptable,
}


def numbers(block: Block, cell: dict) -> list[dict]:
    """One record per number of a cell, or one without a number."""
    where = f"{block.paper}, {block.table}, line {cell['line']}, column '{cell['column']}'"
    found = () if cell["metric"] == "text" else parse_cell(cell["raw"], where=where).numbers
    model = cell.get("model", "")
    base = {
        **dict.fromkeys(FIELDS, ""),
        **cell,
        "paper": block.paper,
        "table": block.table,
        "segmenter": SEGMENTER[model] if model else "",
    }
    if not found:
        statistic = "text" if cell["metric"] == "text" else "none"
        return [{**base, "statistic": statistic}]
    return [{**base, "statistic": statistic, "value": value} for statistic, value in found]


def transcribe(block: Block, text: list[str]) -> tuple[list[dict], str]:
    """Records of one table, and the SHA-256 of its body as it stands in the text."""
    head, body = block_lines(text, block)
    cells = READERS[block.name](block, head, body)
    digest = hashlib.sha256("\n".join(body).encode()).hexdigest()
    return [record for cell in cells for record in numbers(block, cell)], digest


def write_tsv(path: Path, fields: tuple[str, ...] | list[str], rows: list[dict]) -> None:
    """Tab separated, UTF-8, unquoted."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fields, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE)
        writer.writeheader()
        writer.writerows(rows)


def main(umd_text: str, seganypet_text: str, out: str) -> None:
    """Transcribe every table of both papers into `out`."""
    texts = {
        "UMD": Path(umd_text).read_text(encoding="utf-8").splitlines(),
        "SegAnyPET": Path(seganypet_text).read_text(encoding="utf-8").splitlines(),
    }
    digests = []
    for block in BLOCKS:
        records, digest = transcribe(block, texts[block.paper])
        write_tsv(Path(out) / f"{block.name}.tsv", FIELDS, records)
        digests.append({"name": block.name, "lines": block.lines, "sha256": digest})
        print(f"{block.name}: {block.lines} lines, {len(records)} records")
    write_tsv(Path(out) / "digests.tsv", ["name", "lines", "sha256"], digests)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
