"""Contexts of events and requests, and position bias: from a log or the event API to the features of `Ranked`."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import log_of
from databases import url
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from test_store import FROM_VERSION_3, as_version_1, layout, view

from palate import EASE, Catalogue, Ranked, load, read_log
from palate.data.contexts import as_context, parsed, position_of, written
from palate.data.examination import LEAST, examination, examined, looks
from palate.data.interactions import Interactions
from palate.errors import DataError, SettingError
from palate.live.access import known_of
from palate.live.importing import import_model
from palate.models.popularity import Popularity
from palate.models.registry import load_with_log
from palate.ranking.context import history_of, offline
from palate.ranking.forest import Forest
from palate.ranking.item_index import ItemIndex
from palate.ranking.pipeline import recommend
from palate.ranking.ranked import RankedModel, answered
from palate.ranking.request import ListRequest, Shown, list_id, read_list_id
from palate.serve.app import create_app
from palate.serve.settings import Settings
from palate.store import events as stored_events
from palate.store.backup import backup, check, restore
from palate.store.events import Event, Store
from palate.store.exports import export_events
from palate.store.schema import contexts, sa
from palate.store.transfer import import_events
from palate.store.versions import Versions

__all__ = ["url"]
PHONE, TV = {"device": "phone"}, {"device": "tv"}

# Texts


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
        | st.integers()
        | st.booleans()
        | st.none(),
        max_size=4,
    )
)
def test_a_context_is_what_was_written(given: dict[str, Any]) -> None:
    context = as_context(given)
    assert parsed(written(context)) == as_context(context) == context
    assert written(context) == written(dict(reversed(context.items())))
    assert set(context) == {key for key, value in given.items() if value not in (None, "")}


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        "phone",
        {"device": ["phone"]},
        {"device": 1.5},
        {"device": "x" * 101},
        {"x" * 101: "phone"},
        {str(n): "x" for n in range(11)},
        {"device": "a\0b"},
        {1: "phone"},
        {"": "phone"},
    ],
)
def test_what_is_no_context(wrong: Any) -> None:
    with pytest.raises(DataError, match="contexts are objects of 10 keys at most"):
        as_context(wrong, "event 3")


@pytest.mark.parametrize(("text", "place"), [("3", 3), ("", 0), ("x", 0), ("-1", 0), ("²", 0), ("99999", 0)])
def test_the_place_that_a_context_names(text: str, place: int) -> None:
    assert position_of({"position": text}) == place


# A log


FRAME = pl.DataFrame(
    {
        "user_id": ["ann", "bob", "ann"],
        "item_id": [1, 2, 3],
        "device": ["phone", None, "tv"],
        "position": [1, 2, None],
        "app": [True, False, None],
    }
)


def test_columns_become_contexts() -> None:
    log = read_log(FRAME, context=["device", "position", "app"])
    assert [parsed(text) for text in log.to_frame()["context"]] == [
        {"device": "phone", "position": "1", "app": "true"},
        {"device": "tv"},
        {"position": "2", "app": "false"},
    ]
    assert log.positions.tolist() == [1, 0, 2]
    assert read_log(FRAME).context is None
    assert read_log(FRAME).positions.tolist() == [0, 0, 0]


def test_objects_of_json_become_contexts(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    rows = [{"user_id": "a", "item_id": "b", "said": PHONE}, {"user_id": "a", "item_id": "c"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    log = read_log(path, context="said")
    assert [parsed(text) for text in log.to_frame()["context"]] == [PHONE, {}]
    texts = FRAME.with_columns(said=pl.Series(['{"device":"phone"}', "", None]))
    both = read_log(texts, context=["said", "app"])
    assert [parsed(text) for text in both.to_frame()["context"]] == [PHONE | {"app": "true"}, {}, {"app": "false"}]


def test_bad_contexts_name_their_rows() -> None:
    bad = FRAME.with_columns(said=pl.Series(["{}", '{"a":[1]}', None]))
    with pytest.raises(DataError, match=r"row 2 of the frame: said is .*contexts are objects of 10 keys"):
        read_log(bad, context="said")
    with pytest.warns(Warning, match="1 of 3 rows"):
        assert len(read_log(bad, context="said", on_error="skip")) == 2
    with pytest.raises(DataError, match="no column 'place'"):
        read_log(FRAME, context=["place"])
    with pytest.raises(SettingError, match="context"):
        read_log(FRAME, context=[str(n) for n in range(11)])


def test_contexts_stay_with_their_events(monkeypatch: pytest.MonkeyPatch) -> None:
    log = read_log(FRAME, context=["device"])
    assert log.select(log.item == log.items.code(3)).to_frame()["context"].to_list() == ['{"device":"tv"}']
    assert log.without(["bob"]).to_frame()["context"].to_list() == ['{"device":"phone"}', '{"device":"tv"}']
    for merged in (log.merge(read_log(FRAME)), read_log(FRAME).merge(log)):
        assert sorted(merged.to_frame()["context"]) == ['{"device":"phone"}', '{"device":"tv"}', *4 * ["{}"]]
    monkeypatch.setattr("palate.data.readers.MOST_CONTEXTS", 1)
    with pytest.raises(DataError, match=r"2 contexts, like .*; there can be 1"):
        read_log(FRAME.filter(pl.col("device").is_not_null()), context=["device"])


# Ranked


def by_device() -> Interactions:
    """Users at random on a phone, where they take items p*, or before a tv, where they take t*; some do not say."""
    draw = np.random.default_rng(0)
    on_tv = draw.integers(0, 2, (400, 8))
    events = [
        (f"u{u}", f"{'pt'[x]}{draw.integers(0, 10)}", 1.0, n) for u in range(400) for n, x in enumerate(on_tv[u])
    ]
    texts = (written(PHONE), written(TV), "{}")
    context = np.where(draw.random(3200) < 0.05, 2, on_tv.reshape(-1)).astype(np.int32)
    return replace(log_of(events), context=context, contexts=texts)


LOG = by_device()
RECIPE = Ranked(recipes=(EASE(l2=100), Popularity()), pool=20, gap=0)


@cache
def fitted() -> RankedModel:
    """Return the model of the log."""
    model = RECIPE.fit(LOG)
    assert isinstance(model, RankedModel)
    return model


def kinds(model: RankedModel, context: dict[str, Any] | None) -> set[str]:
    return {str(each)[0] for each in model.recommend([["p1", "t1"]], 5, context=context).lists()[0]}


def test_a_model_keeps_the_contexts_of_the_events_that_it_keeps(tmp_path: Path) -> None:
    """Of items that the model does not know no events are kept, and none of their contexts."""
    log = by_device()
    known = log.items.names(log.item).is_in([*log.items.ids.head(3)]).to_numpy()
    Popularity().fit(log.select(known)).save(tmp_path / "model", log=log)
    kept = load_with_log(tmp_path / "model")[1]
    assert kept is not None
    assert 0 < len(kept) == known.sum() < len(log)
    assert kept.context is not None
    assert log.context is not None
    assert [kept.contexts[code] for code in kept.context] == [log.contexts[code] for code in log.context[known]]


def test_lists_follow_the_context_they_are_asked_in(tmp_path: Path) -> None:
    model = fitted()
    assert {"context device", "times with this device"} <= set(model.features)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert isinstance(loaded, RankedModel)
    for each in (model, loaded):
        assert (kinds(each, PHONE), kinds(each, TV)) == ({"p"}, {"t"})
    base = offline(model, ItemIndex.of_model(model.items), np.ones(len(model.items), np.bool_))
    one = base.of(history_of(model.histories([["p1", "t1"]])))
    for context in (PHONE, TV):
        shown = recommend(ListRequest(k=5), one.within(context))
        assert [each.item_id for each in shown.items] == model.recommend([["p1", "t1"]], 5, context=context).lists()[
            0
        ]


def test_unknown_values_are_as_none() -> None:
    none = fitted().recommend([["p1", "t1"]], 20).lists()
    for context in ({}, {"device": "fridge"}, {"place": "home"}, {"position": 3}):
        assert fitted().recommend([["p1", "t1"]], 20, context=context).lists() == none


def test_context_features_in_training_are_those_in_serving() -> None:
    """Event by event, and none is the same for both devices."""
    (queries,) = replace(RECIPE, users=60, folds=1).queries(LOG)
    every = np.ones(len(fitted().items), np.bool_)
    place = [fitted().features.index(name) for name in ("context device", "times with this device")]
    told = set()
    for event, (candidates, *_) in zip(queries.wanted.event.tolist(), answered(fitted(), LOG, queries), strict=True):
        assert LOG.context is not None
        context = parsed(LOG.contexts[LOG.context[event]])
        past = LOG.items.names(LOG.item[LOG.start[LOG.user[event]] : event]).to_list()
        asked = replace(fitted().histories([past]), contexts=(context,))
        served = next(fitted().candidates(asked, every, keep_seen=False))
        np.testing.assert_allclose(served.columns, candidates.columns, rtol=1e-5, atol=1e-5)
        number, usual = served.columns[place]
        assert (number == number[0]).all()
        assert usual.any() == bool(context)
        told.add(float(number[0]))
    assert told == {-1.0, 0.0, 1.0}


def test_no_context_feature_sees_the_answer() -> None:
    """Other answers change no feature; nor does the context of what is asked for change what was counted."""
    (queries,) = replace(RECIPE, users=60, folds=1).queries(LOG)
    assert LOG.context is not None
    item, context = LOG.item.copy(), LOG.context.copy()
    item[queries.wanted.event] = (item[queries.wanted.event] + 7) % len(LOG.items)
    bare = None, (), fitted().order, Forest.empty(), None
    one, other = (
        RECIPE._fitted(log.select(queries.known), *bare) for log in (LOG, replace(LOG, item=item, context=context))
    )
    for here, there in zip(one.facts.contexts, other.facts.contexts, strict=True):
        assert here.key == there.key == "device"
        for name in ("share", "start", "value", "events", "whole"):
            np.testing.assert_array_equal(getattr(here, name), getattr(there, name))
    known = LOG.select(queries.known)
    assert one.facts.contexts[0].whole.sum() == np.count_nonzero(known.context != 2)


def test_kept_values_are_bounded() -> None:
    texts = tuple(written({"place": str(n), "same": "x"}) for n in range(100))
    many = replace(LOG, context=(np.arange(len(LOG)) % 100).astype(np.int32), contexts=texts)
    usual = RECIPE._fitted(many, None, (), fitted().order, Forest.empty(), None).facts.contexts
    assert [(each.key, len(each.values)) for each in usual] == [("place", 32)]  # one value says nothing


def test_the_offline_protocol_asks_in_the_context_of_what_comes() -> None:
    from palate import evaluate, split_last

    split = split_last(LOG)
    model = RECIPE.fit(split.train)
    told = evaluate(model, split, (5,)).scores["Recall@5"]
    silent = evaluate(model, split_last(replace(LOG, context=None, contexts=())), (5,)).scores["Recall@5"]
    assert float(told) > 1.3 * float(silent)


# A store


def test_a_store_keeps_contexts(url: str) -> None:
    with Store.open(url) as store:
        store.append([Event("ann", "a", "view", 10, context=PHONE), Event("ann", "b", "view", 20)])
        store.append([Event("bob", "a", "view", 30, context={"device": "phone", "position": 2, "x": None})])
        store.append([Event("ann", "c", "view", 40, event_id="e", context=TV)])
        assert store.append([Event("ann", "c", "view", 40, event_id="e", context=PHONE)]).repeated == 1
        log = store.log()
        shown = [parsed(text) for text in log.to_frame()["context"]]
        assert shown == [PHONE, {}, TV, PHONE | {"position": "2"}]
        assert log.positions.tolist() == [0, 0, 0, 2]
        assert [event.context for event in store.events("ann")] == ['{"device":"tv"}', None, '{"device":"phone"}']
        said = known_of(store, "ann")["events"]
        assert [event.get("context") for event in said] == [TV, None, PHONE]
        assert store.log(since=35).to_frame()["context"].to_list() == ['{"device":"tv"}']
        assert check(store).faults == ()
        store.append([Event("ann", "a", "view", 50, context=TV)], keep="last")
        assert [event.context for event in store.feedback.get(user_id="ann", item_id="a")] == ['{"device":"tv"}']
    with Store.open(url) as store:
        assert store.log(last=2).to_frame()["context"].to_list() == ["{}", '{"device":"tv"}']


def test_a_store_without_contexts_has_a_log_without(url: str) -> None:
    with Store.open(url) as store:
        store.append([view("ann", "a", 10)])
        assert store.log().context is None


def test_contexts_of_a_store_are_bounded(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_events, "MOST_CONTEXTS", 2)
    with Store.open(url) as store:
        store.append([Event("ann", "a", "view", context={"n": n}) for n in (1, 2, 1)])
        with pytest.raises(DataError, match=r"event 1: context is .*; there are 2 other contexts already"):
            store.append([view("ann", "a"), Event("ann", "a", "view", context={"n": 3})])
        with pytest.raises(DataError, match="2 other contexts already"):
            import_events(store, FRAME, context=["device"])
        store.append([Event("ann", "b", "view", context={"n": 2})])
        assert store.counts().events == 4
        with pytest.raises(DataError, match=r"event 0: context: .*contexts are objects of 10 keys"):
            store.append([Event("ann", "a", "view", context={"n": [1]})])


def test_a_forgotten_user_leaves_no_context(url: str) -> None:
    with Store.open(url) as store:
        store.append(
            [Event("ann", "a", "view", context={"place": "home of ann"}), Event("ann", "b", "view", context=TV)]
        )
        store.append([Event("bob", "a", "view", context=TV), Event("bob", "b", "view", context={"place": "bar"})])
        store.forget("ann")
        store.feedback.withdraw("bob", "b")
        with store.database.reading() as connection:
            assert list(connection.scalars(sa.select(contexts.c.context))) == ['{"device":"tv"}']


def as_version_2(url: str) -> None:
    """Make a store what version 2 of the schema was."""
    with Store.open(url) as store, store.database.writing() as connection:
        for statement in (
            *FROM_VERSION_3,
            "UPDATE state SET value = '2' WHERE name = 'schema'",
        ):
            connection.execute(sa.text(statement))


@pytest.mark.parametrize("age", [as_version_2, as_version_1])
def test_an_old_store_is_upgraded_in_place(url: str, age: Any) -> None:
    with Store.open(url) as store:
        store.append([view("ann", "a", 10, weight=2.0), view("bob", "b", 20)])
        new, events = layout(store), store.events("ann")
    age(url)
    with Store.open(url) as store:
        assert layout(store) == new
        assert store.state("schema") == "3"
        assert store.events("ann") == events
        store.append([Event("ann", "b", "view", 30, context=PHONE)])
        store.impressions.add({(1, 1): 2})
        assert store.log().to_frame()["context"].to_list() == ["{}", '{"device":"phone"}', "{}"]
        assert check(store).faults == ()


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_contexts_survive_an_export(url: str, tmp_path: Path, ending: str) -> None:
    odd = {"device": 'say "x", é', "b": "{", "position": 3}
    with Store.open(url) as store, Store.open(tmp_path / "other.db") as other:
        store.append([Event("ann", "a", "view", 10, context=odd), Event("ann", "b", "view", 20)])
        export_events(store, tmp_path / f"log{ending}")
        import_events(other, tmp_path / f"log{ending}")
        assert other.events("ann") == store.events("ann")
        assert import_events(other, tmp_path / f"log{ending}") == 0
        log = read_log(tmp_path / f"log{ending}", context="context")
        assert [parsed(text) for text in log.to_frame()["context"]] == [as_context(odd), {}]


def test_contexts_survive_a_backup(url: str, tmp_path: Path) -> None:
    with Store.open(url) as store:
        store.append([Event("ann", "a", "view", 10, context=PHONE), Event("ann", "b", "view", 20)])
        store.impressions.add({(1, 1): 3})
        backup(store, tmp_path / "copy")
        with restore(tmp_path / "copy", tmp_path / "other.db") as other:
            assert other.events("ann") == store.events("ann")
            assert other.impressions.counts().tolist() == [[1], [1], [3]]
            other.append([Event("ann", "c", "view", 30, context=TV)])
            assert len(set(other.log().contexts)) == 3


# Position bias


def test_looks_are_told_from_likes() -> None:
    """Items at several places: the two factors are found, exactly where counts are expected ones."""
    look, like = np.array([1, 0.5, 0.25]), np.array([0.6, 0.1, 0.3, 0.2])
    item, place = (each.reshape(-1) for each in np.meshgrid(np.arange(4), np.arange(3), indexing="ij"))
    shown = np.array([9e6, 4e6, 1e6, 1e6, 9e6, 4e6, 4e6, 1e6, 9e6, 5e6, 5e6, 5e6])
    found = examination(item, place, shown, shown * look[place] * like[item])
    np.testing.assert_allclose(found, look, rtol=1e-3)


def test_without_items_at_several_places_nothing_is_known() -> None:
    item = place = np.arange(3)
    assert examination(item, place, np.full(3, 1000.0), np.array([300.0, 50.0, 10.0])).tolist() == [1, 1, 1]


def shown_lists(users: int = 12_000, items: int = 9, seed: int = 2) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lists that put the least liked items first, mostly; a user looks at place k with the probability 1 / k."""
    draw = np.random.default_rng(seed)
    like, look = np.repeat([0.2, 0.4, 0.8], items // 3), 1 / np.arange(1, items + 1)
    order = np.argsort(np.arange(items) + draw.normal(0, 2, (users, items)), axis=1)
    taken = draw.random((users, items)) < look * like[order]
    user = np.flatnonzero(taken.any(axis=1))
    place = np.argmax(taken[user] * draw.random((len(user), items)), axis=1)
    past = [[(f"u{u}", f"h{u % 5}", 0, None), (f"u{u}", f"h{u // 5 % 5}", 1, None)] for u in user.tolist()]
    chosen = [(f"u{u}", f"i{order[u, k]}", 2, k + 1) for u, k in zip(user.tolist(), place.tolist(), strict=True)]
    events = [event for two in past for event in two] + chosen
    names = ["user_id", "item_id", "timestamp", "position"]
    log = pl.DataFrame(events, schema=names, orient="row", infer_schema_length=None)
    seen = pl.DataFrame({"item": order.reshape(-1), "position": np.tile(np.arange(1, items + 1), users)})
    return log, seen.select(pl.format("i{}", "item").alias("item_id"), "position")


def test_a_choice_that_few_saw_counts_more() -> None:
    """The order of a simulated log, of which the bias is known, is recovered better than without its impressions."""
    frame, seen = shown_lists()
    log = read_log(frame, context="position")
    known = examined(log, seen)
    assert known.examination is not None
    np.testing.assert_allclose(known.examination, 1 / np.arange(1, 10), rtol=0.25)
    group = [9.0 if name[0] == "h" else float(int(name[1:]) // 3) for name in log.items.ids]
    catalogue = Catalogue(log.items, pl.DataFrame({"item_id": log.items.ids, "price": group}))
    recipe = Ranked(recipes=(EASE(l2=100), Popularity()), pool=20, gap=0, users=1200)
    histories = [[f"h{a}", f"h{b}"] for a in range(5) for b in range(5) if a != b]

    def likes(told: Interactions) -> float:
        lists = recipe.fit(told, catalogue).recommend(histories, 14).lists()
        best = [[int(str(each)[1:]) // 3 for each in row if str(each)[0] == "i"][:3] for row in lists]
        return float(np.mean(np.array([0.2, 0.4, 0.8])[best]))

    plain, unbiased = likes(log), likes(known)
    assert plain < 0.5
    assert unbiased > 0.55


def test_deep_choices_are_bounded() -> None:
    log = read_log(FRAME.with_columns(position=pl.Series([1, 99, None])), context="position")
    known = replace(log, examination=np.array([1.0, 0.001]))
    assert looks(known, np.arange(3)).tolist() == [1, 1, LEAST]
    assert looks(log, np.arange(3)).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"item_id": [1]}, "no column 'position'"),
        ({"item_id": [1], "position": [0]}, "position must be whole numbers from 1 to 1,000"),
        ({"item_id": [1], "position": [None]}, "position must be"),
        ({"item_id": [1], "position": [1], "shown": [-1]}, "shown must be"),
    ],
)
def test_impressions_that_are_none(wrong: dict[str, Any], rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        examined(read_log(FRAME, context="position"), pl.DataFrame(wrong))


def test_a_store_counts_impressions(url: str) -> None:
    with Store.open(url) as store:
        store.append([Event(f"u{n}", "ab"[n % 2], "click", n, context={"position": 1 + n % 2}) for n in range(40)])
        assert store.log().examination is None
        store.impressions.add({(1, 1): 100, (2, 2): 100})
        store.impressions.add({(1, 1): 100, (1, 2): 200, (2, 1): 200})
        assert sorted(store.impressions.counts().T.tolist()) == [[1, 1, 200], [1, 2, 200], [2, 1, 200], [2, 2, 100]]
        assert store.log().examination is not None
        with pytest.raises(DataError, match="position is 1001; it must be 1 to 1,000"):
            store.impressions.add({(1, 1001): 1})


def test_the_id_of_a_list_says_what_was_shown() -> None:
    model = fitted()
    base = offline(model, ItemIndex.of_model(model.items), np.ones(len(model.items), np.bool_))
    made = recommend(ListRequest(k=5), base.of(history_of(model.histories([["p1", "t1"]]))))
    shown = read_list_id(list_id(made))
    assert [model.items.ids[n] for n in shown.numbers] == [each.item_id for each in made.items]
    assert [shown.place_of(n) for n in (*shown.numbers, 999)] == [1, 2, 3, 4, 5, 0]
    assert Shown(1000, [7, 8]).place_of(8) == 0
    for wrong in ("!", "AAA", "AAAA", "x" * 599, ""):
        with pytest.raises(SettingError, match="is not one that an answer gave"):
            read_list_id(wrong)


# The service


def test_the_service_takes_contexts_and_impressions(tmp_path: Path) -> None:
    place = Settings(store=str(tmp_path / "s.db"), models=str(tmp_path / "models"))
    fitted().save(tmp_path / "model")
    with Store.open(place.store) as store:
        import_model(store, Versions(store, tmp_path / "models"), tmp_path / "model")
    with TestClient(create_app(place)) as client:

        def listed(path: str, body: Any, status: int = 200) -> Any:
            answer = client.post(path, json=body)
            assert answer.status_code == status, answer.text
            return answer.json()

        asked = {"user_id": "new", "history": ["p1", "t1"], "k": 5}
        for context, kind in ((PHONE, "p"), (TV, "t")):
            shown = listed("/v1/recommend/session", {**asked, "context": context})
            assert {each["item_id"][0] for each in shown["items"]} == {kind}
            ranked = listed("/v1/rank", {"history": ["p1", "t1"], "items": ["p2", "t2"], "context": context})
            assert ranked["items"][0]["item_id"] == f"{kind}2"
        listed("/v1/events", {"user_id": "eva", "item_id": "p1", "event_type": "view", "context": PHONE})
        for device, kind in (("phone", "p"), ("tv", "t")):
            query: dict[str, str | int | list[str]] = {
                "user_id": "eva",
                "k": 5,
                "context": [f"device:{device}", "place:a,b"],
            }
            items = client.get("/v1/recommend", params=query).json()["items"]
            assert {each["item_id"][0] for each in items} == {kind}
        assert client.get("/v1/recommend?context=phone").status_code == 422
        page = listed("/v1/page", {"user_id": "eva", "rows": [{"k": 3}], "context": PHONE})
        assert {each["item_id"][0] for each in page["rows"][0]["items"]} == {"p"}

        more = listed("/v1/recommend", {"user_id": "eva", "k": 3, "cursor": None})
        second = listed("/v1/recommend", {"user_id": "eva", "k": 3, "cursor": more["cursor"]})
        chosen = {"user_id": "eva", "item_id": second["items"][1]["item_id"], "event_type": "click"}
        listed("/v1/events", {**chosen, "list_id": second["id"], "context": {"device": "tv"}})
        listed("/v1/events", {**chosen, "list_id": more["id"]})  # which did not show it
        assert listed("/v1/impressions", {"list_id": more["id"], "seen": 2}) == {"counted": 2}
        assert listed("/v1/impressions", [{"list_id": more["id"]}, {"list_id": second["id"]}]) == {"counted": 6}
        events = client.get("/v1/users/eva").json()["events"]
        assert [each.get("context") for each in events] == [None, {"device": "tv", "position": "5"}, PHONE]

        wrong = {"user_id": "eva", "item_id": "p1", "event_type": "view"}
        for body in (
            {**wrong, "context": {"a": [1]}},
            {**wrong, "context": {"a": "x" * 101}},
            {**wrong, "context": {str(n): "x" for n in range(11)}},
            {**wrong, "list_id": "!"},
        ):
            listed("/v1/events", body, 422)
        listed("/v1/recommend", {"context": {"a": 1.5}}, 422)
        listed("/v1/impressions", {"list_id": "AAAA"}, 422)
    with Store.open(place.store) as store:
        assert sorted(store.impressions.counts()[1:].T.tolist()) == [[1, 2], [2, 2], [3, 1], [4, 1], [5, 1], [6, 1]]
