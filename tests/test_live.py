"""The live recommender over a real store: sources, rules, pages, new items, models swapped."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palate import IALS, Popularity, read_log
from palate.data.interactions import Interactions
from palate.errors import ConditionError, DataError, SettingError
from palate.live import checking, popularity
from palate.live.catalogue import stored_catalogue
from palate.live.history import EVENTS, WHOLE, PreparedHistories, read_history
from palate.live.importing import import_model
from palate.live.service import Live
from palate.live.training import train
from palate.live.weights import Weights
from palate.models.base import Model
from palate.models.ials import IALSModel
from palate.models.popularity import PopularityModel
from palate.ranking.request import Boost, Cap, ListRequest, Pin, RecommendationList, SessionEvent, Share
from palate.store.events import Event, Past, Store
from palate.store.items import Item
from palate.store.transfer import export_events
from palate.store.versions import Versions

USERS, ITEMS = 30, 21
RECIPE = IALS(dim=8, epochs=5)
DAY = 86_400_000_000


def filled(path: Path) -> Store:
    """30 people in three crowds who each like items of a third of 21, and item 0; nobody knows item 20."""
    store = Store.open(path)
    kinds = ["red", "green", "blue"]
    store.items.put(
        Item(
            f"i{i}", {"title": f"Item {i}", "kind": kinds[i % 3], "price": i, "tags": ["even"] if i % 2 == 0 else []}
        )
        for i in range(ITEMS)
    )
    rng = np.random.default_rng(5)
    events = []
    for user in range(USERS):
        liked = rng.permutation(np.arange(user % 3, 18, 3))[: 2 + user % 3]
        events += [Event(f"u{user}", f"i{i}", "like", DAY * (1 + n) + user) for n, i in enumerate([0, *liked])]
    events += [Event(f"u{user}", f"i{18 + user % 2}", "view", DAY * 9) for user in range(0, USERS, 4)]
    store.append(events)
    return store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with filled(tmp_path / "shop.db") as opened:
        yield opened


@pytest.fixture
def live(store: Store) -> Live:
    train(store, Versions(store), RECIPE)
    return Live(store, Versions(store))


def ids(answer: RecommendationList) -> list[str]:
    return [place.item_id for place in answer.items]


def sources(answer: RecommendationList) -> list[str]:
    return [place.source for place in answer.items]


def soon(condition: Any) -> None:
    """Wait until something holds that another thread brings about."""
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


# Sources


def test_a_known_person_gets_the_list_of_the_model(live: Live) -> None:
    log = live.store.log(live.weights.by_type)
    model = live.snapshot().active.model
    for user in ("u1", "u17"):
        offline = model.recommend(log.histories([user]), 6)
        answer = live.recommend(ListRequest(user_id=user, k=6, explore=0))
        assert ids(answer) == offline.lists()[0]
        np.testing.assert_allclose([place.score for place in answer.items], offline.score[0], rtol=1e-5)
        assert sources(answer) == ["personal"] * 6
        seen = {event.item_id for event in live.store.events(user)}
        assert not seen & set(ids(answer))
        assert all(set(place.because) <= seen for place in answer.items)
        assert all(place.reason.startswith("because of i") for place in answer.items[:2])


def test_an_unknown_person_gets_what_is_popular_and_one_like_changes_it(live: Live) -> None:
    first = live.recommend(ListRequest(user_id="new", k=5))
    log = live.store.log(live.weights.by_type)
    weight = np.bincount(log.item, log.weight, minlength=len(log.items))
    assert sources(first) == ["popular"] * 5
    assert [place.score for place in first.items] == sorted(weight, reverse=True)[:5]
    assert ids(first)[0] == "i0"
    live.store.append([Event("new", "i4", "like", DAY)])
    second = live.recommend(ListRequest(user_id="new", k=5))
    assert sources(second) == ["personal"] * 5
    assert ids(second) != ids(first)
    assert "i4" not in ids(second)
    crowd = [int(name[1:]) % 3 == 1 for name in ids(second) if name != "i0" and int(name[1:]) < 18]
    assert np.mean(crowd[:3]) > 0.6


def test_a_session_is_answered_as_the_same_history_stored(live: Live) -> None:
    live.store.append([Event("new", "i4", "like", DAY), Event("new", "i7", "view", 2 * DAY)])
    stored = live.recommend(ListRequest(user_id="new"))
    session = live.recommend(
        ListRequest(session=(SessionEvent("i4", "like"), SessionEvent("?"), SessionEvent("i7", "view")))
    )
    assert ids(session) == ids(stored)
    assert set(sources(session)) == {"session"}
    assert live.recommend(ListRequest(user_id="new", session=(SessionEvent("i10"),))).items[0].source == "personal"


def test_a_dislike_hides_and_pulls_down(live: Live) -> None:
    liked = live.recommend(ListRequest(session=(SessionEvent("i1", "like"),), k=20, keep_seen=True))
    mixed = live.recommend(
        ListRequest(session=(SessionEvent("i1", "like"), SessionEvent("i4", "dislike")), k=20, keep_seen=True)
    )
    assert "i4" in ids(liked)
    assert "i4" not in ids(mixed)
    back = (SessionEvent("i4", "dislike"), SessionEvent("i4", "like"))
    assert "i4" in ids(live.recommend(ListRequest(session=back, k=20, keep_seen=True)))
    only = live.recommend(ListRequest(session=(SessionEvent("i4", "dislike"),), k=3))
    assert sources(only) == ["popular"] * 3
    assert "i4" not in ids(only)


def test_many_events_on_one_item_hide_none_of_the_others(live: Live) -> None:
    live.store.append([Event("many", "i1", "like"), Event("many", "i4", "dislike"), Event("many", "i7", "purchase")])
    before = live.recommend(ListRequest(user_id="many", k=ITEMS))
    live.store.append([Event("many", "i10", "view")] * (WHOLE + EVENTS))
    after = live.recommend(ListRequest(user_id="many", k=ITEMS))
    assert not {"i1", "i4", "i7", "i10"} & set(ids(after))
    assert set(ids(after)) == set(ids(before)) - {"i10"}
    assert "i4" not in ids(live.recommend(ListRequest(user_id="many", k=ITEMS, keep_seen=True)))
    live.store.append([Event("many", "i4", "like")])
    assert "i4" in ids(live.recommend(ListRequest(user_id="many", k=ITEMS, keep_seen=True)))


def test_what_is_only_seen_leaves_the_taste_as_it_is(live: Live) -> None:
    live.store.append([Event("fan", "i4", "like"), Event("fan", "i7", "dislike")])
    fan = live.history("fan")
    live.store.append([Event("fan", f"i{n % 7}", "read", weight=0.0) for n in range(WHOLE + 10)])
    now = live.history("fan")
    assert (now.item.tolist(), now.weight.tolist()) == (fan.item.tolist(), fan.weight.tolist()) == ([5, 8], [3, -1])
    assert set(now.seen) == {1, 2, 3, 4, 5, 6, 7, 8}
    assert now.disliked.tolist() == [8], "to see something again is no second opinion"
    assert sources(live.recommend(ListRequest(user_id="fan", k=3, explore=0))) == ["personal"] * 3
    only = live.recommend(
        ListRequest(session=(SessionEvent("i4", "dislike"), SessionEvent("i4", weight=0.0)), k=20, keep_seen=True)
    )
    assert "i4" not in ids(only)


def test_the_items_that_another_user_has_seen_can_be_left_out(live: Live) -> None:
    live.store.append([Event("other", f"i{n}", "view") for n in range(9)])
    answer = live.recommend(ListRequest(anchor_items=("i9",), unseen_by="other", k=ITEMS))
    assert {"similar"} <= set(sources(answer)) <= {"similar", "popular", "newest"}
    assert not {f"i{n}" for n in range(9)} & set(ids(answer))


@given(
    sent=st.lists(
        st.tuples(
            *(st.sampled_from("abcd"), st.sampled_from(["view", "dislike", "skip"])),
            *(st.sampled_from([1, 2, 10**16, None]), st.sampled_from([None, 0.0, 2.0, -1.0])),
        ),
        max_size=12,
    ),
    until=st.sampled_from([None, 1, DAY]),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_long_history_says_the_same_as_a_short_one(store: Store, sent: list[Any], until: int | None) -> None:
    user, weights = f"long{store.newest()}", Weights(store, {"dislike": -1, "skip": 0})
    store.append([Event(user, *each) for each in sent])
    whole = read_history(store, weights, user, until)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (("WHOLE", 3), ("EVENTS", 2)):
            patched.setattr(f"palate.live.history.{name}", value)
        parts = read_history(store, weights, user, until)
    assert set(parts.seen) == set(whole.seen)
    assert set(parts.disliked) == set(whole.disliked)
    for name in ("item", "weight", "time"):
        assert getattr(parts, name).tolist() == getattr(whole, name)[-2:].tolist()


def test_what_is_on_the_page_counts_where_nothing_else_is_known(live: Live) -> None:
    answer = live.recommend(ListRequest(anchor_items=("i4",), k=4))
    model = live.snapshot().active.model
    assert ids(answer) == model.similar_items(["i4"], 4).lists()[0]
    assert sources(answer) == ["similar"] * 4
    assert sources(live.recommend(ListRequest(anchor_items=("?",), k=2))) == ["popular"] * 2
    assert (
        sources(live.recommend(ListRequest(user_id="u1", anchor_items=("i4",), k=2, explore=0))) == ["personal"] * 2
    )


def test_the_list_goes_on_with_popular_then_newest_items(live: Live) -> None:
    answer = live.recommend(ListRequest(user_id="u0", k=ITEMS))
    assert len(answer.items) == ITEMS - len({event.item_id for event in live.store.events("u0")})
    assert sources(answer) == sorted(sources(answer), key=["personal", "popular", "newest"].index)
    assert ids(answer)[-1] == "i20"  # it has no event
    assert answer.cursor is None


def test_everything_seen_leaves_an_empty_list_that_says_why(live: Live) -> None:
    live.store.append([Event("all", f"i{i}", "view", DAY) for i in range(ITEMS)])
    answer = live.recommend(ListRequest(user_id="all"))
    assert answer.items == ()
    assert "every item" in str(answer.reason)
    assert len(live.recommend(ListRequest(user_id="all", keep_seen=True)).items) == 10


def test_an_empty_store_answers_too(tmp_path: Path) -> None:
    with Store.open(tmp_path / "empty.db") as store:
        live = Live(store, Versions(store))
        answer = live.recommend(ListRequest(user_id="u"))
        assert (answer.items, answer.model, answer.reason) == ((), None, "the store is empty")
        store.append([Event("u", "first", "view", DAY)])
        assert live.recommend(ListRequest(user_id="u")).items == ()
        assert ids(live.recommend(ListRequest(user_id="v"))) == ["first"]


# Rules


def test_filters_apply_before_the_best_are_chosen(live: Live) -> None:
    answer = live.recommend(ListRequest(user_id="u1", k=4, filter="kind = 'red' AND price > 2"))
    assert len(answer.items) == 4
    assert all(int(name[1:]) % 3 == 0 and int(name[1:]) > 2 for name in ids(answer))
    with pytest.raises(ConditionError, match="character 16: cannot be read"):
        live.recommend(ListRequest(filter="price > 2 OR > 3"))
    none = live.recommend(ListRequest(filter="price < 0"))
    assert none.items == ()
    assert none.reason == "no available item meets the filter"


def test_boosts_lift_and_push_down(live: Live) -> None:
    whole = live.recommend(ListRequest(user_id="u1", k=ITEMS, explore=0))
    lifted = live.recommend(ListRequest(user_id="u1", k=ITEMS, explore=0, boost=(Boost("kind = 'blue'", 1e6),)))
    model_only = [place.item_id for place in whole.items if place.source == "personal" and place.score > 0]
    blue = [name for name in model_only if int(name[1:]) % 3 == 2]
    assert ids(lifted)[: len(blue)] == blue
    pushed = live.recommend(ListRequest(user_id="none", k=5, boost=(Boost("item_id = 'i0'", 0.001),)))
    assert ids(live.recommend(ListRequest(user_id="none", k=1))) == ["i0"]
    assert "i0" not in ids(pushed)


def test_pins_stand_where_they_should(live: Live) -> None:
    plain = ids(live.recommend(ListRequest(user_id="u1", k=6, explore=0)))
    pinned = live.recommend(
        ListRequest(user_id="u1", k=6, explore=0, pin=(Pin("i20", 2), Pin("i0", 9), Pin(plain[0], 1)))
    )
    assert ids(pinned) == [plain[0], "i20", *plain[1:5]]
    assert sources(pinned)[:2] == ["pinned", "pinned"]
    again = live.recommend(ListRequest(user_id="u1", k=6, explore=0, cursor=pinned.cursor, pin=(Pin("i20", 2),)))
    assert "i20" not in ids(again)
    with pytest.raises(SettingError, match="item '\\?' is unknown"):
        live.recommend(ListRequest(pin=(Pin("?", 1),)))
    with pytest.raises(SettingError, match="same place"):
        ListRequest(pin=(Pin("i1", 1), Pin("i2", 1)))


def test_caps_hold_for_words_and_lists(live: Live) -> None:
    answer = live.recommend(ListRequest(user_id="u1", k=6, cap=(Cap("kind", 2),)))
    kinds = [int(name[1:]) % 3 for name in ids(answer)]
    assert sorted(kinds) == [0, 0, 1, 1, 2, 2]
    uncapped = ids(live.recommend(ListRequest(user_id="u1", k=ITEMS, explore=0)))
    best = [name for kind in range(3) for name in [n for n in uncapped if int(n[1:]) % 3 == kind][:2]]
    assert sorted(ids(live.recommend(ListRequest(user_id="u1", k=6, explore=0, cap=(Cap("kind", 2),))))) == sorted(
        best
    )
    tags = live.recommend(ListRequest(user_id="u1", k=ITEMS, cap=(Cap("tags", 3),)))
    assert sum(int(name[1:]) % 2 == 0 for name in ids(tags)) == 3


def test_the_conditions_of_a_request_are_bounded_together() -> None:
    boosts = tuple(Boost("price < 5 OR " * 100 + f"price > {n}", 2) for n in range(7))
    ListRequest(boost=boosts[:5], filter="price > 1")
    with pytest.raises(
        ConditionError, match="filter, boosts and shares have 9,163 characters together; there can be 8,000"
    ):
        ListRequest(boost=boosts)


def test_what_no_item_has_is_unknown_and_warned_of(live: Live) -> None:
    plain = live.recommend(ListRequest(user_id="u1", k=6))
    assert plain.warnings == ()
    asked = ListRequest(
        user_id="u1", k=6, boost=(Boost("colour = 'red'", 2), Boost("pric < 3", 5)), cap=(Cap("colour", 1),)
    )
    answer = live.recommend(asked)
    assert set(ids(answer)) == set(ids(plain))
    assert answer.warnings == (
        "boost: no item has an attribute 'colour'",
        "boost: no item has an attribute 'pric'; did you mean 'price'?",
        "cap: no item has an attribute 'colour'",
    )
    none = live.recommend(ListRequest(filter="price > 2 AND pric > 3"))
    assert none.items == ()
    assert none.warnings == ("filter: no item has an attribute 'pric'; did you mean 'price'?",)
    either = live.recommend(ListRequest(filter="price > 2 OR pric > 3", k=5))
    assert len(either.items) == 5


def test_what_is_told_of_removed_items_teaches_but_is_in_no_ones_way(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "new.db")
    store.items.put([Item("a", {"title": "A", "price": 1}), Item("b", {"title": 5, "colour": "red"}), Item("c")])
    store.items.remove(["b"])
    live = Live(store)
    assert live.recommend(ListRequest(filter="colour = 'red' OR title = 5")).warnings != ()
    told = stored_catalogue(store)
    assert set(told.fields) == {"available", "title", "price"}
    assert told.row("b")["title"] is None
    store.items.put([Item("d", {"title": 7, "colour": "blue"})])
    assert stored_catalogue(store).row("b")["colour"] == "red"
    store.close()


RULES = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from([None, "u3", "u29", "nobody"]),
        "k": st.integers(1, 30),
        "filter": st.sampled_from([None, "price >= 6", "kind <> 'red'", "'even' = ANY(tags)", "price < 1"]),
        "exclude": st.lists(st.sampled_from([f"i{i}" for i in range(0, ITEMS, 2)]), max_size=12).map(tuple),
        "cap": st.sampled_from([(), (Cap("kind", 1),), (Cap("tags", 2), Cap("kind", 4))]),
        "boost": st.sampled_from([(), (Boost("price > 10", 3.0),)]),
        "share": st.sampled_from(
            [
                (),
                (Share("price < 6", 0.5),),
                (Share("kind = 'red'", 1),),
                (Share("kind = 'blue'", 0.3), Share("price > 9", 0.6)),
            ]
        ),
        "keep_seen": st.booleans(),
    }
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with filled(tmp_path_factory.mktemp("shop") / "shop.db") as store:
        train(store, Versions(store), RECIPE)
        yield Live(store, Versions(store))


@given(rules=RULES)
@settings(max_examples=150)
def test_a_list_keeps_every_rule_and_is_as_long_as_it_can_be(shared: Live, rules: dict[str, Any]) -> None:
    asked = ListRequest(**rules)
    answer = shared.recommend(asked)
    found = ids(answer)
    assert len(set(found)) == len(found)
    seen = set() if asked.keep_seen else {event.item_id for event in shared.store.events(asked.user_id or "")}
    frame = shared.snapshot().catalogue.frame
    mask = shared.snapshot().catalogue.mask(asked.filter) if asked.filter else np.ones(len(frame), bool)
    allowed = set(frame.filter(mask)["item_id"]) - seen - set(asked.exclude)
    assert set(found) <= allowed
    told = {row["item_id"]: row for row in frame.to_dicts()}

    def room(name: str, chosen: list[str]) -> bool:
        for cap in asked.cap:
            for value in np.atleast_1d(told[name][cap.attribute] or []):
                if sum(value in np.atleast_1d(told[other][cap.attribute] or []) for other in chosen) >= cap.most:
                    return False
        return True

    assert all(room(name, found[:n]) for n, name in enumerate(found))
    if len(found) < asked.k:
        assert not any(room(name, found) for name in allowed - set(found))
    if not found:
        assert answer.reason
    if len(asked.share) == 1:
        meets = set(frame.filter(shared.snapshot().catalogue.mask(asked.share[0].condition))["item_id"])
        there = [name for name in found if name in meets]
        assert len(there) >= asked.share[0].places(asked.k) or not any(
            room(name, there) for name in allowed & meets - set(found)
        )


def test_pages_repeat_nothing_and_leave_nothing_out(live: Live) -> None:
    whole, cursor = [], None
    for page in range(9):
        answer = live.recommend(ListRequest(user_id="u2", k=3, cursor=cursor))
        whole += ids(answer)
        cursor = answer.cursor
        if page == 1:  # something happens between two pages
            live.store.append([Event("u2", whole[-1], "like", 20 * DAY)])
            live.store.items.put([Item("late", {"kind": "red"})])
        if cursor is None:
            break
    seen = {event.item_id for event in live.store.events("u2")}
    assert len(set(whole)) == len(whole)
    assert set(whole) | seen == {f"i{i}" for i in range(ITEMS)} | {"late"}
    for bad in ("%", "abc", "é"):
        with pytest.raises(SettingError, match="cursor"):
            live.recommend(ListRequest(cursor=bad))


# Items that come and go


def test_items_act_at_once(live: Live) -> None:
    top = ids(live.recommend(ListRequest(user_id="u1", k=3, explore=0)))
    live.store.items.patch(top[0], {}, available=False)
    live.store.items.remove([top[1]])
    assert ids(live.recommend(ListRequest(user_id="u1", k=1, explore=0))) == [top[2]]
    live.store.items.patch(top[0], {}, available=True)
    live.store.items.put([Item(top[1], {"kind": "red"})])
    assert ids(live.recommend(ListRequest(user_id="u1", k=2, explore=0)))[0] == top[0]
    assert top[1] in ids(live.recommend(ListRequest(filter="kind = 'red'", k=ITEMS)))


def test_new_items_are_shown_until_a_model_knows_them(live: Live) -> None:
    live.store.items.put([Item(f"new{n}", {"kind": "green"}) for n in range(3)])
    for user in ("u1", "nobody", None):
        answer = live.recommend(ListRequest(user_id=user, k=10))
        assert [place.item_id[:3] for place in answer.items if place.source == "newest"] == ["new"]
        assert answer.items[-1].source == "newest"
    last = {live.recommend(ListRequest(user_id=f"u{n}", k=10)).items[-1].item_id for n in range(USERS)}
    assert last == {"new0", "new1", "new2"}
    assert "newest" not in sources(live.recommend(ListRequest(user_id="u1", k=10, explore=0)))
    train(live.store, live.versions, RECIPE)  # type: ignore[arg-type]
    soon(lambda: live.snapshot().version == 2)
    assert "newest" not in sources(live.recommend(ListRequest(user_id="u1", k=10)))  # they are no longer new


# Models that come and go


def test_every_new_item_is_shown_to_somebody_where_a_cap_leaves_out_most(live: Live) -> None:
    many = [Item(f"same {n}", {"kind": "same"}) for n in range(5000)]
    live.store.items.put([Item("other", {"kind": "other"}), *many])
    cap = (Cap("kind", 1),)
    answer = live.recommend(ListRequest(user_id="u1", k=4, explore=1, cap=cap))
    assert "other" in ids(answer), "it is the oldest of the new ones"


def test_events_of_another_process_count_in_the_next_answer(live: Live, tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as other:
        before = ids(live.recommend(ListRequest(user_id="u1", k=3)))
        other.append([Event("u1", before[0], "like", 30 * DAY)])
        assert before[0] not in ids(live.recommend(ListRequest(user_id="u1", k=3)))
        other.items.put([Item("theirs", {"kind": "gold"})])
        assert ids(live.recommend(ListRequest(filter="kind = 'gold'"))) == ["theirs"]


def test_another_model_is_swapped_in_and_back(live: Live) -> None:
    versions = live.versions
    assert versions is not None
    first = live.recommend(ListRequest(user_id="u1", explore=0))
    second = versions.add(Popularity().fit(live.store.log()).save, {})
    versions.activate(second.number)
    soon(lambda: live.recommend(ListRequest(user_id="u1")).model["version"] == 2)  # type: ignore[index]
    assert live.recommend(ListRequest(user_id="u1")).model["recipe"] == "Popularity"  # type: ignore[index]
    assert ids(live.recommend(ListRequest(anchor_items=("i1",), k=2)))  # this model knows no similarity
    versions.rollback()
    soon(lambda: live.recommend(ListRequest(user_id="u1")).model["version"] == 1)  # type: ignore[index]
    assert ids(live.recommend(ListRequest(user_id="u1", explore=0))) == ids(first)


def test_a_damaged_model_is_refused_and_the_old_one_stays(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    versions = live.versions
    assert versions is not None
    good = live.recommend(ListRequest(user_id="u1", explore=0))
    second = versions.add(RECIPE.fit(live.store.log()).save, {})
    versions.activate(second.number)
    vectors = versions.path(2) / "item_vectors.npy"
    damaged = bytearray(vectors.read_bytes())
    damaged[-1] ^= 1
    vectors.write_bytes(damaged)
    live.recommend(ListRequest())
    soon(lambda: "version 2 is refused" in caplog.text)
    assert live.recommend(ListRequest(user_id="u1", explore=0)).items == good.items
    again = Live(live.store, versions)
    assert again.recommend(ListRequest(user_id="u1")).model is None  # nothing else is there: popular items
    assert sources(again.recommend(ListRequest(user_id="u1", k=2))) == ["popular"] * 2


def test_a_model_that_does_not_work_is_refused_once(
    live: Live, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever its kernels or arrays raise."""
    versions = live.versions
    assert versions is not None
    versions.activate(versions.add(Popularity().fit(live.store.log()).save, {}).number)
    monkeypatch.setattr(PopularityModel, "scores", lambda *_: np.zeros(1)[7])  # IndexError
    for _ in range(30):
        live.recommend(ListRequest(user_id="u1"))
        time.sleep(0.01)
    soon(lambda: "version 2 is refused" in caplog.text)
    assert caplog.text.count("version 2 is refused") == 1
    assert live.recommend(ListRequest(user_id="u1")).model["version"] == 1  # type: ignore[index]
    assert Live(live.store, versions).recommend(ListRequest(user_id="u1")).model is None  # it starts all the same


def test_a_model_fitted_elsewhere_is_adopted_once(tmp_path: Path, store: Store) -> None:
    export_events(store, tmp_path / "log.csv")
    log = read_log(tmp_path / "log.csv")
    model = RECIPE.fit(log)
    model.save(tmp_path / "model", log=log)
    with Store.open(tmp_path / "other.db") as other:
        versions = Versions(other)
        import_model(other, versions, tmp_path / "model")
        assert import_model(other, versions, tmp_path / "model").number == 1
        assert other.counts()[:2] == (len(log), len(log.users))
        live = Live(other, versions)
        offline = model.recommend(log.histories(["u5"]), 5).lists()[0]
        assert ids(live.recommend(ListRequest(user_id="u5", k=5))) == offline


def test_a_model_that_a_crash_left_between_two_renames_is_adopted(tmp_path: Path, store: Store) -> None:
    RECIPE.fit(store.log()).save(tmp_path / "model")
    (tmp_path / "model").rename(tmp_path / ".model.previous")
    assert import_model(store, Versions(store), tmp_path / "model").number == 1


# What is popular

WEIGHTS = {"like": 3.0, "view": 0.1, "dislike": -1.0, "none": 0.0}
HAPPENING = st.one_of(
    st.tuples(
        st.sampled_from(["all", "first", "last"]),
        st.lists(
            st.builds(
                Event,
                st.sampled_from(["a", "b", "c"]),
                st.sampled_from(["x", "y", "z"]),
                st.sampled_from([*WEIGHTS, "other"]),
                st.integers(1, 3).map(lambda day: day * DAY),
                st.sampled_from([None, -2.0, -0.3, 0.0, 0.1, 0.7, 3.0, 999_999.9]),
                st.none(),
                st.sampled_from([None, {"device": "phone"}, {"device": "tv", "position": 1}]),
            ),
            max_size=6,
        ),
    ),
    st.tuples(st.just("withdraw"), st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]))),
    st.tuples(st.just("forget"), st.sampled_from(["a", "b"])),
)


@given(happening=st.lists(HAPPENING, min_size=1, max_size=12))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_popular_is_the_order_of_the_recipe_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, happening: list[tuple[str, Any]]
) -> None:
    monkeypatch.setattr(popularity, "REST", 0)
    monkeypatch.setattr(popularity, "PART", 3)
    with Store.open(tmp_path_factory.mktemp("popular") / "shop.db") as store:
        running = Live(store, None, WEIGHTS)
        for what, which in happening:
            if what == "withdraw":
                store.feedback.withdraw(*which)
            elif what == "forget":
                store.forget(which)
            else:
                store.append(which, what)  # type: ignore[arg-type]
            log = store.log(WEIGHTS)
            expected: list[tuple[Any, float]] = []
            if len(log) and (log.weight > 0).any():
                ranked = Popularity().fit(log).recommend([[]], 9)
                expected = list(zip(ranked.lists()[0], ranked.score[0].tolist(), strict=True))
            answer = running.recommend(ListRequest(k=9, explore=0))
            found = [(place.item_id, place.score) for place in answer.items if place.source == "popular"]
            assert found == [pair for pair in expected if pair[1] > 0]


@pytest.mark.parametrize("few", [0, 20_000])
def test_one_huge_weight_makes_nothing_popular(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(popularity, "REST", 0)
    monkeypatch.setattr(popularity, "FEW", few)
    monkeypatch.setattr(popularity, "PART", 50)
    with Store.open(tmp_path / "shop.db") as store:
        store.append([Event(f"u{n}", f"i{n % 3}", "view", DAY + n) for n in range(600)])
        running = Live(store)
        for huge in (1e6, 2.0):
            store.append([Event("mallory", "i9", "view", DAY, huge)])
            ranked = Popularity().fit(store.log()).recommend([[]], 9)
            answer = running.recommend(ListRequest(k=9, explore=0))
            assert [(place.item_id, place.score) for place in answer.items] == list(
                zip(ranked.lists()[0], ranked.score[0].tolist(), strict=True)
            )
        assert ranked.lists()[0] == ["i0", "i1", "i2", "i9"]


def test_equally_popular_items_stand_in_the_order_they_came(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        store.append([Event("u", name, "like", DAY) for name in ("b", "c", "a")])
        store.append([Event("v", name, "view", DAY) for name in ("a", "c", "b") for _ in range(2)])
        assert ids(Live(store).recommend(ListRequest(k=3))) == ["b", "c", "a"]


# Training


def test_the_first_model_is_activated_and_tells_of_itself(store: Store) -> None:
    versions = Versions(store)
    trained = train(store, versions, RECIPE)
    about = trained.version.about
    assert (trained.activated, versions.active()) == (True, 1)
    assert about["recipe"] == "IALS"
    assert about["settings"]["dim"] == 8
    assert (about["events"], about["users"]) == (store.counts().events, USERS)
    mean, low, high = about["metrics"]["NDCG@10"]
    assert 0 <= low <= mean <= high <= 1


def crowd_events(store: Store, first: int, people: int) -> None:
    """New people who like items of their crowd in turns, long after all others."""
    rng = np.random.default_rng(first)
    store.append(
        [
            Event(f"p{first + n}", f"i{i}", "like", DAY * 40 + DAY * first + 1000 * place + n)
            for n in range(people)
            for place, i in enumerate(rng.permutation(np.arange(n % 3, 18, 3))[:5])
        ]
    )


def test_a_worse_model_is_not_activated(store: Store) -> None:
    versions = Versions(store)
    train(store, versions, RECIPE)
    crowd_events(store, 0, 90)  # 450 new events, that neither has seen the later half of
    worse = train(store, versions, Popularity())
    assert (worse.activated, versions.active()) == (False, 1)
    assert "is worse than" in worse.why
    assert worse.version.about["difference"][0] < 0
    better = train(store, versions, IALS(dim=16, epochs=8))
    assert (better.activated, versions.active()) == (True, 3)


def test_few_new_events_compare_recipes_not_models(store: Store) -> None:
    versions = Versions(store)
    train(store, versions, RECIPE)
    same = train(store, versions, RECIPE)
    assert same.version.about["difference"] == [0, 0, 0]
    assert versions.active() == 2
    assert not train(store, versions, Popularity()).activated


@pytest.mark.parametrize(
    ("kind", "weight", "repeat"), [("read", 0.0, False), ("dislike", None, False), ("like", 1, True)]
)
def test_newest_events_that_ask_nothing_are_no_consent(
    store: Store, kind: str, weight: float | None, repeat: bool
) -> None:
    versions = Versions(store)
    crowd_events(store, 0, 90)
    train(store, versions, RECIPE)
    rng = np.random.default_rng(7)
    users = rng.integers(0, 90, 300)
    seen = {user: store.events(f"p{user}")[0].item_id for user in set(users.tolist())}
    item = [seen[user] if repeat else f"i{rng.integers(20)}" for user in users.tolist()]
    store.append(
        [Event(f"p{u}", i, kind, DAY * 90 + n, weight) for n, (u, i) in enumerate(zip(users, item, strict=True))]
    )
    worse = train(store, versions, Popularity())
    assert (worse.activated, versions.active()) == (False, 1)
    assert "is worse than" in worse.why


def test_what_cannot_be_measured_is_activated_only_as_the_first(tmp_path: Path) -> None:
    with Store.open(tmp_path / "shop.db") as store:
        versions = Versions(store)
        store.append([Event(f"u{n}", f"i{n % 3}", "like", DAY + n) for n in range(30)])  # nobody comes twice
        first = train(store, versions, Popularity())
        assert first.activated
        assert "it is the first, and there was too little to measure it on" in first.why
        second = train(store, versions, RECIPE)
        assert (second.activated, versions.active()) == (False, 1)
        assert "could not be measured" in second.why
        assert "version 1 stays" in second.why


def test_a_damaged_model_is_no_consent_either(store: Store) -> None:
    versions = Versions(store)
    train(store, versions, RECIPE)
    (versions.path(1) / "item_vectors.npy").write_bytes(b"")
    worse = train(store, versions, Popularity())
    assert not worse.activated
    assert "of version 1: -" in worse.why  # by its recipe, fitted anew
    assert train(store, versions, RECIPE).activated


def test_one_recipe_on_one_log_differs_by_nothing(tmp_path: Path) -> None:
    """Whatever it chooses by the size of the log, it chooses on both sides."""
    with Store.open(tmp_path / "shop.db") as store:
        rng = np.random.default_rng(1)
        user, item = rng.integers(0, 100, 2000), rng.zipf(1.3, 2000) % 80
        store.append(
            [Event(f"u{u}", f"i{i}", "view", DAY + n) for n, (u, i) in enumerate(zip(user, item, strict=True))]
        )
        versions = Versions(store)
        for recipe in (IALS(dim=8, epochs=2), IALS(dim=8, epochs=2, threads=2)):
            train(store, versions, recipe)
            again = train(store, versions, recipe)
            assert again.version.about["difference"] == [0, 0, 0]
            assert again.activated


def test_an_event_far_ahead_does_not_blind_the_check(store: Store) -> None:
    versions = Versions(store)
    with store.database.writing() as connection:  # as an older version stored it
        connection.exec_driver_sql("UPDATE events SET time = 253402300000000000 WHERE seq = 5")
    train(store, versions, RECIPE)
    assert versions.get(1).about["until"] <= versions.get(1).created
    now = versions.get(1).created
    rng = np.random.default_rng(3)
    liked = {n: rng.permutation(np.arange(n % 3, 18, 3))[:5] for n in range(90)}
    turns = [(n, items[place]) for place in range(5) for n, items in liked.items()]
    store.append([Event(f"p{n}", f"i{i}", "like", now + 1 + turn) for turn, (n, i) in enumerate(turns)])
    worse = train(store, versions, Popularity())
    assert worse.version.about["people"] > 60  # the new events, and the active model as it is
    assert not worse.activated


@pytest.mark.parametrize(
    ("recipe", "bad"),
    [
        (IALS(dim=8, epochs=5, half_life_days=30), Event("mallory", "i7", "like", 253_402_300_000_000_000)),
        *((RECIPE, Event("mallory", "i7", "like", DAY * 20, weight)) for weight in (1e4, 1e6)),
    ],
    ids=["far ahead", "heavy", "as heavy as can be"],
)
def test_one_bad_event_spoils_nobodys_list(store: Store, recipe: IALS, bad: Event) -> None:
    def hits(live: Live) -> float:
        """Share of first places that are of the user's own crowd."""
        first = [ids(live.recommend(ListRequest(user_id=f"p{n}", k=1, explore=0)))[0] for n in range(60)]
        return float(np.mean([int(name[1:]) % 3 == n % 3 for n, name in enumerate(first)]))

    versions = Versions(store)
    crowd_events(store, 0, 90)
    train(store, versions, recipe)
    live = Live(store, versions)
    before = hits(live)
    assert before > 0.7
    store.append([bad])
    train(store, versions, recipe)
    live = Live(store, versions)
    assert hits(live) >= before - 0.05


# The model that will answer


def spoilt(monkeypatch: pytest.MonkeyPatch, store: Store, spoil: Callable[[IALSModel], Model]) -> None:
    """Have a fit to all events of the store go wrong, and no other."""
    fit, events = IALS.fit, store.counts().events

    def fitted(recipe: IALS, log: Interactions, *more: Any, **others: Any) -> Model:
        model = fit(recipe, log, *more, **others)
        return spoil(model) if len(log) == events else model

    monkeypatch.setattr(IALS, "fit", fitted)


@pytest.mark.parametrize("first", [False, True])
def test_the_model_that_will_answer_is_measured(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, first: bool
) -> None:
    caplog.set_level("INFO", "palate.live")
    versions = Versions(store)
    crowd_events(store, 0, 90)
    if not first:
        train(store, versions, RECIPE)
    shuffled = np.random.default_rng(0).permutation(ITEMS - 2)
    spoilt(monkeypatch, store, lambda model: replace(model, item_vectors=model.item_vectors[shuffled]))
    bad = train(store, versions, RECIPE)
    assert (bad.activated, versions.active()) == (False, None if first else 1)
    assert "fitted to all events it reaches only 0." in bad.why
    assert bad.version.about["verdict"] == bad.why  # which the page shows
    assert f"not activated: {bad.why}" in caplog.text


def test_a_model_without_numbers_never_answers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = Versions(store)
    scores = IALSModel.scores
    monkeypatch.setattr(IALSModel, "scores", lambda self, past: scores(self, past) * np.float32(np.nan))
    bad = train(store, versions, RECIPE)
    assert (bad.activated, bad.why) == (False, "it has scores that are not finite")


@pytest.mark.parametrize(
    ("name", "value", "why"), [("OVERLAP", 10, "its lists share"), ("SPREAD", 0.01, "its scores spread")]
)
def test_from_the_third_on_versions_of_a_recipe_are_alike(
    store: Store, monkeypatch: pytest.MonkeyPatch, name: str, value: float, why: str
) -> None:
    versions = Versions(store)
    for _ in range(2):
        assert train(store, versions, RECIPE).activated
    assert train(store, versions, RECIPE).version.about["overlap"] == 1
    monkeypatch.setattr(checking, name, value)
    for _ in range(2):
        other = train(store, versions, RECIPE)
        assert (other.activated, versions.active()) == (False, 3)
        assert why in other.why
    change = train(store, versions, IALS(dim=9, epochs=5))
    assert "its " not in change.why  # of another recipe the measurement alone decides


def test_old_versions_go(store: Store) -> None:
    versions = Versions(store)
    for _ in range(4):
        train(store, versions, RECIPE, keep=2)
    assert [version.number for version in versions.list()] == [3, 4]
    assert sorted(path.name for path in versions.folder.iterdir()) == ["000003", "000004"]


def test_a_store_without_events_cannot_be_trained_on(tmp_path: Path) -> None:
    with Store.open(tmp_path / "empty.db") as empty:
        with pytest.raises(DataError, match="nothing to learn from"):
            train(empty, Versions(empty), RECIPE)
        assert Versions(empty).active() is None


@given(data=st.data())
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_workers_that_keep_histories_agree_with_one_that_reads_them(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Appended, changed and withdrawn events, forgotten users and new items count in every process's next answer."""
    path = tmp_path_factory.mktemp("workers") / "shop.db"
    users, draw = [f"u{n}" for n in range(4)], data.draw
    with pytest.MonkeyPatch.context() as patch, filled(path) as store, Store.open(path) as other:
        patch.setattr(popularity, "REST", 0)  # popularity is counted at once
        train(store, Versions(store), RECIPE)
        workers = [Live(each, Versions(each)) for each in (store, other)]
        for step in range(draw(st.integers(1, 12))):
            what = draw(st.sampled_from(["append", "append", "last", "forget", "delete", "item"]))
            user, item = draw(st.sampled_from(users)), f"i{draw(st.integers(0, ITEMS - 1))}"
            if what in ("append", "last"):
                kind, time = draw(st.sampled_from(["like", "dislike", "view"])), DAY * draw(st.integers(0, 30))
                events = [Event(user, item, kind, time, draw(st.sampled_from([None, 0.5])))]
                draw(st.sampled_from([store, other])).append(events, keep="all" if what == "append" else "last")
            elif what == "forget":
                store.forget(user)
            elif what == "delete":
                store.feedback.withdraw(user, item)
            else:
                other.items.put([Item(f"new {step}", {"kind": "red"})])
            request = ListRequest(user_id=draw(st.sampled_from(users)), k=8)
            fresh = Live(store, Versions(store)).recommend(request)
            for worker in workers:
                answer = worker.recommend(request)
                assert ids(answer) == ids(fresh)
                assert [item.because for item in answer.items] == [item.because for item in fresh.items]


def test_a_history_is_read_again_only_when_the_user_has_a_new_event(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    newest = live.store.histories.newest

    def noted(user_id: str, most: int, until: int | None = None) -> Past:
        read.append(user_id)
        return newest(user_id, most, until)

    monkeypatch.setattr(live.store.histories, "newest", noted)
    for _ in range(3):
        live.recommend(ListRequest(user_id="u1"))
        live.recommend(ListRequest(user_id="u2"))
    assert read == ["u1", "u2"]
    live.store.append([Event("u1", "i4", "like", DAY)])
    for user in ("u2", "u1", "u1"):
        live.recommend(ListRequest(user_id=user))
    assert read == ["u1", "u2", "u1"]
    live.store.forget("u2")
    assert live.recommend(ListRequest(user_id="u2")).sources.keys() <= {"popular", "newest"}


def test_nothing_holds_the_model_before(store: Store) -> None:
    versions = Versions(store)
    train(store, versions, RECIPE)
    live = Live(store, versions)
    for user in range(USERS):
        live.recommend(ListRequest(user_id=f"u{user}"))
    before = weakref.ref(live.snapshot().active.model)
    versions.activate(train(store, versions, RECIPE).version.number)
    soon(lambda: live.snapshot().version == 2)
    live.recommend(ListRequest(user_id="u1"))
    soon(lambda: gc.collect() >= 0 and before() is None)


def test_no_cycle_of_references_keeps_what_was_before(live: Live) -> None:
    """A changed item leaves nothing of the old catalogue, without the collector of cycles."""
    gc.collect()
    gc.disable()
    try:
        for n in range(3):
            live.recommend(
                ListRequest(user_id="u1", filter="price > 3", cap=(Cap("kind", 2),), boost=(Boost("price > 5", 2),))
            )
            old = live.snapshot()
            before = [weakref.ref(each) for each in (old, old.catalogue, old.masks, old.context)]
            del old
            live.store.items.put([Item("i3", {"price": n + 0.5}), Item(f"new {n}", {"price": 9})])
            live.recommend(ListRequest(user_id="u2"))
            assert [each() is None for each in before] == [True] * 4
    finally:
        gc.enable()


def test_prepared_histories_are_bounded(store: Store) -> None:
    live = Live(store)
    prepared = PreparedHistories(most=120)
    base = live.snapshot().context
    for user in ("a", "b", "c"):
        pulse = store.pulses.read(user, prepared.since(user))
        assert prepared.find(user, pulse, base) is None
        prepared.keep(user, pulse, base)
    kept = [prepared.find(user, store.pulses.read(user), base) is not None for user in ("a", "b", "c")]
    assert kept == [False, True, True]
