"""Networks of the specialists: shapes, sizes that they refuse, names of their tensors."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from umdlib.errors import InputError  # noqa: E402
from umdlib.networks import specialists  # noqa: E402
from umdlib.networks.sam_med3d import SamMed3DSmall  # noqa: E402


@pytest.mark.parametrize(
    ("name", "size", "millions"), [("segresnet", 16, 0.7), ("swinunetr", 32, 0.7), ("stunet", 16, 0.9)]
)
def test_a_small_network_maps_channels_to_structures_on_the_same_grid(name, size, millions):
    if name == "stunet":
        pytest.importorskip("medim")
    torch.manual_seed(0)
    net = specialists.BUILD[name](2, 5, small=True).eval()
    assert sum(v.numel() for v in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    with torch.no_grad():
        out = net(torch.zeros(1, 2, size, size, size))
        out = out[0] if isinstance(out, list | tuple) else out
    assert out.shape == (1, 5, size, size, size)


def test_the_small_swinunetr_says_which_sizes_it_takes():
    net = specialists.swinunetr(1, 2, small=True)
    with pytest.raises(ValueError, match=r"Sizes \(32, 40, 32\) must be multiples of 16"):
        net(torch.zeros(1, 1, 32, 40, 32))


def test_every_network_has_a_trainer_and_a_title():
    assert set(specialists.TITLES) == set(specialists.TRAINERS) == {"nnunet", *specialists.BUILD}


class Shared(torch.nn.Module):
    """Two names for one layer, and a table of indices of its own."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(2, 3)
        self.again = self.first
        self.register_buffer("table", torch.arange(4))


def test_a_tensor_of_two_names_is_stored_once_and_found_under_both():
    net = Shared()
    kept = specialists.unique_tensors(net.state_dict())
    assert list(kept) == ["first.weight", "first.bias"]
    other = Shared()
    whole = specialists.every_name(other, kept)
    assert set(whole) == set(other.state_dict())
    other.load_state_dict(whole)
    assert torch.equal(other.again.weight, net.first.weight)


def test_a_tensor_that_is_missing_under_all_its_names_is_named():
    kept = specialists.unique_tensors(Shared().state_dict())
    del kept["first.bias"]
    with pytest.raises(InputError, match=r"Weights lack first.bias of the network \(2 in all\)"):
        specialists.every_name(Shared(), kept)


def test_every_weight_of_the_small_sam_med3d_takes_part_in_its_answer():
    torch.manual_seed(0)
    net = SamMed3DSmall((8, 16), heads=2, depth=1, size=16)
    for block in (
        m for m in net.modules() if hasattr(m, "rel_pos_embedding") and m.rel_pos_embedding is not None
    ):
        for table in block.rel_pos_embedding.parameters():
            torch.nn.init.normal_(table, std=0.1)
    given = [torch.tensor([[3.0, 4, 5, 1], [9, 9, 2, 0]]), torch.tensor([[8.0, 8, 8, 1]])]
    image = torch.randn(2, 2, 16, 16, 16)
    net.decode(net.encode(image), given, torch.rand(2, 1, 16, 16, 16).round()).square().mean().backward()
    trained = {n: v for n, v in net.named_parameters() if v.requires_grad}
    unused = [n for n, v in trained.items() if v.grad is None or not v.grad.abs().max() > 0]
    assert not unused
