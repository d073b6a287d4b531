"""Rules of fitting: logs of every kind, and what a fit leaves as it was."""

from __future__ import annotations

from dataclasses import replace

from palate.errors import DataError
from palate.testing.case import Case, expect, expect_close, expect_equal, expect_error, expect_finite, lists_of
from palate.testing.logs import EDGES, ITEMS, USERS, Events, block_events, extreme_logs, log_of


def ids_of_every_kind_come_back(case: Case) -> None:
    """Check that ids may be any text and any whole number, and keep their type."""
    names = ["café", "寿司", "😀", "a/b", 'q"uote', "tab\t", " "]
    texts: Events = [(f"ü{n % 5}", name, 1, n) for n, name in enumerate(names * 2)]
    numbers: Events = [(-n % 5, 10**12 + n % 7, 1, n) for n in range(20)]
    for events in (texts, numbers):
        log = log_of(events)
        frame = case.fit(log).recommend(log.histories(), 3, keep_seen=True).to_frame()
        expect_equal(frame["item_id"].dtype, log.items.ids.dtype, "type of the item ids")
        expect(set(frame["item_id"]) <= set(log.items.ids), "items of the lists are not those of the log")
        expect_equal(set(frame["user_id"]), set(log.users.ids), "users of the lists")


def a_log_without_weight_is_refused(case: Case) -> None:
    """Check that a log without an event of weight above 0 raises `DataError` (`palate.models.base.refuse_empty`)."""
    for what, events in (("a log without events", []), ("a log of an event with weight 0", [("u", "i", 0, 0)])):
        log = log_of(events)
        expect_error(DataError, lambda: case.fit(log), what)  # noqa: B023


def a_fit_leaves_the_log_as_it_is(case: Case) -> None:
    """Check that no array of the log is written to."""
    log = log_of(block_events())
    before = log.to_frame()
    for array in (log.start, log.item, log.weight, log.timestamp, log.event):
        if array is not None:
            array.flags.writeable = False
    case.fit(log)
    expect(log.to_frame().equals(before), "the log was changed")


def a_recipe_fits_again_and_to_another_log(case: Case) -> None:
    """Check that the same log and seed give the same scores, whatever was fitted in between."""
    other = log_of([("u", "x", 1, 0), ("u", "y", 1, 1), ("v", "x", 1, 2)])
    expect_equal(set(case.fit(other).items.ids), {"x", "y"}, "items of another log")
    small = log_of(EDGES["everything seen"])
    alone = case.fit(small).scores(small.histories())
    again = case.fit(case.log)
    expect_close(again.scores(case.histories), case.model.scores(case.histories), "scores of a second fit")
    expect_close(case.fit(small).scores(small.histories()), alone, "scores of a small log, fitted again")


def logs_at_the_edge_are_fitted(case: Case) -> None:
    """Check that scores are finite and lists complete, however little is in a log."""
    for edge, events in EDGES.items():
        log = log_of(events)
        model = case.fit(log)
        histories = log.histories()
        expect_finite(model.scores(histories), edge)
        for own, shown in zip(lists_of(histories), model.recommend(histories, 100).lists(), strict=True):
            left = sorted(set(map(str, log.items.ids)) - set(map(str, own)))
            expect_equal(sorted(map(str, shown)), left, f"{edge}: items of a list")
        expect_equal(len(model.recommend([[]], 100).lists()[0]), len(log.items), f"{edge}: items for a new user")


def repeated_and_weightless_events_are_fitted(case: Case) -> None:
    """Check that an event may come again, and one of weight 0 counts as seen."""
    events = block_events()
    log = log_of([*events, *events[:40], *((user, item, 0.0, day) for user, item, _, day in events[:20])])
    model = case.fit(log)
    histories = log.histories()
    expect_finite(model.scores(histories.on(model.items)), "a log with repeated events")
    for seen, shown in zip(lists_of(histories), model.recommend(histories, ITEMS).lists(), strict=True):
        expect(not set(seen) & set(shown), f"history {seen}: the list has items of it")
        expect_equal(len(set(shown)), len(shown), "different items of a list")


def a_dislike_is_no_like(case: Case) -> None:
    """Check that an item with an event of weight below 0 is not shown, and gains no popularity by it."""
    events = block_events()
    events += [("u0", "i13", -2.0, 9), ("critic", "i0", -1.0, 9), ("critic", "i14", -1.0, 9)]
    events += [(f"critic{n}", "i15", -1.0, 9) for n in range(2 * USERS)]
    log = log_of(events)
    model = case.fit(log)
    expect_finite(model.scores(log.histories()), "a log with dislikes")
    for user, bad in (("u0", {"i13"}), ("critic", {"i0", "i14"})):
        own = log.histories([user])
        shown = model.recommend(own, ITEMS).lists()[0]
        expect(bad.isdisjoint(shown), f"user {user!r} is shown what the user dislikes")
        expect_equal(len(shown), ITEMS - len(own.rows.column), f"items of the list of {user!r}")
    popular = model.recommend([[]], ITEMS).lists()[0]
    expect(popular[0] != "i15", "a new user is shown first an item that most users dislike")
    wanted = [item for item in popular if item not in ("i0", "i14")]
    expect_equal(
        model.recommend(log.histories(["critic"]), ITEMS).lists()[0], wanted, "list of a user with dislikes alone"
    )


def events_of_extreme_age_and_weight_are_fitted(case: Case) -> None:
    """Check that scores are finite and lists full at the limits of float32, with every half-life."""
    fades = "half_life_days" in case.recipe.settings()
    for kind, events in extreme_logs(block_events()).items():
        log = log_of(events)
        for days in (1e-300, 0.01, 7.0, 1e300) if fades else (None,):
            changed: dict[str, object] = {"half_life_days": days} if fades else {}
            model = case.fit(log, replace(case.recipe, **changed))
            for asked in (log.histories(), model.histories([["i1", "i2"], ["i3"], ["i5", "i13"], []])):
                expect_finite(model.scores(asked.on(model.items)), f"{kind}, half_life_days={days}")
                lists = model.recommend(asked, ITEMS, keep_seen=True)
                expect(bool((lists.item >= 0).all()), f"{kind}, half_life_days={days}: a list is not full")
