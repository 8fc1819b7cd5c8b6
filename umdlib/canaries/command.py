"""`umdlib certify`: run a program on known images and write its certificate."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from umdlib.errors import InputError


def run(a: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Certify a program and write its page; the exit status is 1 where a fault is suspected."""
    from umdlib.canaries.certificate import summary, write_certificate
    from umdlib.canaries.certify import certify

    if not a.out.lower().endswith((".md", ".html", ".htm")):
        raise InputError(f"Invalid name of a certificate {a.out}. Must end in .md or .html.")
    scene = _scene(a, _sees_two(a))
    found = certify(
        _program(a, scene, say), scene, a.program, weights=a.weights or None, sha256=a.sha256, say=say
    )
    say(summary(found))
    say(f"Certificate: {write_certificate(a.out, found)}")
    return 1 if found.faults else 0


def _program(a: argparse.Namespace, scene, say: Callable[[str], None]):
    """The program to certify: a command line, or a segmenter of this package behind files."""
    from umdlib.canaries.wrapper import Command, segmenter

    if "{" not in a.program:
        return segmenter(a.program, (a.session, scene.modality))
    command = Command(a.program, a.time_limit)
    wanted = {
        "click": {"click", "click_lps", "click_voxel", "prompt"},
        "box": {"box_voxel", "prompt"},
        "text": {"text", "prompt"},
    }[scene.kind]
    if not command.places & wanted:
        raise InputError(
            f"Command '{a.program}' is not given the {scene.kind}. It needs one of "
            f"{', '.join('{' + n + '}' for n in sorted(wanted))}, or another --takes."
        )
    if a.weights and "weights" not in command.places:
        say(
            "Note: {weights} is not in the command: its hash is printed, and whether it is used cannot be seen."
        )
    return command


def _sees_two(a: argparse.Namespace) -> bool:
    """Whether the program is given the other image of the examination too."""
    if "{" in a.program:
        return "{partner}" in a.program
    from umdlib import segmenters

    return bool(segmenters.get(a.program).partner)


def _scene(a: argparse.Namespace, paired: bool):
    """The image that the program is given, and its partner."""
    from umdlib.canaries import scenes

    if bool(a.image) != bool(a.reference):
        raise InputError("Options --image and --reference go together.")
    if bool(a.partner) != (paired and bool(a.image)):
        raise InputError(
            f"Option --partner is missing: '{a.program}' sees two images."
            if paired and a.image
            else f"Option --partner is not used: '{a.program}' sees one image, or is given a built-in one. A "
            "command that sees two holds {partner}."
        )
    if not a.image:
        name = a.scene or ("body" if a.takes == "text" else "phantom")
        if name not in ("phantom", "body"):
            raise InputError(f"Unknown scene '{name}'. Known: phantom, body.")
        if name == "phantom" and a.modality != "CT":
            name = "body"  # the phantom is in HU
        if name == "phantom":
            return scenes.phantom(a.takes, paired=paired)
        return scenes.body(a.takes, a.modality, session=a.session, paired=paired)
    structures = {}
    for item in filter(None, a.structures.split(",")):
        name, equals, value = item.partition("=")
        if not equals or not value.isdecimal() or not 0 < int(value) < 65536:
            raise InputError(f"Invalid --structures '{item}'. Write NAME=VALUE, e.g. liver=5.")
        structures[name] = int(value)
    if not structures:
        raise InputError("Option --reference needs --structures, e.g. --structures liver=5,spleen=1.")
    partner = (a.partner, scenes.other_modality(a.modality, a.session)) if paired else None
    return scenes.own_scene(a.takes, a.image, a.reference, a.modality, structures, partner)
