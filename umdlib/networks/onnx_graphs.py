"""ClickNet as two ONNX graphs, made of its weights without torch: one runs per image, one per click."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from umdlib.errors import InputError

_OPSET, _IR = 18, 9
_SLOPE = 0.1  # of `umdlib.networks.clicknet.active`


def onnx_graphs(state: Mapping[str, np.ndarray], architecture: Mapping) -> tuple[bytes, bytes]:
    """Encoder and decoder of a ClickNet as ONNX files; weights stay float16, sums are float32.

    What `umdlib.networks.clicknet` computes with torch; a test compares the two.

    Parameters
    ----------
    state
        Name to array, as the released file has them.
    architecture
        Of the network's card: ``widths``, ``heads``, ``depth``.

    Returns
    -------
    tuple of bytes
        Encoder: ``image`` (1, 2, I, J, K) to ``fine``, ``coarse``, ``fine_key``, ``coarse_key`` of
        `umdlib.networks.clicknet.Features`. Decoder: ``known_fine`` and ``known_coarse`` of the image,
        and of one prompt ``fine`` (1, 7, I, J, K: spots of the clicks of each sign, the previous mask,
        likeness to the clicks of each sign in two heads), ``coarse`` (1, 2 + 2 H, I/2, J/2, K/2:
        distance and likeness to the clicks of each sign) and ``vector`` (1, 2 C: mean coarse features
        at the clicks of each sign) to ``logits`` (1, 1, I, J, K). The maps of the clicks are made
        outside, so that any number of clicks can be given.

    Raises
    ------
    InputError
        The package onnx is not installed.
    """
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise InputError("The package onnx is needed here: pip install 'umdlib[book]'.") from None
    return _encoder(state, architecture), _decoder(state, architecture)


class _Graph:
    """A graph that grows by one operation at a time; a value is its name."""

    def __init__(self, state: Mapping[str, np.ndarray]) -> None:
        self.state, self.nodes, self.constants = state, [], {}

    def add(self, kind: str, *values: str, into: str = "", **settings) -> str:
        """Append an operation; the name of its result."""
        from onnx import helper

        result = into or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(values), [result], **settings))
        return result

    def constant(self, values: np.ndarray) -> str:
        """A value that never changes."""
        name = f"c{len(self.constants)}"
        self.constants[name] = values
        return name

    def weight(self, name: str) -> str:
        """A weight: float16 in the file, cast when the graph is loaded."""
        if name not in self.constants:
            self.constants[name] = self.state[name].astype(np.float16)
            self.add("Cast", name, into=f"{name}.float", to=1)
        return f"{name}.float"

    def conv(self, x: str, name: str, *, stride: int = 1, into: str = "") -> str:
        """A convolution that keeps the size, or halves it."""
        pad = self.state[f"{name}.weight"].shape[-1] // 2 if stride == 1 else 0
        given = (x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"))
        return self.add("Conv", *given, into=into, strides=[stride] * 3, pads=[pad] * 6)

    def active(self, x: str) -> str:
        """The non-linearity."""
        return self.add("LeakyRelu", x, alpha=_SLOPE)

    def norm(self, x: str, name: str) -> str:
        """Mean 0 and variance 1 over the channels of each voxel."""
        last = self.add("Transpose", x, perm=[0, 2, 3, 4, 1])
        given = (last, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"))
        normed = self.add("LayerNormalization", *given, axis=-1, epsilon=1e-5)
        return self.add("Transpose", normed, perm=[0, 4, 1, 2, 3])

    def residual(self, x: str, name: str) -> str:
        """Two convolutions beside the identity."""
        inner = self.active(self.conv(self.norm(x, f"{name}.norm"), f"{name}.first"))
        return self.add("Add", x, self.conv(inner, f"{name}.second"))

    def doubled(self, x: str) -> str:
        """Twice the resolution, linearly."""
        scales = self.constant(np.array([1, 1, 2, 2, 2], np.float32))
        return self.add("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")

    def keys(self, x: str, heads: int, depth: int, into: str) -> str:
        """Unit vectors per head, (H, D, I, J, K)."""
        shape = self.constant(np.array([heads, depth, 0, 0, 0], np.int64))  # 0: as it was
        apart = self.add("Reshape", x, shape)
        axes = self.constant(np.array([1], np.int64))
        length = self.add("ReduceL2", apart, axes, keepdims=1)
        least = self.constant(np.array(1e-12, np.float32))
        return self.add("Div", apart, self.add("Max", length, least), into=into)

    def file(self, inputs: Mapping[str, list], outputs: Mapping[str, list]) -> bytes:
        """The graph as a file; shapes hold numbers and names of free axes."""
        from onnx import TensorProto, helper, numpy_helper

        ends = [
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in names.items()]
            for names in (inputs, outputs)
        ]
        constants = [numpy_helper.from_array(values, n) for n, values in self.constants.items()]
        graph = helper.make_graph(self.nodes, "clicknet", *ends, constants)
        opsets = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR).SerializeToString()


def _encoder(state: Mapping[str, np.ndarray], architecture: Mapping) -> bytes:
    """`ClickNet.encode`."""
    graph, levels = _Graph(state), len(architecture["widths"]) - 1
    heads, depth = architecture["heads"], architecture["depth"]
    known = [graph.active(graph.conv("image", "encoder.stem"))]
    for n in range(levels):
        x = graph.conv(known[-1], f"encoder.down.{n}.0", stride=2)
        known.append(graph.residual(graph.residual(x, f"encoder.down.{n}.1"), f"encoder.down.{n}.2"))
    x = known[-1]
    for n in reversed(range(levels - 1)):
        wide = graph.doubled(graph.conv(x, f"encoder.up.{n}"))
        x = graph.residual(graph.add("Add", known[n + 1], wide), f"encoder.merge.{n}")
    fine = graph.residual(known[0], "encoder.fine")
    graph.conv(fine, "fine_image", into="fine")
    graph.conv(x, "coarse_image", into="coarse")
    graph.keys(graph.conv(fine, "fine_key"), 2, depth, "fine_key")
    graph.keys(graph.conv(x, "coarse_key"), heads, depth, "coarse_key")
    full, half = ["i", "j", "k"], ["i2", "j2", "k2"]
    first, second = architecture["widths"][:2]
    outputs = {"fine": [1, first, *full], "coarse": [1, second, *half]}
    outputs |= {"fine_key": [2, depth, *full], "coarse_key": [heads, depth, *half]}
    return graph.file({"image": [1, 2, *full]}, outputs)


def _decoder(state: Mapping[str, np.ndarray], architecture: Mapping) -> bytes:
    """`ClickNet.decode` of one prompt whose maps are made."""
    graph = _Graph(state)
    first, second = architecture["widths"][:2]
    ends = [graph.constant(np.array([n], np.int64)) for n in (0, 3, 1)]
    spots = graph.add("Slice", "fine", *ends)  # the first three channels
    small = graph.add("MaxPool", spots, kernel_shape=[2] * 3, strides=[2] * 3)
    coarse = graph.add("Concat", small, "coarse", axis=1)
    x = graph.add("Add", "known_coarse", graph.conv(coarse, "coarse_prompt"))
    scale, shift = _vector(graph, second)
    one = graph.constant(np.array(1, np.float32))
    x = graph.add("Add", graph.add("Mul", x, graph.add("Add", scale, one)), shift)
    x = graph.residual(graph.active(x), "middle")
    low = graph.residual(graph.conv(x, "lower.0", stride=2), "lower.1")
    x = graph.residual(graph.add("Add", x, graph.doubled(graph.conv(low, "raise_low"))), "last")
    y = graph.add("Add", "known_fine", graph.conv("fine", "fine_prompt"))
    y = graph.add("Add", y, graph.doubled(graph.conv(x, "raise_coarse")))
    y = graph.conv(graph.active(graph.norm(y, "norm")), "mix")
    y = graph.conv(graph.active(y), "logit")
    graph.add("Add", y, graph.doubled(graph.conv(coarse, "direct")), into="logits")
    full, half = ["i", "j", "k"], ["i2", "j2", "k2"]
    inputs = {"known_fine": [1, first, *full], "known_coarse": [1, second, *half], "fine": [1, 7, *full]}
    inputs |= {"coarse": [1, 2 + 2 * architecture["heads"], *half], "vector": [1, 2 * second]}
    return graph.file(inputs, {"logits": [1, 1, *full]})


def _vector(graph: _Graph, channels: int) -> list[str]:
    """What the prompt's vector becomes: a scale and a shift of each channel, (1, C, 1, 1, 1)."""
    given = [graph.weight(f"vector.{n}.{part}") for n in (0, 2) for part in ("weight", "bias")]
    hidden = graph.add("Relu", graph.add("Gemm", "vector", *given[:2], transB=1))
    both = graph.add("Gemm", hidden, *given[2:], transB=1)
    shape = graph.constant(np.array([1, channels, 1, 1, 1], np.int64))
    parts = []
    for first in (0, channels):
        ends = [graph.constant(np.array([n], np.int64)) for n in (first, first + channels, 1)]
        parts.append(graph.add("Reshape", graph.add("Slice", both, *ends), shape))
    return parts
