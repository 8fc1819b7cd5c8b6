"""What a page loads to answer clicks: the runtime, the networks, and the images on their grid."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from umdlib.images.volume import Volume
from umdlib.viewer import vendored, web_volumes

RUNTIME = "onnxruntime-web-1.30.0"
_WORKER = "click-worker.js"


@dataclass(frozen=True)
class BrowserNetwork:
    """One network as the page runs it.

    Attributes
    ----------
    name, title
        Of the segmenter, and what a reader sees.
    content
        Length of a header (4 bytes, lowest first), the header as JSON, the encoder, the decoder.
    on_grid
        Image to what the page keeps of its grid, and its intensities there in bytes; the networks of one
        page share it.
    """

    name: str
    title: str
    content: bytes
    on_grid: Callable[[Volume], tuple[dict, bytes]]


def described(
    networks: Sequence[BrowserNetwork], images: Sequence[Volume], panes: Sequence[dict]
) -> tuple[dict, dict[str, str]]:
    """Records of a viewer's networks for its script; adds ``grid`` to the configuration of each pane.

    Returns
    -------
    dict
        ``items`` (name, title, file) and ``mb`` (10^6 bytes that asking loads).
    dict
        Name to packed content of the files.
    """
    files: dict[str, str] = {}

    def keep(content: bytes) -> str:
        name, coded = web_volumes.packed(content)
        files[name] = coded
        return name

    items = [{"name": n.name, "title": n.title, "file": keep(n.content)} for n in networks]
    for image, pane in zip(images, panes, strict=True):
        record, values = networks[0].on_grid(image)
        pane["grid"] = record | {"values": keep(values)}
    size = len(runtime_script()) + sum(map(len, files.values()))
    return {"items": items, "mb": round(size / 1e6, 1)}, files


@functools.cache
def runtime_script() -> str:
    """Classic script with the packed files of onnxruntime-web and the worker that calls it."""
    lines = []
    for file, known in vendored.record(RUNTIME)["files"].items():
        vendored.content(file, known["sha256"])
        lines.append(web_volumes.script(file, base64.b64encode(vendored.packed(file)).decode("ascii")))
    worker = (vendored.ASSETS / _WORKER).read_bytes()
    lines.append(web_volumes.script(_WORKER, web_volumes.packed(worker)[1]))
    return "".join(lines)
