"""`umdlib certify`: its words, and what it does with them."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from umdlib.errors import InputError


def _arg(*flags: str, **rules) -> tuple[tuple[str, ...], dict]:
    """What `argparse.ArgumentParser.add_argument` takes."""
    return flags, rules


# Arguments of the command.
ARGUMENTS = (
    _arg(
        "program",
        metavar="PROGRAM",
        help="command line with {image}, {mask} and one of {click}, {click_lps}, {click_voxel}, {box_voxel}, {text}, "
        "{prompt}; or the name of a segmenter",
    ),
    _arg("--takes", default="click", metavar="KIND", help="click (default), box or text"),
    _arg("--modality", default="CT", metavar="M", help="CT (default), MR or PET"),
    _arg("--session", default="petct", metavar="S", help="of a segmenter with weights for each"),
    _arg("--image", default="", metavar="FILE", help="your own image instead of the built-in one"),
    _arg("--reference", default="", metavar="FILE", help="its label map; the program never sees it"),
    _arg(
        "--structures",
        default="",
        metavar="NAME=VALUE,…",
        help="what is asked for, and its value in --reference",
    ),
    _arg(
        "--scene",
        default="",
        metavar="SCENE",
        help="built-in image: phantom (three ellipsoids; default for click and box) or body (a synthetic subject; "
        "default for text)",
    ),
    _arg("--weights", default="", metavar="FILE", help="its weight file, given as {weights}"),
    _arg("--sha256", default="", metavar="HASH", help="what the weight file's hash should be"),
    _arg("--time-limit", type=float, default=600.0, metavar="S", help="seconds of a call (default 600)"),
    _arg(
        "-o",
        "--out",
        default="certificate.html",
        metavar="FILE",
        help="page to write, .html (default) or .md",
    ),
)


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
