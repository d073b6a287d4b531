from __future__ import annotations

import hashlib
import inspect
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
import typer
from conftest import block_events
from processes import PALATE, started

from palate.cli import app, example, export, main
from palate.cli.export import export_all
from palate.cli.settings import CATALOGUE_NAMES, READ_NAMES, build_recipes, catalogue_settings, parse, read_settings
from palate.data.catalogue import read_catalogue
from palate.data.interactions import Interactions
from palate.data.readers import read_log
from palate.data.vocabulary import Vocabulary
from palate.errors import DataError, SettingError
from palate.live.training import train
from palate.models.blend import Blend
from palate.models.ease import EASE
from palate.models.embedding import Embedding, EmbeddingModel
from palate.models.ials import IALS
from palate.models.item_knn import ItemKNN
from palate.models.popularity import Popularity, PopularityModel
from palate.models.registry import load, load_with_log
from palate.models.slist import SLIST
from palate.serve.settings import Settings as Serving
from palate.store.events import Store
from palate.store.transfer import import_events
from palate.store.versions import Versions

ROOT = Path(__file__).parents[1]
COMMANDS = list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
TERMINAL = {"FORCE_COLOR": "1", "COLUMNS": "200"}  # in which the bar moves
FAST = ("--set", "dim=8", "--set", "epochs=3")


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def palate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line as a terminal would, and return what it leaves."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["palate", *map(str, arguments)])
        code = 0
        capsys.readouterr()
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log, a catalogue whose titles look like markup, and a model of the log."""
    folder = tmp_path_factory.mktemp("cli")
    rows = [f"{user},{item},{weight},{86_400 * day}" for user, item, weight, day in block_events()]
    (folder / "log.csv").write_text("user_id,item_id,weight,timestamp\n" + "\n".join(rows) + "\n")
    titles = [f"i{n},[b]Title {n}[/b] :smile:" for n in range(20)]
    (folder / "items.csv").write_text("item_id,title\n" + "\n".join(titles) + "\n")
    log = load_log(folder)
    Embedding(dim=8, epochs=3).fit(log).save(folder / "model", log=log)
    return folder


def load_log(folder: Path) -> Interactions:
    return read_log(folder / "log.csv")


# Every command, for people and for programs


def test_inspect(palate: Run, files: Path) -> None:
    done = palate("inspect", files / "log.csv", "--catalogue", files / "items.csv")
    assert (done.code, done.err) == (0, "")
    assert "events" in done.out
    assert "156" in done.out
    assert "[b]Title" in done.out  # titles are shown as they are
    facts = palate("inspect", files / "log.csv", "--json").json
    assert (facts["events"], facts["users"], facts["items"]) == (18 * 6 + 12 * 4, 30, 20)
    assert facts["first_day"] == "1970-01-01"


def test_fit(palate: Run, files: Path, tmp_path: Path) -> None:
    done = palate("fit", "embedding", files / "log.csv", "--out", tmp_path / "m", *FAST)
    assert done.code == 0, done.err
    assert "embedding of 20 items" in done.out
    model, log = load_with_log(tmp_path / "m")
    assert (model.recipe.settings()["dim"], model.recipe.settings()["epochs"]) == (8, 3)
    assert log is not None
    assert log.to_frame().equals(load_log(files).to_frame())
    again = palate("fit", "popularity", files / "log.csv", "--out", tmp_path / "m", "--no-log", "--json")
    assert again.json["settings"] == {"half_life_days": None}
    assert load_with_log(tmp_path / "m")[1] is None


@pytest.mark.parametrize("recipe", ["embedding", "popularity"])
def test_fit_with_early_stop(palate: Run, files: Path, tmp_path: Path, recipe: str) -> None:
    settings = FAST if recipe == "embedding" else ()
    done = palate("fit", recipe, files / "log.csv", "--out", tmp_path / "m", "--early-stop", *settings)
    assert done.code == 0, done.err
    model, log = load(tmp_path / "m"), load_log(files)
    assert model.recipe.named() == recipe
    assert isinstance(model, EmbeddingModel | PopularityModel)
    counts = model.popularity if isinstance(model, EmbeddingModel) else model.item_scores
    np.testing.assert_array_equal(counts, log.item_weights()[log.items.recode(model.items)])  # of all events


@pytest.mark.parametrize("split", ["time", "last", "ratio", "users"])
def test_evaluate(palate: Run, files: Path, split: str) -> None:
    settings = ("--set", "embedding.dim=8", "--set", "embedding.epochs=3")
    done = palate(
        "evaluate", "popularity", "embedding", files / "log.csv", "--split", split, "-k", 5, "--json", *settings
    )
    assert done.code == 0, done.err
    assert list(done.json["models"]) == ["popularity", "embedding"]
    assert set(done.json["models"]["embedding"]["metrics"]) >= {"NDCG@5", "Recall@5"}


def test_evaluate_shows_its_protocol_and_draws(palate: Run, files: Path, tmp_path: Path) -> None:
    done = palate("evaluate", "popularity", files / "log.csv", "--split", "last", "--plot", tmp_path / "p.svg")
    assert done.code == 0, done.err
    assert "NDCG@10" in done.out
    assert "split: last per user" in done.out.replace("\n", " ")
    assert (tmp_path / "p.svg").read_text().lstrip().startswith("<?xml")


def test_recommend_to_a_known_person(palate: Run, files: Path) -> None:
    done = palate("recommend", files / "model", "--user", "u3", "-k", 4, "--json")
    assert (done.code, done.err) == (0, "")
    log = load_log(files)
    expected = load(files / "model").recommend(log.histories(["u3"]), 4).lists()[0]
    assert [row["item_id"] for row in done.json["items"]] == expected
    assert done.json["known_events"] == 6
    shown = palate("recommend", files / "model", "--user", "u3", "-k", 4, "--catalogue", files / "items.csv")
    assert "user u3: 6 known events" in shown.out
    assert f"[b]Title {str(expected[0])[1:]}[/b] :smile:" in shown.out
    assert "because of" in shown.out


def test_what_was_bought_is_hidden_and_what_was_viewed_is_not(palate: Run, tmp_path: Path) -> None:
    rows = [
        ("a", "x", "buy", 1),
        ("a", "y", "buy", 40),
        ("a", "z", "view", 40),
        ("b", "x", "view", 2),
        ("c", "y", "view", 3),
    ]
    lines = [f"{user},{item},{kind},2020-{1 + day // 31:02}-{1 + day % 31:02}" for user, item, kind, day in rows]
    log = tmp_path / "log.csv"
    log.write_text("\n".join(["user,item,event,time", *lines]))
    assert palate("fit", "popularity", log, "--out", tmp_path / "m").code == 0

    def shown(*options: str) -> list[str]:
        done = palate("recommend", tmp_path / "m", "--user", "a", "--json", *options)
        assert done.code == 0, done.err
        return sorted(row["item_id"] for row in done.json["items"])

    assert shown() == []
    assert shown("--hide", "buy") == ["z"]
    assert shown("--hide", "buy=30") == ["x", "z"]
    assert shown("--hide", "buy=30", "--hide", "view=1") == ["x"]
    assert (
        "--hide view: write it as"
        in palate("recommend", tmp_path / "m", "--user", "a", "--hide", "buy=30", "--hide", "view").err
    )
    out = tmp_path / "all.csv"
    assert palate("recommend", tmp_path / "m", "--all-users", "--hide", "buy", "--out", out).code == 0
    assert pl.read_csv(out).filter(pl.col("user_id") == "a")["item_id"].to_list() == ["z"]


def test_evaluate_says_what_is_hidden(palate: Run, tmp_path: Path) -> None:
    events = [f"u{n % 9},i{n * 7 % 11},{'buy' if n % 3 else 'view'},{1_500_000_000 + n}" for n in range(200)]
    log = tmp_path / "log.csv"
    log.write_text("\n".join(["user,item,event,time", *events]))
    done = palate("evaluate", "popularity", log, "-k", 3, "--hide", "buy=30")
    assert done.code == 0, done.err
    assert "buy (for 30 days)" in done.out


def test_recommend_to_everybody(palate: Run, files: Path, tmp_path: Path) -> None:
    done = palate("recommend", files / "model", "--all-users", "--out", tmp_path / "all.parquet", "-k", 4, "--json")
    assert done.code == 0, done.err
    log = load_log(files)
    expected = load(files / "model").recommend(log.histories(), 4).to_frame()
    assert pl.read_parquet(tmp_path / "all.parquet").equals(expected)
    assert (done.json["users"], done.json["lines"]) == (len(log.users), len(expected))
    assert [path.name for path in tmp_path.iterdir()] == ["all.parquet"]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "ndjson", "parquet"])
def test_lists_are_written_in_the_format_that_the_name_says(
    palate: Run, files: Path, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / f"recs.{kind}"
    chosen = ("--only", "i3", "--only", "i14", "--only", "i5", "--exclude", "i5", "--exclude", "unheard")
    done = palate("recommend", files / "model", "--all-users", "--out", out, "-k", 4, *chosen, "--keep-seen")
    assert done.code == 0, done.err
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        "csv": pl.read_csv,
        "tsv": partial(pl.read_csv, separator="\t"),
        "parquet": pl.read_parquet,
    }
    model, log = load_with_log(files / "model")
    expected = model.recommend(log, 4, only=["i3", "i14"], keep_seen=True).to_frame()
    same_lists(readers.get(kind, pl.read_ndjson)(out).cast(expected.schema), expected)


def test_items_are_chosen_by_ids_and_by_conditions(palate: Run, files: Path) -> None:
    catalogue = ("--catalogue", files / "items.csv", "--json", "-k", 20, "--keep-seen")

    def items(*options: object) -> set[str]:
        done = palate("recommend", files / "model", "--user", "u3", *catalogue, *options)
        assert done.code == 0, done.err
        return {row["item_id"] for row in done.json["items"]}

    teens = {f"i{n}" for n in range(10, 20)}
    assert items() == {f"i{n}" for n in range(20)}
    assert items("--filter", "title LIKE '%Title 1_[/b]%'") == teens
    assert items("--filter", "title LIKE '%Title 1_[/b]%'", "--only", "i3", "--only", "i12") == {"i12"}
    assert items("--filter", "title LIKE '%Title 1_[/b]%'", "--exclude", "i12") == teens - {"i12"}
    assert items("--filter", "title = 'none'") == set()
    done = palate("recommend", files / "model", "--user", "u3", "--filter", "price < 3")
    assert (done.code, "attributes of a catalogue" in done.err) == (2, True)
    done = palate("recommend", files / "model", "--user", "u3", *catalogue, "--filter", "price < 3")
    assert (done.code, "column 'price' is unknown" in done.err) == (1, True)


def test_settings_of_one_recipe_are_compared(palate: Run, files: Path) -> None:
    names = ["itemknn", "itemknn:similarity=bm25", "itemknn:similarity=tf-idf,neighbours=5"]
    done = palate(
        "evaluate", *names, files / "log.csv", "--split", "last", "-k", 5, "--set", "neighbours=7", "--json"
    )
    assert done.code == 0, done.err
    assert [*done.json["models"]] == names
    found = [each["settings"] for each in done.json["models"].values()]
    assert [each["neighbours"] for each in found] == [7, 7, 5]
    assert [each["similarity"] for each in found[1:]] == ["bm25", "tf-idf"]
    (blend,) = build_recipes(["blend:recipes=SLIST(l2=60.0),EASE(l2=3.0, neighbours=5),users=50"], []).values()
    assert blend == Blend(recipes=(SLIST(l2=60.0), EASE(l2=3.0, neighbours=5)), users=50)
    for wrong, message in (("itemknn:bm25", "write it as name=value"), ("itemknn:size=3", "no setting 'size'")):
        done = palate("evaluate", wrong, files / "log.csv")
        assert done.code != 0
        assert message in " ".join(done.err.split())


def same_lists(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Equal but for the last digits of scores: how BLAS adds up depends on how many people are ranked at once."""
    assert found.drop("score").equals(expected.drop("score"))
    np.testing.assert_allclose(found["score"].to_numpy(), expected["score"].to_numpy(), rtol=1e-5)


def test_an_interrupted_export_goes_on(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that are done are not made again; those of another question are."""
    monkeypatch.setattr(export, "PART", 7)
    model, log = load_with_log(files / "model")
    assert log is not None
    out, parts = tmp_path / "all.parquet", tmp_path / ".all.parquet.parts"

    def stop(done: int, of_all: int) -> None:
        assert of_all == len(log.users)
        if done == 14:
            raise KeyboardInterrupt

    def times() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}

    with pytest.raises(KeyboardInterrupt):
        export_all(model, files / "model", log, out, 3, watch=stop)
    assert not out.exists()
    before = times()
    assert len(before) == 2
    seen: list[dict[str, int]] = []
    export_all(model, files / "model", log, out, 3, watch=lambda *_: seen.append(times()))
    assert {name: seen[-1][name] for name in before} == before
    same_lists(pl.read_parquet(out), model.recommend(log.histories(), 3).to_frame())
    with pytest.raises(KeyboardInterrupt):
        export_all(model, files / "model", log, out, 3, watch=stop)
    export_all(model, files / "model", log, out, 2)
    same_lists(pl.read_parquet(out), model.recommend(log.histories(), 2).to_frame())
    with pytest.raises(KeyboardInterrupt):
        export_all(model, files / "model", log, out, 3, watch=stop)
    others = pl.Series("id", [f"other {user}" for user in log.users.ids])
    renamed = replace(log, users=Vocabulary(others))
    export_all(model, files / "model", renamed, out, 3)
    assert set(pl.read_parquet(out)["user_id"]) == set(others)
    assert out.stat().st_mode & 0o777 == 0o600


def test_recommend_to_a_stranger_says_so(palate: Run, files: Path) -> None:
    done = palate("recommend", files / "model", "--user", "nobody", "-k", 3)
    assert done.code == 0
    assert "user nobody: nothing known; popular with everyone" in done.out


def test_recommend_from_a_list_of_items(palate: Run, files: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("i3\n\ni4\nunheard\n")
    done = palate("recommend", files / "model", "--history", tmp_path / "mine.txt", "-k", 5, "--json")
    expected = load(files / "model").recommend([["i3", "i4"]], 5).lists()[0]
    assert [row["item_id"] for row in done.json["items"]] == expected
    assert "1 of 3 items are unknown to the model" in done.err
    kept = palate("recommend", files / "model", "--history", tmp_path / "mine.txt", "-k", 20, "--keep-seen", "--json")
    assert len(kept.json["items"]) == 20


def test_recommend_from_a_newer_log(palate: Run, files: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("who,item_id\nzoe,i3\nzoe,i4\n")
    history = ("--history", tmp_path / "new.csv", "--read", "user=who")
    done = palate("recommend", files / "model", "--user", "zoe", *history, "-k", 5, "--json")
    assert done.json["known_events"] == 2
    assert [row["item_id"] for row in done.json["items"]] == load(files / "model").recommend(
        [["i3", "i4"]], 5
    ).lists()[0]


def test_recommend_without_kept_histories(palate: Run, files: Path, tmp_path: Path) -> None:
    Popularity().fit(load_log(files)).save(tmp_path / "m")
    done = palate("recommend", tmp_path / "m", "--user", "u1")
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: user 'u1': the model was saved without histories; give one with --history FILE\n"


def test_similar(palate: Run, files: Path) -> None:
    done = palate("similar", files / "model", "--item", "i3", "-k", 4, "--json")
    assert [row["item_id"] for row in done.json["items"]] == load(files / "model").similar_items(["i3"], 4).lists()[0]
    shown = palate("similar", files / "model", "--item", "i3", "--catalogue", files / "items.csv")
    assert "like [b]Title 3[/b] :smile:" in shown.out


# Ids of files and models meet by what they spell


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A model whose ids are integers, and files with an id that is none."""
    rows = [f"{user[1:]},{item[1:]},{weight}" for user, item, weight, _ in map(as_texts, block_events())]
    (tmp_path / "log.csv").write_text("user,item,weight\n" + "\n".join(rows) + "\n")
    (tmp_path / "new.csv").write_text("user,item\nann,0\nann,NEW-9\n007,13\n7,0\n7,1\n")
    (tmp_path / "items.csv").write_text(
        "item,title\n" + "".join(f"{n},Title {n}\n" for n in range(20)) + "007,Bond\n"
    )
    (tmp_path / "others.csv").write_text("user,item,title\nann,x,X\nann,y,Y\n")
    log = read_log(tmp_path / "log.csv")
    assert log.items.ids.dtype == pl.Int64
    ItemKNN().fit(log).save(tmp_path / "model", log=log)
    return tmp_path


def as_texts(event: tuple[Any, Any, float, int]) -> tuple[str, str, float, int]:
    return str(event[0]), str(event[1]), event[2], event[3]


def test_a_user_is_named_by_what_the_id_spells(palate: Run, shop: Path) -> None:
    model = load(shop / "model")
    new = ("--history", shop / "new.csv", "-k", 3, "--json")
    for user, history in {"7": [0, 1], "007": [13], "ann": [0]}.items():
        done = palate("recommend", shop / "model", "--user", user, *new)
        assert [row["item_id"] for row in done.json["items"]] == model.recommend([history], 3).lists()[0]
        assert done.err == f"{shop / 'new.csv'}: 1 of 4 items are unknown to the model: 'NEW-9'\n"
    kept = palate("recommend", shop / "model", "--user", "7", "-k", 3, "--json")
    assert kept.json["known_events"] == 6
    for stranger in ("007", "7.0", "+7", " 7"):
        assert palate("recommend", shop / "model", "--user", stranger, "--json").json["known_events"] == 0


def test_everybody_of_a_log_meets_the_model(palate: Run, shop: Path) -> None:
    out = shop / "out.parquet"
    done = palate("recommend", shop / "model", "--history", shop / "new.csv", "--all-users", "--out", out, "-k", 3)
    assert "1 of 4 items are unknown to the model: 'NEW-9'" in done.err
    lists = pl.read_parquet(out).group_by("user_id", maintain_order=True).agg("item_id")
    expected = load(shop / "model").recommend([[0], [13], [0, 1]], 3).lists()
    assert dict(lists.iter_rows()) == dict(zip(["ann", "007", "7"], expected, strict=True))


def test_a_catalogue_tells_titles_whatever_its_other_ids_are(palate: Run, shop: Path) -> None:
    told = f"{shop / 'items.csv'}: 1 of 21 items are unknown to the {{}}: '007'\n"
    catalogue = ("--catalogue", shop / "items.csv", "--json")
    done = palate("recommend", shop / "model", "--user", "7", *catalogue)
    assert all(row["title"] == f"Title {row['item_id']}" for row in done.json["items"])
    assert done.err == told.format("model")
    similar = palate("similar", shop / "model", "--item", "3", *catalogue)
    assert (similar.json["item_id"], similar.json["title"], similar.err) == (3, "Title 3", told.format("model"))
    assert palate("similar", shop / "model", "--item", "03").code == 1
    seen = palate("inspect", shop / "log.csv", *catalogue)
    assert all(row["title"] == f"Title {row['item_id']}" for row in seen.json["most_chosen"])
    assert seen.err == told.format("log")
    fit = palate("fit", "content", shop / "log.csv", "--out", shop / "m", "--set", "dim=4", *catalogue)
    assert told.format("log") in fit.err
    assert len(load(shop / "m").items) == 21
    assert (
        told.format("log") in palate("evaluate", "popularity", shop / "log.csv", "--split", "ratio", *catalogue).err
    )


@pytest.mark.filterwarnings("default")
def test_a_file_that_shares_no_id_is_warned_of(palate: Run, shop: Path) -> None:
    others = shop / "others.csv"
    (shop / "h.txt").write_text("x\ny\n")
    none = "none of 2 items is known to the model: 'x', 'y'; the model has "
    for arguments, place in {
        ("--user", "ann", "--history", others): "histories",
        ("--history", shop / "h.txt"): str(shop / "h.txt"),
        ("--user", "7", "--catalogue", others): str(others),
        ("--history", others, "--all-users", "--out", shop / "out.parquet"): "histories",
    }.items():
        done = palate("recommend", shop / "model", *arguments)
        assert done.code == 0
        assert f"warning: {place}: {none}" in done.err
    inspect = palate("inspect", shop / "log.csv", "--catalogue", others)
    assert f"warning: {others}: none of 2 items is known to the log: 'x', 'y'; the log has " in inspect.err
    fit = palate("fit", "content", shop / "log.csv", "--catalogue", others, "--out", shop / "m", "--set", "dim=4")
    assert "warning: catalogue: none of 2 items is known to the log: 'x', 'y'; the log has " in fit.err


def test_ids_are_kept_as_text_where_asked(palate: Run, shop: Path) -> None:
    done = palate("fit", "popularity", shop / "log.csv", "--out", shop / "m", "--read", "ids=text")
    assert done.code == 0
    assert load(shop / "m").items.ids.dtype == pl.String
    wrong = palate("inspect", shop / "log.csv", "--read", "ids=int")
    assert (wrong.code, wrong.err) == (1, 'error: ids=\'int\': must be "auto" or "text"\n')


# Errors


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["inspect", "nowhere.csv"], 1, "nowhere.csv"),
        (["inspect", "{log}", "--read", "user=who"], 1, "who"),
        (["inspect", "{log}", "--read", "colour=red"], 1, "--read has no 'colour'; known are user, item"),
        (["inspect", "{log}", "--read", "user"], 2, "write it as name=value"),
        (["fit", "oracle", "{log}", "--out", "m"], 2, "'oracle' is unknown; known are"),
        (["fit", "embedding", "{log}"], 2, "--out"),
        (["fit", "embedding", "{log}", "--out", "m", "--set", "dims=3"], 1, "no setting 'dims'; known are"),
        (
            ["fit", "pipeline", "{log}", "--out", "m"],
            1,
            "pipeline needs a setting 'recipe'; give it as --set recipe=VALUE",
        ),
        (["fit", "embedding", "{log}", "--out", "m", "--set", "dim=x"], 1, "dim='x': must be a whole number"),
        (["fit", "embedding", "{log}", "--out", "m", "--set", "dim=0"], 1, "dim=0"),
        (["fit", "popularity", "{log}", "--out", "{folder}"], 1, "only a bundle or an empty folder is replaced"),
        (["evaluate", "popularity", "{log}", "--split", "sideways"], 2, "sideways"),
        (["evaluate", "popularity", "embedding", "{log}", "--set", "dim=3"], 2, "say whose setting it is"),
        (["evaluate", "popularity", "{log}", "--plot", "p.doc"], 2, "a picture is a .png or .svg file"),
        (["recommend", "{folder}", "--user", "u1"], 1, "manifest.json: missing"),
        (["recommend", "{model}"], 2, "--user"),
        (["recommend", "{model}", "--all-users"], 2, "--out"),
        (
            ["recommend", "{model}", "--all-users", "--out", "recs.xls"],
            1,
            "unknown suffix '.xls'; known are .parquet",
        ),
        (["recommend", "{model}", "--all-users", "--out", "/nowhere/at/all.parquet"], 1, "cannot be written"),
        (["recommend", "{model}", "--user", "u1", "-k", "0"], 1, "k=0"),
        (["recommend", "{model}", "--history", "nowhere.txt"], 1, "nowhere.txt"),
        (["similar", "{model}", "--item", "zebra"], 1, "'zebra' is unknown"),
        (["demo", "--log", "nowhere.csv"], 1, "nowhere.csv"),
        (["dance"], 2, "dance"),
    ],
    ids=str,
)
def test_an_error_is_a_line_and_a_code(
    palate: Run, files: Path, arguments: list[str], code: int, message: str
) -> None:
    places = {"log": files / "log.csv", "model": files / "model", "folder": files}
    done = palate(*(argument.format(**places) for argument in arguments))
    assert done.code == code
    assert message in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert done.out == ""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Serving]:
    """What `palate serve` would serve, in place of a service."""
    found: list[Serving] = []
    monkeypatch.setattr("palate.serve.run.run", lambda settings, **_: found.append(settings))
    return found


def test_a_store_without_its_models_is_trained_at_the_start(
    palate: Run, files: Path, tmp_path: Path, served: list[Serving]
) -> None:
    store, copy = tmp_path / "shop.db", tmp_path / "restored.db"
    command = "--recipe", "popularity"
    first = palate("serve", "--store", store, "--log", files / "log.csv", *command)
    assert "156 new events: training before the service starts" in first.err
    assert "training" not in palate("serve", "--store", store, *command).err
    assert palate("store", "backup", tmp_path / "b.db", "--store", store).code == 0
    assert palate("store", "restore", tmp_path / "b.db", "--store", copy).code == 0
    assert "training" not in palate("serve", "--store", copy, *command).err, "the backup has the model"
    rmtree(tmp_path / "restored.models")
    left = palate("serve", "--store", copy, *command, "--without-model")
    assert (left.code, "training" in left.err, served[-1].without_model) == (0, False, True)
    done = palate("serve", "--store", copy, *command)
    lost = f"the bundle of model version 1 is not in {tmp_path / 'restored.models'}: training before"
    assert lost in done.err
    with Store.open(copy) as opened:
        assert Versions(opened).answering() == 2
    assert "training" not in palate("serve", "--store", copy, *command).err


@pytest.mark.parametrize(
    "command", ["train --recipe popularity", "activate 1", "store check", "store info", "store export --log e.csv"]
)
def test_a_store_that_is_misspelt_is_not_made(
    palate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = palate(*command.split(), "--store", "shpo.db")
    assert (done.code, done.out) == (1, "")
    assert f"error: {tmp_path / 'shpo.db'}: no such file" in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("module", "extra", "command"),
    [
        ("torch", "deep", "fit autoencoder no.csv --out m"),
        ("torch", "deep", "fit blend no.csv --out m --set recipes=Popularity(),Transformer()"),
        ("torch", "deep", "evaluate popularity autoencoder no.csv"),
        ("torch", "deep", "audit autoencoder no.csv"),
        ("torch", "deep", "train --store no.db --recipe transformer"),
        ("torch", "deep", "serve --store no.db --recipe transformer"),
        ("safetensors", "deep", "fit transformer no.csv --out m"),
        ("lightgbm", "rank", "fit ranked no.csv --out m"),
        ("tokenizers", "content", "fit hybrid no.csv --out m --set fields=title:minilm"),
        ("dp_accounting", "privacy", "train --store no.db --recipe ease --epsilon 1"),
        ("matplotlib", "plot", "evaluate popularity no.csv --plot p.png"),
        ("matplotlib", "plot", "audit popularity no.csv --plot p.svg"),
        ("matplotlib", "plot", "choose no.csv --plot p.png"),
        ("openai", "describe", "describe no.csv --out d.jsonl --endpoint http://127.0.0.1:9 --model m"),
        ("xllamacpp", "describe", "describe no.csv --out d.jsonl"),
    ],
)
def test_extras_are_looked_for_before_any_work(
    palate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str, command: str
) -> None:
    """The files of these commands do not exist; it is the extra that is named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    done = palate(*command.split())
    assert (done.code, done.out) == (1, "")
    package = {"dp_accounting": "dp-accounting"}.get(module, module)
    assert f"error: {package} is not installed; run: pip install 'palate[{extra}]'" in done.err
    assert ("whl/cpu" in done.err) == (extra == "deep")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("default")
def test_a_warning_is_a_line(palate: Run, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,weight\nu,i,1\nu,j,-3\n")
    done = palate("inspect", tmp_path / "log.csv", "--read", "on_error=skip", "--json")
    assert (done.code, done.json["events"]) == (0, 1)
    assert done.err.startswith("warning: ")
    assert done.err.count("\n") == 1


def test_a_text_file_that_is_no_text(palate: Run, files: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes(b"\xff\xfe\x00")
    done = palate("recommend", files / "model", "--history", tmp_path / "mine.txt")
    assert done.code == 1
    assert "item ids are written in UTF-8" in done.err


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=str)
def test_help_fits_a_screen(palate: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = palate(*command, "--help")
    lines = done.out.splitlines()
    assert done.code == 0
    assert 5 < len(lines) <= (42 if command == ["serve"] else 30)
    assert max(map(len, lines)) <= 80
    assert "<class" not in done.out


def test_version(palate: Run) -> None:
    done = palate("--version")
    assert (done.code, done.out.split()[0]) == (0, "palate")


# Real processes


def test_a_process_leaves_its_answer_on_stdout_alone(files: Path, tmp_path: Path) -> None:
    fit = ["fit", "embedding", files / "log.csv", "--out", tmp_path / "m", "--json", *FAST]
    done = subprocess.run([*PALATE, *map(str, fit)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == str(tmp_path / "m")
    failed = subprocess.run([*PALATE, "inspect", "nowhere.csv"], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1


ENDLESS = ["--set", "dim=8", "--set", "epochs=10000000"]


def ended(process: subprocess.Popen[Any], seconds: float = 5.0) -> tuple[str, str]:
    """Press Ctrl-C and read what is left; it ends in time."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=seconds + 1)  # the machine may be busy
    return out, err


def test_ctrl_c_keeps_the_last_full_epoch(files: Path, tmp_path: Path) -> None:
    """It is seen to have one by what the progress bar says."""
    fit = [*PALATE, "fit", "embedding", files / "log.csv", "--out", tmp_path / "m", *ENDLESS]
    with started(fit, stderr=subprocess.PIPE, text=True, env=os.environ | TERMINAL) as process:
        assert process.stderr is not None
        seen = ""
        while not re.search(r"epoch ([2-9]|\d\d+)/", seen):
            seen += process.stderr.read(50)
        _, err = ended(process)
    assert process.returncode == 0, err
    assert "of 10000000: the last full epoch is kept" in " ".join(err.split())
    assert len(load(tmp_path / "m").items) == 20


def test_ctrl_c_ends_an_evaluation(files: Path) -> None:
    evaluate = [*PALATE, "evaluate", "embedding", files / "log.csv", *ENDLESS, "--split", "last"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with started(evaluate, **pipes, env=os.environ | TERMINAL) as process:
        assert process.stderr is not None
        seen = ""
        while not re.search(r"epoch ([2-9]|\d\d+)/", seen):
            seen += process.stderr.read(50)
        out, err = ended(process)
    assert (process.returncode, out) == (130, "")
    assert "interrupted" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "command",
    [
        ["fit", "ials", "{log}", "--out", "{folder}/m"],
        ["evaluate", "ials", "{log}", "--split", "last"],
        ["demo", "--log", "{log}"],
        ["serve", "--log", "{log}", "--store", "{folder}/a.db", "--port", "0", "--recipe", "ials"],
        ["serve", "--store", "{folder}/b.db", "--port", "0"],
        ["serve", "--store", "{folder}/b.db", "--port", "0", "--workers", "2"],
        ["train", "--store", "{folder}/b.db"],
        ["recommend", "{folder}/model", "--user", "u1"],
    ],
    ids=lambda command: " ".join(command[:2] + command[6:]),
)
def test_ctrl_c_ends_it_while_kernels_are_compiled(files: Path, tmp_path: Path, command: list[str]) -> None:
    """No kernel is there yet, so that the first one in its cache shows that the second is at work."""
    log = files / "log.csv"
    with Store.open(tmp_path / "b.db") as store:
        import_events(store, log)
        if command[0] == "serve":
            train(store, Versions(store), IALS(dim=8, epochs=1))
    if command[0] == "recommend":
        IALS(dim=8, epochs=1).fit(read_log(log)).save(tmp_path / "model", log=read_log(log))
    kernels = tmp_path / "kernels"
    asked = [*PALATE, *(part.format(log=log, folder=tmp_path) for part in command)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with started(asked, **pipes, env=os.environ | {"NUMBA_CACHE_DIR": str(kernels)}) as process:
        while not any(kernels.rglob("*.nbc")):
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.02)
        _, err = ended(process)
    assert process.returncode in (0, 130, -signal.SIGINT)
    assert "Traceback" not in err
    assert not (tmp_path / "m").exists()


HELD = """
import hashlib, signal
from palate.ending import Deadline
signal.signal(signal.SIGINT, lambda *_: None)
with Deadline():
    print("held", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", (1 << 31) - 1)  # as a compiler holds it: no step of Python for minutes
"""


def test_ctrl_c_ends_what_never_comes_back_to_python() -> None:
    with started([sys.executable, "-c", HELD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        _, err = ended(process)
    assert (process.returncode, err) == (130, "interrupted\n")


def test_ctrl_c_is_not_for_a_process_in_the_background(files: Path) -> None:
    """A script starts such a process with the signal ignored."""
    fit = ["evaluate", "embedding", files / "log.csv", "--set", "dim=8", "--set", "epochs=200", "--split", "last"]
    ignoring = [sys.executable, "-c", f"import signal; signal.signal(2, signal.SIG_IGN); {PALATE[2]}", *fit]
    with started(ignoring, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "156 events" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "NDCG@10" in out


# Settings


def test_values_are_read_as_the_fields_declare() -> None:
    assert parse("x", "12", int) == 12
    assert parse("x", "1e-3", float) == 0.001
    assert parse("x", "none", float | None) is None
    assert parse("x", "2.5", float | None) == 2.5
    assert parse("x", "true", bool) is True
    assert parse("x", "1,2", tuple[int, ...]) == (1, 2)
    assert parse("x", "bpr", Literal["logistic", "bpr"]) == "bpr"
    for text, hint, rule in (
        ("1.5", int, "a whole number"),
        ("yes", bool, "true or false"),
        ("", float | None, "a number or none"),
        ("wrap", Literal["logistic", "bpr"], "logistic or bpr"),
    ):
        with pytest.raises(SettingError, match=f"x='{text}': must be {rule}"):
            parse("x", text, hint)


def test_settings_find_their_recipe() -> None:
    built = build_recipes(["popularity", "embedding"], ["embedding.dim=8", "popularity.half_life_days=2.5"])
    assert built == {"popularity": Popularity(half_life_days=2.5), "embedding": Embedding(dim=8)}
    assert build_recipes(["embedding"], ["dim=8", "embedding.epochs=2"]) == {"embedding": Embedding(dim=8, epochs=2)}


def test_reading_settings() -> None:
    assert set(READ_NAMES) == set(inspect.signature(read_log).parameters) - {"source"}
    read = read_settings(["user=a=b", "weights=view:1,add:to:cart:2.5", "min_weight=4"])
    assert read == {"user": "a=b", "weights": {"view": 1.0, "add:to:cart": 2.5}, "min_weight": 4.0}


def test_catalogue_settings_are_all_there() -> None:
    assert set(CATALOGUE_NAMES) == set(inspect.signature(read_catalogue).parameters) - {"source"}
    assert catalogue_settings(["item=sku", "on_error=skip"]) == {"item": "sku", "on_error": "skip"}
    with pytest.raises(SettingError, match="--read-catalogue has no 'who'; known are item, title"):
        catalogue_settings(["who=x"])


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize(
    "command",
    [
        ["inspect", "{log}"],
        ["fit", "popularity", "{log}", "--out", "{tmp}/model"],
        ["evaluate", "popularity", "{log}"],
        ["recommend", "{model}", "--user", "u1"],
        ["similar", "{model}", "--item", "i1"],
        ["demo", "--log", "{log}"],
        ["store", "import", "--store", "{tmp}/shop.db"],
    ],
    ids=lambda command: command[0],
)
def test_a_catalogue_is_read_as_asked(palate: Run, files: Path, tmp_path: Path, command: list[str]) -> None:
    meta = tmp_path / "meta.csv"
    meta.write_text("code,headline,price\ni1,One,5\ni1,Twice,5\ni2,Two,6\n")
    places = {"log": files / "log.csv", "model": files / "model", "tmp": tmp_path}
    asked = [part.format(**places) for part in command] + ["--catalogue", str(meta)]
    done = palate(*asked, "--read-catalogue", "item=code")
    assert (done.code, done.err.splitlines()[-1]) == (
        1,
        "error: row 2 of meta.csv: item 'i1' is on row 1 already; each must have one row",
    )
    done = palate(*asked, "--read-catalogue", "item=code", "--read-catalogue", "on_error=skip")
    assert done.code == 0, done.err
    assert "warning: meta.csv: skipped 1 of 3 rows (item 1); the first is row 2 of meta.csv" in done.err
    if command[0] not in ("store", "demo"):
        assert palate(*asked[:-2], "--read-catalogue", "item=code").code == 2


def test_describe_reads_the_catalogue_as_asked(palate: Run, tmp_path: Path) -> None:
    meta = tmp_path / "meta.csv"
    meta.write_text("code,title,colour\na,Cup,red\n")
    asked = ["describe", meta, "--out", tmp_path / "texts.jsonl", "--templates"]
    assert "no item column" in palate(*asked).err
    assert palate(*asked, "--read-catalogue", "item=code").code == 0


@pytest.mark.filterwarnings("always")
def test_times_that_look_wrong_are_told_and_can_be_read_otherwise(palate: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,item,time\n1,1,1600000000\n2,1,20201231\n3,1,1600000001\n")
    assert "row 2 of a.csv: time is 20201231, read as 1970-08-22" in palate("inspect", path).err
    path.write_text("user,item,time\n1,1,01.02.2020\n")
    assert palate("inspect", path).code == 1
    done = palate("inspect", path, "--read", "time_format=%d.%m.%Y", "--json")
    assert (done.code, done.err) == (0, "")
    path.write_text("user,item,time\n1,1,1600000000\n")
    assert palate("inspect", path, "--read", "time_unit=ms").code == 0


# The demo and its data


def test_demo_on_another_log(palate: Run, files: Path) -> None:
    log = ("--log", files / "log.csv", "--catalogue", files / "items.csv")
    told = palate("demo", *log)
    assert told.code == 0, told.err
    for heading in ("The log", "is hidden", "go together: EASE", "How well it guesses", "Items alike", "Three users"):
        assert heading in told.out
    assert re.search(r"NDCG@10 .* \[[+-][\d.]+, [+-][\d.]+\], (better|worse|may be chance)", told.out)
    answer = palate("demo", *log, "--json").json
    assert set(answer) == {"log", "split", "fit", "evaluation", "similar", "people"}
    assert all(row["item_id"] not in [each["item_id"] for each in row["items"]] for row in answer["similar"])
    assert all(len(person["items"]) <= 10 for person in answer["people"])


def test_films_that_nobody_met_are_recommended(palate: Run) -> None:
    """The demo of content on MovieLens."""
    answer = palate("demo", "--content", "--json").json
    recall = answer["recall@20"]
    assert recall["low"] > 10 * recall["chance"]
    assert all(len(person["items"]) == 5 and person["items"][0]["terms"] for person in answer["people"])
    assert len(answer["nearest"]) == 5


def test_recipes_that_read_items_take_a_catalogue(palate: Run, files: Path) -> None:
    log, items = str(files / "log.csv"), ("--catalogue", files / "items.csv")
    fast = ("--set", "base=IALS(dim=4, epochs=2)", "--set", "fields=title")
    assert palate("fit", "hybrid", log, *items, "--out", files / "hybrid", *fast).code == 0
    assert palate("fit", "content", log, *items, "--out", files / "content", "--set", "dim=4").code == 0
    refused = palate("fit", "content", log, "--out", files / "none")
    assert refused.code == 1
    assert "no catalogue" in refused.err
    rows = (files / "items.csv").read_text().splitlines()
    (files / "more.csv").write_text("\n".join([*rows, f"new,{rows[1].partition(',')[2]}"]) + "\n")
    user = load_log(files).users.ids[0]
    asked = ("recommend", files / "hybrid", "--user", user, "-k", "1000", "--json")
    assert "new" not in str(palate(*asked, *items).json["items"])
    assert "new" in {row["item_id"] for row in palate(*asked, "--catalogue", files / "more.csv").json["items"]}
    result = palate("evaluate", "content", "hybrid", log, *items, "--split", "items", "-k", "5", "--json").json
    assert set(result["models"]) == {"content", "hybrid"}
    assert "new items" in result["models"]["hybrid"]["groups"]


def test_the_checkout_has_the_data() -> None:
    assert example.movielens() == (
        ROOT / "examples/movielens-small/ratings.csv.gz",
        ROOT / "examples/movielens-small/movies.csv.gz",
    )


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As from a wheel: no checkout, an empty cache, and an archive to fetch."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("ratings.csv", "movies.csv", "tags.csv", "README.txt"):
            file.writestr(f"ml-latest-small/{name}", name)
    (tmp_path / "archive.zip").write_bytes(archive.getvalue())
    monkeypatch.setattr(example, "FOLDER", Path("elsewhere"))
    monkeypatch.setattr(example, "ARCHIVE", (tmp_path / "archive.zip").as_uri())
    monkeypatch.setattr(example, "SHA256", hashlib.sha256(archive.getvalue()).hexdigest())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_the_data_is_fetched_once(installed: Path) -> None:
    ratings, movies = example.movielens()
    assert ratings.read_text() == "ratings.csv"
    assert movies.parent == installed / "cache/palate/ml-latest-small"
    (installed / "archive.zip").unlink()
    assert example.movielens() == (ratings, movies)
    assert [path.name for path in (installed / "cache/palate").iterdir()] == ["ml-latest-small"]


def test_another_archive_is_refused(installed: Path) -> None:
    (installed / "archive.zip").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"its sha256 is .* show your own log with --log FILE"):
        example.movielens()
    assert not (installed / "cache/palate").exists()


@pytest.mark.usefixtures("installed")
def test_without_a_network_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "ARCHIVE", "http://127.0.0.1:9/ml-latest-small.zip")
    with pytest.raises(DataError, match=r"cannot be fetched: .* show your own log with --log FILE"):
        example.movielens()
