"""The network of organs is drawn where the subjects suffice, and one sentence stands in its place where not."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from umdbook.chapters import consequence as chapter


def uptake(n_subjects):
    """SUVmean of three organs on PET, by the reference and by one system."""
    rng = np.random.default_rng(0)
    keys = [(f"sub-{k}", organ) for k in range(n_subjects) for organ in ("liver", "spleen", "brain")]
    table = pd.DataFrame(keys, columns=["subject", "structure"])
    same = {"session": "petct", "segmenter": "a", "modality": "PET", "prompt": "centre", "step": 0, "seed": 0}
    values = {f"{side}_suv_mean": rng.uniform(1, 5, len(table)) for side in ("reference", "prediction")}
    return table.assign(status="ok", **same, **values)


@pytest.mark.parametrize(("n", "matrices"), [(3, 0), (6, 2)])
def test_a_network_of_too_few_subjects_is_a_sentence(n, matrices):
    axes = chapter.network_figure(uptake(n), "petct", "a")
    assert sum(len(ax.images) for ax in axes) == matrices
    words = [text.get_text() for text in axes[0].texts]
    assert words == (
        [] if matrices else ["3 subjects with uptake: too few for a network, whose edges need 4"]
    )
    plt.close("all")


def test_without_any_uptake_it_is_a_sentence_too():
    axes = chapter.network_figure(uptake(6).iloc[:0], "petct", "a")
    assert axes[0].texts[0].get_text().startswith("0 subjects")
    plt.close("all")
