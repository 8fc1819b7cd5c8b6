"""`umdlib certify`: its words, and what it does with them."""

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
    scene = _scene(a)
    asked = _program(a, scene)
    found = certify(asked, scene, a.program, weights=a.weights or None, sha256=a.sha256, say=say)
    say(summary(found))
    say(f"Certificate: {write_certificate(a.out, found)}")
    return 1 if found.faults else 0


def _program(a: argparse.Namespace, scene):
    """The program that is asked: a command line, or a segmenter of this package behind files."""
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
        say_so = "its hash is printed, and whether it is used cannot be seen"
        print(f"Note: {{weights}} is not in the command: {say_so}.")
    return command


def _scene(a: argparse.Namespace):
    """The image that the program is asked about."""
    from umdlib.canaries import scenes

    if bool(a.image) != bool(a.reference):
        raise InputError("Options --image and --reference go together.")
    if not a.image:
        name = a.scene or ("body" if a.takes == "text" else "phantom")
        if name not in ("phantom", "body"):
            raise InputError(f"Unknown scene '{name}'. Known: phantom, body.")
        if name == "phantom" and a.modality != "CT":
            name = "body"  # the phantom is in HU
        return scenes.phantom(a.takes) if name == "phantom" else scenes.body(a.takes, a.modality)
    structures = {}
    for item in filter(None, a.structures.split(",")):
        name, equals, value = item.partition("=")
        if not equals or not value.isdecimal() or not 0 < int(value) < 65536:
            raise InputError(f"Invalid --structures '{item}'. Write NAME=VALUE, e.g. liver=5.")
        structures[name] = int(value)
    if not structures:
        raise InputError("Option --reference needs --structures, e.g. --structures liver=5,spleen=1.")
    return scenes.own(a.takes, a.image, a.reference, a.modality, structures)
