"""Stages of rising strength behind one model: the figures, and the picture of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from test_rerank import CATALOGUE, LOG

from palate import IALS, Calibrate, LongTail, Pipeline, evaluate, split_ratio
from palate.errors import MissingExtra, SettingError
from palate.evaluation.lists import intra_list_distance
from palate.evaluation.mixes import calibration_kl
from palate.evaluation.sweep import Strengths, Sweep, sweep

RECIPE = IALS(dim=8, epochs=5, threads=1)
SPLIT = split_ratio(LOG, 0.3)
KL, ILD = "calibration_kl(genres)", "intra_list_distance"


@pytest.fixture(scope="module")
def found() -> Sweep:
    curves: dict[str, Strengths] = {
        "calibrate": {s: Calibrate("genres", s) for s in (0.3, 0.9)},
        "both": {0.5: ["Calibrate('genres', 0.5)", LongTail(0.5)]},
    }
    return sweep(
        RECIPE, SPLIT, curves, 5, catalogue=CATALOGUE, metrics=[calibration_kl("genres"), intra_list_distance]
    )


def test_figures_are_those_of_pipelines(found: Sweep) -> None:
    alone = evaluate(RECIPE, SPLIT, 5)
    assert found.alone["NDCG@5"] == alone["NDCG@5"]
    for report, stages in (
        (found.curves["calibrate"][0.9], (Calibrate("genres", 0.9),)),
        (found.curves["both"][0.5], (Calibrate("genres", 0.5), LongTail(0.5))),
    ):
        fitted = evaluate(Pipeline(RECIPE, stages), SPLIT, 5, catalogue=CATALOGUE)
        assert report["NDCG@5"] == fitted["NDCG@5"]
        assert report["coverage"] == fitted["coverage"]
    assert found.curves["calibrate"][0.9][KL] < found.curves["calibrate"][0.3][KL] < found.alone[KL]


def test_a_table_has_a_line_for_each_strength(found: Sweep) -> None:
    lines = found.to_markdown([KL, "coverage"]).splitlines()
    assert lines[0] == f"| stage | NDCG@5 | change | {KL} | coverage |"
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| alone",
        "| calibrate 0.3",
        "| calibrate 0.9",
        "| both 0.5",
    ]


def test_the_picture_shows_every_point_with_its_paired_interval(found: Sweep, tmp_path: Path) -> None:
    found.plot(tmp_path / "a.png", [KL, ILD, "coverage"])
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    spot = found._spot(found.curves["calibrate"][0.9], KL, "")
    gain = found.curves["calibrate"][0.9].minus(found.alone, f"{KL}@5")
    assert spot.x_bar == pytest.approx((found.alone[KL] + gain.low, found.alone[KL] + gain.high))
    assert spot.y_bar is not None
    assert spot.y_bar[0] <= spot.y <= spot.y_bar[1]
    assert found._spot(found.curves["both"][0.5], "coverage", "").x_bar is None
    with pytest.raises(SettingError, match="metric='depth': is one of"):
        found.plot(tmp_path / "b.png", ["depth"])
    with pytest.raises(SettingError, match="must name a metric"):
        found.plot(tmp_path / "b.png", [])
    assert not (tmp_path / "b.png").exists()


def test_what_cannot_be_swept_is_refused(monkeypatch: pytest.MonkeyPatch, found: Sweep, tmp_path: Path) -> None:
    wrong: Any
    for wrong in ({}, {"calibrate": {}}):
        with pytest.raises(SettingError, match=r"curves=.*at least one each"):
            sweep(RECIPE, SPLIT, wrong)
    with pytest.raises(SettingError, match="attribute 'genres': a stage reads it, and there is no catalogue"):
        sweep(RECIPE, SPLIT, {"calibrate": {0.5: Calibrate("genres", 0.5)}})
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"palate\[plot\]"):
        found.plot(tmp_path / "a.png", ["coverage"])
