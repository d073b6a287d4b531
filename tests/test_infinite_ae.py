"""InfiniteAE: the kernel against a wide network's gradients, the closed form against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import block_events, log_of
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from palate.arrays import Doubles
from palate.compute import memory
from palate.data.histories import Histories
from palate.errors import SettingError
from palate.models.infinite_ae import InfiniteAE
from palate.models.item_to_item import positives

WIDTH = 10_000


def binary(rows: int, columns: int, seed: int) -> csr_array:
    rng = np.random.default_rng(seed)
    dense = (rng.random((rows, columns)) < 0.4).astype(np.float32)
    dense[:, 0] = 1
    return csr_array(dense)


def products_of_gradients(X: Doubles, depth: int, bias: float, seed: int) -> Doubles:
    """∇f(x)·∇f(y) of a finite network with one output, by backpropagation, (N, N).

    f = √(2/w) a·σ(h) + √bias c, each h = √(2/w) W h' + √bias b, all parameters standard normal.
    """
    rng = np.random.default_rng(seed)
    values, slopes = [X], []
    weights: list[Doubles] = []
    for _ in range(depth):
        W = rng.standard_normal((values[-1].shape[1], WIDTH if len(weights) == 0 else 1_000)).astype(np.float64)
        scale = np.sqrt(2 / values[-1].shape[1])
        h = scale * values[-1] @ W + np.sqrt(bias) * rng.standard_normal(W.shape[1])
        values.append(np.maximum(h, 0))
        slopes.append((h > 0).astype(np.float64))
        weights.append(scale * W)
    last = values[-1]
    kernel = 2 / last.shape[1] * last @ last.T + bias  # gradients of a and c
    back = np.sqrt(2 / last.shape[1]) * rng.standard_normal(last.shape[1]) * slopes[-1]  # ∂f/∂h, (N, w)
    for layer in reversed(range(depth)):
        before = values[layer]
        kernel += (back @ back.T) * (2 / before.shape[1] * before @ before.T + bias)
        if layer:
            back = back @ weights[layer].T * slopes[layer - 1]
    return np.asarray(kernel)


@pytest.mark.parametrize(("depth", "bias"), [(1, 0.0), (1, 0.1), (2, 0.0), (2, 0.05)])
def test_the_kernel_is_that_of_a_wide_network(depth: int, bias: float) -> None:
    """A mean over networks, since the second layer is narrower; 3 people and 7 items."""
    X = binary(3, 7, 0)
    exact = InfiniteAE(depth=depth, bias=bias).kernel(X, X)
    dense = X.toarray().astype(np.float64)
    finite = np.mean([products_of_gradients(dense, depth, bias, seed) for seed in range(8)], axis=0)
    np.testing.assert_allclose(finite, exact, rtol=0.04)
    assert abs(exact[0, 1] / exact[0, 0] - 1) > 0.1, "a kernel without angles would pass"


def test_weights_solve_the_ridge_regression() -> None:
    X = binary(30, 20, 1)
    recipe = InfiniteAE(l2=0.3, depth=2)
    inputs = recipe.inputs(X)
    K = recipe.kernel(inputs, inputs).astype(np.float64)
    expected = np.linalg.solve(K + 0.3 * K.diagonal().mean() * np.eye(30), X.toarray())
    np.testing.assert_allclose(recipe.weights(X), expected, rtol=1e-3, atol=1e-5)


def test_a_small_penalty_gives_the_training_history_back() -> None:
    log = log_of(block_events())
    histories = log.histories()
    X = positives(log, binary=True).toarray()
    assert np.abs(InfiniteAE(l2=0.001).fit(log).scores(histories) - X).max() < 0.05
    assert np.abs(InfiniteAE(l2=3).fit(log).scores(histories) - X).max() > 0.3


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.1]), st.sampled_from([1, 3]))
def test_the_kernel_is_symmetric_and_positive(seed: int, bias: float, depth: int) -> None:
    X = binary(9, 6, seed)
    K = InfiniteAE(bias=bias, depth=depth).kernel(X, X).astype(np.float64)
    np.testing.assert_allclose(K, K.T, rtol=1e-6)
    assert np.linalg.eigvalsh(K).min() > -1e-5 * K.max()


def test_inputs_have_the_length_that_the_norm_says() -> None:
    X = binary(5, 9, 2)
    count = X.toarray().sum(axis=1)
    for norm in (0.0, 0.5, 1.0):
        length = np.linalg.norm(InfiniteAE(norm=norm).inputs(X).toarray(), axis=1)
        np.testing.assert_allclose(length, np.sqrt(count) ** (1 - norm), rtol=1e-6)


def test_repeats_order_and_weights_change_nothing() -> None:
    model = InfiniteAE().fit(log_of(block_events()))
    lists = [["i0", "i1", "i2"], ["i2", "i0", "i1", "i1"]]
    asked = Histories.of(model.items, lists, weights=[[1, 1, 1], [5, 0.1, 1, 2]])
    first, second = model.scores(asked)
    np.testing.assert_allclose(first, second, rtol=1e-5)
    assert asked.rows.column.tolist() == model.items.codes([item for row in lists for item in row]).tolist()


def test_what_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    with pytest.raises(SettingError, match=r"30 users are too many for InfiniteAE.*and 0.0 GB are available"):
        InfiniteAE().fit(log_of(block_events()))
