"""The Autoencoder: its start against EASE, its bound against finite differences and torch's own distributions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ITEMS, block_events, log_of
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from palate import EASE, load
from palate.data.histories import Histories
from palate.models.autoencoder import (
    SCALE,
    SHARES,
    WIDE,
    Autoencoder,
    AutoencoderModel,
    Batch,
    batches,
    bound_loss,
    divergence,
    first_weights,
    reconstruction,
)
from palate.models.onnx import exported

SMALL = Autoencoder(dim=5, hidden=4, l2=5, encoder_passes=1, epochs=3, batch=40, negatives=ITEMS, learning_rate=0.01)
LOG = log_of(block_events())


def weights(seed: int = 0, recipe: Autoencoder = SMALL) -> dict[str, Tensor]:
    """Weights at random, so that every part matters, in float64."""
    dice = torch.Generator().manual_seed(seed)
    start = first_weights(recipe, LOG)
    return {
        name: torch.tensor(each, dtype=torch.float64)
        + 0.3 * torch.randn(each.shape, generator=dice, dtype=torch.float64)
        for name, each in start.items()
    }


def some(half: str) -> Batch:
    item = np.array([[0, 3, 5, 7], [2, 9, 4, 0], [6, 1, 0, 0]])
    return Batch(half, item, np.arange(4) < np.array([[4], [3], [2]]))  # type: ignore[arg-type]


# Where it begins


def test_with_every_axis_it_begins_as_ease() -> None:
    """Scores of items that are not in the history: an item never speaks for itself."""
    recipe = Autoencoder(dim=40, hidden=4, l2=20, epochs=1, learning_rate=1e-12)
    histories = LOG.histories()
    mine, ease = recipe.fit(LOG).scores(histories), EASE(l2=20).fit(LOG).scores(histories)
    unseen = LOG.matrix().toarray() == 0
    np.testing.assert_allclose(mine[unseen], SCALE * ease[unseen], atol=2e-3)
    assert np.abs(ease[unseen]).max() > 0.1


def test_the_gated_block_adds_nothing_at_first() -> None:
    start = first_weights(SMALL, LOG)
    assert not start["encoder.out"].any()
    assert start["encoder.in"].any()


# The bound


@pytest.mark.parametrize("half", ["encoder", "decoder"])
@pytest.mark.parametrize("negatives", [ITEMS, 7])
def test_gradients_of_the_bound(half: str, negatives: int) -> None:
    """Against finite differences, the same chance each time; the other half gets none."""
    fixed = weights()
    recipe = replace(SMALL, negatives=negatives, beta=0.3, dropout=0.5)
    names = [name for name in fixed if name.startswith("encoder.") == (half == "encoder") and "old." not in name]

    def loss(*values: Tensor) -> Tensor:
        dice = torch.Generator().manual_seed(3)
        return bound_loss({**fixed, **dict(zip(names, values, strict=True))}, recipe, some(half), dice)

    given = [fixed[name].clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(loss, given, eps=1e-6, atol=1e-5)
    others = {name: each.clone().requires_grad_() for name, each in fixed.items() if name not in names}
    bound_loss({**fixed, **others, names[0]: given[0]}, recipe, some(half), torch.Generator()).backward()  # type: ignore[no-untyped-call]
    assert all(each.grad is None for each in others.values())


def test_divergence_against_torch_distributions() -> None:
    dice = torch.Generator().manual_seed(1)
    z, mean, spread, old_mean, old_spread = (
        torch.randn((4, 5), generator=dice, dtype=torch.float64) for _ in range(5)
    )
    nothing = torch.zeros_like(z)
    centres, widths = (nothing, old_mean, nothing), (nothing, old_spread, nothing + WIDE)
    found = divergence(z, mean, spread, old_mean, old_spread)
    # The prior is a mixture for each latent number on its own.
    shares = torch.tensor(SHARES, dtype=torch.float64).expand(4, 5, 3)
    prior = MixtureSameFamily(
        Categorical(shares), Normal(torch.stack(centres, -1), (torch.stack(widths, -1) / 2).exp())
    )
    q = Independent(Normal(mean, (spread / 2).exp()), 1)
    expected = q.log_prob(z) - prior.log_prob(z).sum(-1)  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-9)
    assert sum(SHARES) == pytest.approx(1)


def test_reconstruction_is_cross_entropy_over_what_was_not_shown() -> None:
    w = weights(2)
    batch = some("decoder")
    item, inside = torch.as_tensor(batch.item), torch.as_tensor(batch.inside)
    wanted = inside & torch.tensor([[True, False, True, False], [False, True, False, True], [True, True, True, True]])
    z = torch.randn((3, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = reconstruction(w, SMALL, z, item, inside, wanted, torch.Generator())
    logits = (z @ w["items"].T + w["bias"]).numpy()
    for b in range(3):
        shown = set(batch.item[b][(inside & ~wanted)[b].numpy()].tolist())
        among = [i for i in range(ITEMS) if i not in shown]
        asked = batch.item[b][wanted[b].numpy()]
        expected = sum(np.log(np.exp(logits[b, among]).sum()) - logits[b, i] for i in asked)
        assert float(found[b]) == pytest.approx(expected, rel=1e-9)


def test_a_sample_stands_for_all_items() -> None:
    w = weights(2)
    item, inside = torch.tensor([[2]]), torch.tensor([[True]])
    z = 0.3 * torch.ones((1, 5), dtype=torch.float64)
    dice = torch.Generator().manual_seed(0)

    def odds(negatives: int) -> float:
        recipe = replace(SMALL, negatives=negatives)
        return float(np.expm1(float(reconstruction(w, recipe, z, item, inside, inside, dice)[0])))

    assert np.mean([odds(6) for _ in range(600)]) == pytest.approx(odds(ITEMS), rel=0.05)


# Training


def test_the_encoder_learns_in_its_own_passes_alone() -> None:
    first = first_weights(SMALL, LOG)
    still = replace(SMALL, encoder_passes=0).fit(LOG).weights
    moved = SMALL.fit(LOG).weights
    assert np.array_equal(still["encoder.items"], first["encoder.items"])
    assert not np.array_equal(still["items"], first["items"])
    assert np.abs(moved["encoder.items"] - first["encoder.items"]).max() > 1e-3
    assert not any(name.startswith("old.") for name in moved)


def test_the_loss_falls() -> None:
    losses: list[float] = []
    recipe = replace(SMALL, epochs=30)
    recipe.fit(LOG, watch=lambda p: losses.append(p.loss) if p.loss is not None else None)
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.02


def test_batches_hold_every_person_once_a_pass() -> None:
    rows = SMALL.seen(LOG.rows)
    made = batches(rows, replace(SMALL, encoder_passes=2), np.random.default_rng(0))
    assert [batch.half for batch in made] == sorted((batch.half for batch in made), reverse=True)
    for half, passes in (("encoder", 2), ("decoder", 1)):
        held = sorted(
            tuple(row[inside].tolist())
            for batch in made
            if batch.half == half
            for row, inside in zip(batch.item, batch.inside, strict=True)
        )
        everybody = [tuple(rows.column[a:b].tolist()) for a, b in zip(rows.start[:-1], rows.start[1:], strict=True)]
        assert held == sorted(everybody * passes)


# Asking


@pytest.fixture(scope="module")
def model() -> AutoencoderModel:
    return SMALL.fit(LOG)


def test_repeats_order_and_weights_change_nothing(model: AutoencoderModel) -> None:
    lists = [["i0", "i1", "i2"], ["i2", "i0", "i1", "i1", "i5"], ["i7"]]
    asked = Histories.of(model.items, lists, weights=[[1, 1, 1], [5, 0.1, 1, 2, -1], [1]])
    first, second, _ = model.scores(asked)
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)


def test_an_exported_model_scores_the_same(model: AutoencoderModel, tmp_path: Path) -> None:
    exported(model).save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    histories = LOG.histories()
    np.testing.assert_allclose(loaded.scores(histories), model.scores(histories), rtol=1e-4, atol=1e-4)
    empty = Histories.of(model.items, [[], ["i3"]])
    np.testing.assert_allclose(loaded.scores(empty), model.scores(empty), rtol=1e-4, atol=1e-4)
