"""Item neighbours against products of whole matrices."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import block_events, log_of
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from palate import ItemKNN
from palate.arrays import Doubles
from palate.data.interactions import Interactions
from palate.data.vocabulary import Vocabulary
from palate.models.item_knn import SIMILARITIES
from palate.models.neighbours import Neighbours


def reference(X: Doubles, recipe: ItemKNN) -> Doubles:
    """Similarity of row to column for all pairs, in the formulas' own words."""
    I = X.shape[1]
    n_items, n_people = (X > 0).sum(axis=1), (X > 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        if recipe.similarity == "rp3beta":
            to_person = np.nan_to_num((X / X.sum(axis=0)) ** recipe.alpha)
            to_item = np.nan_to_num((X / X.sum(axis=1, keepdims=True)) ** recipe.alpha)
            S = np.nan_to_num(to_person.T @ to_item / n_people**recipe.beta)
        elif recipe.similarity == "bm25":
            idf = np.log(1 + (I - n_items + 0.5) / (n_items + 0.5))
            length = 1 - recipe.b + recipe.b * X.sum(axis=0) / X.sum(axis=0).mean()
            weight = np.nan_to_num(X * (recipe.k1 + 1) / (X + recipe.k1 * length)) * idf[:, None]
            S = weight.T @ weight
        else:
            if recipe.similarity == "tf-idf":
                X = np.sqrt(X) * np.log(1 + (1 + I) / (1 + n_items))[:, None]
            norm = np.sqrt((X**2).sum(axis=0))
            S = np.nan_to_num(X.T @ X / np.outer(norm, norm))
        both = np.sqrt(np.outer(n_people, n_people))
        S = S * np.nan_to_num(both / (both + recipe.shrink))
    np.fill_diagonal(S, 0)
    result: Doubles = S
    return result


def log_from(X: Doubles) -> Interactions:
    user, item = (axis.astype(np.int32) for axis in np.nonzero(X))
    users, items = (Vocabulary.of(range(size)) for size in X.shape)
    return Interactions.of(users, items, user, item, X[user, item].astype(np.float32))


def random_events(U: int, I: int, seed: int) -> Doubles:
    rng = np.random.default_rng(seed)
    X: Doubles = np.where(rng.random((U, I)) < 0.2, rng.integers(1, 5, (U, I)), 0).astype(np.float64)
    X[0, 0] = 1
    return X


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 25), st.integers(0, 10**6)),
    st.sampled_from(SIMILARITIES),
    st.integers(1, 40),
    st.sampled_from([0.0, 7.0]),
    st.booleans(),
)
def test_neighbours_are_the_best_of_the_whole_table(
    drawn: tuple[int, int, int], similarity: str, k: int, shrink: float, binary: bool
) -> None:
    X = random_events(*drawn)
    recipe = ItemKNN(neighbours=k, similarity=similarity, shrink=shrink, alpha=0.7, b=0.4, binary=binary)
    B = recipe.fit(log_from(X)).matrix.toarray()
    S = reference((X > 0).astype(float) if binary else X, recipe)
    kept = B > 0
    np.testing.assert_allclose(B[kept], S[kept], rtol=2e-5)
    for i in range(S.shape[1]):  # what is left out is not above what is kept, but for rounding
        assert kept[:, i].sum() == min(k, (S[:, i] > 0).sum())
        if kept[:, i].any():
            assert S[~kept[:, i], i].max(initial=0) <= S[kept[:, i], i].min() * (1 + 2e-5)


def test_ties_are_won_by_the_lower_item() -> None:
    model = ItemKNN(neighbours=2, similarity="cosine").fit(log_from(np.ones((3, 5))))
    columns = [np.flatnonzero(model.matrix.toarray()[:, i]).tolist() for i in range(5)]
    assert columns == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]


def test_items_without_events_have_no_neighbours() -> None:
    X = random_events(30, 12, 0)
    X[:, [3, 7]] = 0
    for similarity in SIMILARITIES:
        B = ItemKNN(similarity=similarity).fit(log_from(X)).matrix.toarray()
        assert np.isfinite(B).all()
        assert not B[[3, 7]].any()
        assert not B[:, [3, 7]].any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)], ids=str)
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_one_person_and_one_item(shape: tuple[int, int], similarity: str) -> None:
    B = ItemKNN(similarity=similarity).fit(log_from(np.ones(shape))).matrix.toarray()
    assert (B + np.eye(shape[1]) > 0).all()
    assert (np.diag(B) == 0).all()


def test_products_too_small_for_float32_do_no_harm() -> None:
    tiny = csr_array(np.full((50, 4), 1e-30, np.float32))
    near = Neighbours.of(tiny.T.tocsr(), tiny, np.zeros(4, np.float32), 3)
    assert (near.size == 3).all()
    assert (near.value < 1e-30).all()


def test_an_event_without_positive_weight_is_no_positive_but_seen() -> None:
    events = block_events()
    log = log_of([*events, ("u0", "i19", 0.0, 9), ("u0", "i18", -1.0, 9)])
    kept = log.select(log.weight > 0)
    model = ItemKNN().fit(log)
    np.testing.assert_array_equal(model.matrix.toarray(), ItemKNN().fit(kept).matrix.toarray())
    shown = model.recommend(log.histories(["u0"]), 20).lists()[0]
    assert not {"i18", "i19"} & set(shown)


def test_an_item_is_explained_by_its_neighbours() -> None:
    model = ItemKNN(shrink=0.0, similarity="cosine").fit(log_of(block_events()))
    told = model.explain(["i0", "i1", "i15"], "i5")
    assert {item for item, _ in told} <= {"i0", "i1"}
    score = model.scores(model.histories([["i0", "i1", "i15"]]))[0, model.items.code("i5")]
    np.testing.assert_allclose(sum(value for _, value in told), score, rtol=1e-5)
