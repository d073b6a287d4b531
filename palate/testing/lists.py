"""Rules of scores and lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np

from palate.data.histories import Histories
from palate.data.vocabulary import Id, Vocabulary
from palate.errors import SettingError
from palate.testing.case import Case, expect, expect_close, expect_equal, expect_error, expect_finite, lists_of
from palate.testing.logs import ITEMS, USERS

SOME: list[list[Id]] = [["i0", "i1"], []]


def scores_are_finite_float32_of_users_by_items(case: Case) -> None:
    """Check that `scores` gives float32, one row a history, one column an item, all of them finite."""
    scores = case.model.scores(case.histories)
    expect_equal(scores.shape, (USERS, ITEMS), "shape of the scores")
    expect_equal(scores.dtype, np.dtype(np.float32), "type of the scores")
    expect_finite(scores, "the block log")


def the_ranking_is_the_order_of_the_scores(case: Case) -> None:
    """Check that `recommend` shows the items in the order of `scores`, with these scores; before any stages."""
    answer = case.model.retriever.recommend(case.log.histories(), ITEMS, keep_seen=True)
    expect(bool((answer.item >= 0).all()), "a list of all items is not full")
    shown = np.take_along_axis(case.model.scores(case.histories), answer.item.astype(np.int64), axis=1)
    expect_close(answer.score, shown, "scores of the lists and of `scores`", 1e-5)
    expect(bool((np.diff(answer.score, axis=1) <= 0).all()), "scores of a list rise")


def seen_items_are_left_out_unless_kept(case: Case) -> None:
    """Check that a list has no item of the history and every other one; with `keep_seen` it has all."""
    everything, histories = set(case.log.items.ids), case.log.histories()
    for own, shown in zip(lists_of(histories), case.model.recommend(histories, ITEMS).lists(), strict=True):
        expect(not set(own) & set(shown), f"history {own}: the list has {sorted(map(str, set(own) & set(shown)))}")
        expect(set(shown) == everything - set(own), f"history {own}: the list lacks items, it is {shown}")
    for shown in case.model.recommend(histories, ITEMS, keep_seen=True).lists():
        expect(set(shown) == everything, f"with keep_seen a list lacks items, it is {shown}")


def only_and_exclude_are_kept_to(case: Case) -> None:
    """Check that a list is made of the items of `only`, without those of `exclude`; unknown ids are ignored."""
    asked = case.model.recommend(SOME, only=["i0", "i5", "i6", "i13", "?"], exclude=["i6", "?"]).lists()
    expect_equal([set(row) for row in asked], [{"i5", "i13"}, {"i0", "i5", "i13"}], "items of the lists")
    expect_equal(case.model.recommend(SOME, only=[]).lists(), [[], []], "lists of no item")


def a_long_k_gives_a_short_list(case: Case) -> None:
    """Check that a list that runs out of items ends there."""
    answer = case.model.recommend([["i0"], []], 1000)
    expect_equal([len(row) for row in answer.lists()], [ITEMS - 1, ITEMS], "lengths of lists with k=1000")
    expect_equal(answer.to_frame()["item_id"].null_count(), 0, "empty places of the frame")


def k_is_a_whole_number_of_one_or_more(case: Case) -> None:
    """Check that numbers of numpy count, everything else raises `SettingError`."""
    four = cast(int, np.int64(4))
    expect_equal(case.model.recommend([["i0"]], four).lists(), case.model.recommend([["i0"]], 4).lists(), "numpy's 4")
    for wrong in (0, -3, 2.5, "10", True, None):
        expect_error(SettingError, lambda: case.model.recommend([[]], cast(int, wrong)), f"k={wrong!r}")  # noqa: B023


def a_user_without_history_gets_an_answer(case: Case) -> None:
    """Check that an empty history gets a list, one of unknown items alone the same."""
    shown = case.model.recommend([[]], 5).lists()[0]
    expect_equal(len(set(shown)), 5, "items of a list for an empty history")
    expect_equal(case.model.recommend([["never", "heard"]], 5).lists(), [shown], "list for unknown items")
    expect_equal(case.model.recommend([], 5).lists(), [], "lists for no history")


def unknown_items_of_a_history_are_ignored(case: Case) -> None:
    """Check that they change nothing."""
    asked = case.model.recommend([["?", "i3", "!", "i4"]], 6).lists()
    expect_equal(asked, case.model.recommend([["i3", "i4"]], 6).lists(), "list of a history with unknown items")


def a_history_of_everything_gets_an_empty_list(case: Case) -> None:
    """Check that no item is left."""
    expect_equal(case.model.recommend([[f"i{n}" for n in range(ITEMS)]], 3).lists(), [[]], "list")


def histories_may_come_from_another_log(case: Case) -> None:
    """Check that items are matched by their ids; a log stands for the histories of its users."""
    there = Histories.of(Vocabulary.of(["elsewhere", "i4", "i3", "i19"]), [["i3", "elsewhere", "i4"], ["i19"]])
    here = case.model.recommend([["i3", "i4"], ["i19"]], 8).lists()
    expect_equal(case.model.recommend(there, 8).lists(), here, "lists of histories over another vocabulary")
    answer = case.model.recommend(case.log, 4)
    expect_equal(answer.lists(), case.model.recommend(case.log.histories(), 4).lists(), "lists of a log")
    expect(answer.users.equals(case.log.users.ids), "users of the lists of a log are not its users")


def the_answer_to_a_history_stands_for_itself(case: Case) -> None:
    """Check that a list does not depend on the histories that are asked with it."""
    histories = case.log.histories()
    together = case.model.recommend(histories, 5).lists()
    alone = [case.model.recommend(histories.block(n, n + 1), 5).lists()[0] for n in range(USERS)]
    expect_equal(alone, together, "lists one by one and all at once")


def explanations_come_from_the_history(case: Case) -> None:
    """Check that `explain` names items of the history, the largest part first; nothing for an empty one."""
    found = case.model.explain(["i0", "?", "i1"], "i2")
    expect({item for item, _ in found} <= {"i0", "i1"}, f"explanation by items outside the history: {found}")
    values = [value for _, value in found]
    expect(values == sorted(values, reverse=True), f"parts are not in order: {values}")
    expect_equal(case.model.explain([], "i2"), [], "explanation of an empty history")


def similar_items_keep_to_what_is_allowed(case: Case) -> None:
    """Check that `similar_items` leaves out the item itself and keeps to `only` and `exclude`, if there are any."""
    try:
        case.model.item_similarity(0)
    except SettingError:
        expect_error(SettingError, lambda: case.model.similar_items(["i1"]), "similar_items without a similarity")
        return

    def similar(k: int, only: Iterable[Id] | None = None, exclude: Iterable[Id] | None = None) -> Sequence[Id]:
        return case.model.similar_items(["i1"], k, only=only, exclude=exclude).lists()[0]

    best = similar(6)
    expect("i1" not in best, "an item is similar to itself")
    expect_equal(len(best), 6, "similar items with k=6")
    expect_equal(list(similar(3, exclude=[*best[:2], "?"])), list(best[2:5]), "similar items without the first two")
    expect_equal(list(similar(9, only=[best[3], "i1", best[1]])), [best[1], best[3]], "similar items of three")
