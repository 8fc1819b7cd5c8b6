"""Checkouts of other programs, which are imported from where they lie."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path


def checkout_option(parser: argparse.ArgumentParser) -> None:
    """``--checkout``: folders to import programs from."""
    parser.add_argument(
        "--checkout",
        type=Path,
        nargs="+",
        default=[],
        help="folders to import programs from, e.g. a checkout of surface-distance",
    )


def commit(checkout: Path) -> str:
    """Commit of a checkout: by git, else as its file ``COMMIT`` says."""
    if (checkout / "COMMIT").is_file():
        return (checkout / "COMMIT").read_text("utf-8").strip()
    command = ["git", "-C", str(checkout), "rev-parse", "--short=7", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
