"""Networks of this project that come with a card: loaded by it, and a user's own as a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from umdlib.segmenters.contract import Segment, Segmenter
from umdlib.weights import card
from umdlib.weights import reading as weights


def loader(
    name: str, segment: Callable[..., Segment], folder: Path = card.FOLDER
) -> Callable[[str], Segment]:
    """`load` of a trained network by its card; `segment` puts the network behind the contract."""

    def load(device: str = "cpu") -> Segment:
        from umdlib.networks.build import build

        net = build(card.read(name, folder=folder).architecture)
        weights.fill(net, card.read_state(name, folder=folder), name)
        return segment(net, device, name=name)

    return load


def user_network(path: str | Path, prefix: str, kind: str, record: Callable[..., Segmenter]) -> Segmenter:
    """Record of a user's own network by its card; see `umdlib.weights.card.user_network`."""
    known, item = card.user_network(path, prefix, kind)
    title = f"{known.title} (seed {known.settings.get('seed', '?')})"
    folder = Path(path).expanduser().resolve().parent
    made = record(known.name, title, known.data["modalities"], item, folder)
    return replace(made, summary="A promptable network that you trained.")
