"""Several trained networks as one model: a label map each, and structures as unions of their values."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from umdlib.cohort.names import NameMap, read_names
from umdlib.errors import unknown_name
from umdlib.images.volume import Volume
from umdlib.prompts.prompt import Prompt

# structure -> number of the label map -> values that are parts of it
Unions = Mapping[str, Mapping[int, tuple[int, ...]]]


class Mapper(Protocol):
    """A network or program that labels an image as a whole."""

    def label_map(self, image: Volume) -> np.ndarray:
        """Values (I, J, K) on the image's grid."""
        ...


class Folders:
    """Label maps of the last image, each made when a structure first needs it.

    Parameters
    ----------
    parts
        Each gives an image's label map.
    unions
        Structure to the values of each label map that it is the union of.
    """

    def __init__(self, parts: Sequence[Mapper], unions: Unions) -> None:
        self._parts, self._unions = parts, unions
        self._data: np.ndarray | None = None
        self._known: dict[int, np.ndarray] = {}

    def __call__(self, image: Volume, prompt: Prompt, previous: np.ndarray | None = None) -> np.ndarray:
        """Boolean mask (I, J, K): the union over the structure's values."""
        if prompt.structure not in self._unions:
            raise unknown_name("structure of this model", prompt.structure, self._unions)
        if self._data is not image.data:
            self._data, self._known = image.data, {}
        mask = np.zeros(image.shape, bool)
        for number, values in self._unions[prompt.structure].items():
            if number not in self._known:
                self._known[number] = self._parts[number].label_map(image)
            mask |= np.isin(self._known[number], values)
        return mask


def unions(meanings: Sequence[Mapping[int, str | None]]) -> dict[str, dict[int, tuple[int, ...]]]:
    """Structures of the label maps' values: one ``value -> structure`` for each map, empty or None left out.

    Examples
    --------
    >>> unions([{1: "lung", 2: "lung", 3: ""}, {1: "heart"}])
    {'lung': {0: (1, 2)}, 'heart': {1: (1,)}}
    """
    found: dict[str, dict[int, tuple[int, ...]]] = {}
    for number, values in enumerate(meanings):
        for value, structure in values.items():
            if structure:
                parts = found.setdefault(structure, {})
                parts[number] = (*parts.get(number, ()), value)
    return found


@functools.cache
def published_unions(scheme: str, *files: str) -> Unions:
    """Structures of a published model by the project's own table of names; each file is a label map.

    Examples
    --------
    >>> published_unions("moose", "clin_ct_cardiac", "clin_ct_digestive")["aorta"]
    {0: (6,)}
    """
    return unions([_names().of_values(scheme, file) for file in files or ("*",)])


def published_values(scheme: str, before: int, count: int) -> dict[str, int]:
    """Values that one of a model's networks gives to the model's names; 0 where it does not hold one.

    Parameters
    ----------
    scheme
        In the project's table of names.
    before
        Labels of the networks before it, whose values come first in the model's.
    count
        Its own labels.

    Examples
    --------
    >>> values = published_values("totalsegmentator", 24, 26)
    >>> values["sacrum"], values["vertebrae_C1"], values["liver"]
    (1, 26, 0)
    """
    named = _names().meanings[scheme, "*"]
    return {name: v - before if 0 < v - before <= count else 0 for v, (name, _) in named.items()}


@functools.cache
def _names() -> NameMap:
    """The project's table of names, read once."""
    return read_names()
