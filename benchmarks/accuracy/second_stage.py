"""The second stage on the next item: `Ranked` beside its first stages on Amazon Beauty and Sports.

`python -m benchmarks.accuracy.second_stage [--dataset beauty sports] [--seeds 0 1 2] [--out FILE]`

The protocol of `benchmarks.accuracy.sequences`: the last item of each user is the test, the last but one the
validation part, the fit sees neither; all items are ranked, seen ones removed. Settings are those of `Ranked` by
default, with SLIST as chosen there; they were looked at on the sequences without their last item, so that the item
that is asked for is the validation item. The test is read once a seed. Times are CPU seconds with kernels compiled.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import orjson
import polars as pl
from threadpoolctl import threadpool_limits

from benchmarks.accuracy.sequences import Figures, amazon
from benchmarks.common.paths import DATA
from benchmarks.common.tables import grid, parser, publish, title
from palate import IALS, SLIST, Catalogue, Ranked
from palate.data.vocabulary import Vocabulary
from palate.models.base import Model, Recipe
from palate.ranking.ranked import RankedModel

LISTS = 300  # timed one by one
STAGES: dict[str, tuple[Recipe, ...]] = {
    "beauty": (SLIST(l2=60), IALS(dim=128)),
    "sports": (SLIST(l2=60), IALS(dim=128)),
}
HEAD = ("", "HR@10 / NDCG@10, test", "fit, CPU s", "a list, CPU ms")


def catalogue(name: str) -> Catalogue:
    """Read the titles, or where there are none the keywords, and the attributes of the items."""
    folder = DATA / f"amazon-{name}"
    frame = pl.read_csv(folder / "items.csv")
    attributes = orjson.loads((folder / "item_attributes.json").read_bytes())
    tags = [[str(each) for each in attributes.get(str(item), [])] for item in frame["item"]]
    text = frame["title"] if "title" in frame.columns else frame["keywords"]
    about = pl.DataFrame({"item_id": frame["item"], "title": text, "categories": tags})
    return Catalogue(Vocabulary(frame["item"]), about)


def list_ms(model: Model, log: object) -> float:
    """CPU milliseconds of a list of 10 for one user, without HTTP: the best mean of five rounds, one BLAS thread."""
    histories = model.histories(log)  # type: ignore[arg-type]
    blocks = [histories.block(n, n + 1) for n in range(LISTS)]
    rounds = []
    with threadpool_limits(1, "blas"):  # as in a service
        for _ in range(5):
            began = time.process_time()
            for each in blocks:
                model.recommend(each)
            rounds.append(time.process_time() - began)
    return 1000 * min(rounds) / LISTS


def measured(name: str, seeds: Sequence[int]) -> list[list[str]]:
    """Fit the first stages and the second, and grade each on the test: rows of the table."""
    task = amazon(name, {})
    items = catalogue(name)
    rows = []

    def row(what: str, figures: Sequence[Figures], seconds: Sequence[float], milliseconds: float) -> list[str]:
        means = [np.array([each[metric] for each in figures]) for metric in ("HR@10", "NDCG@10")]
        shown = " / ".join(f"{each.mean():.4f}" + (f" ± {each.std():.4f}" if len(each) > 1 else "") for each in means)
        return [what, shown, f"{np.mean(seconds):.0f}", f"{milliseconds:.2f}"]

    for stage in STAGES[name]:
        began = time.process_time()
        model = stage.fit(task.train["test"])
        seconds = time.process_time() - began
        name_of = f"`{type(stage).__name__}`"
        rows.append(row(name_of, [task.grade(model, "test")], [seconds], list_ms(model, task.train["test"])))
    for what, known in (("`Ranked`", None), ("`Ranked` with the catalogue", items)):
        figures, times = list[Figures](), list[float]()
        for seed in seeds:
            began = time.process_time()
            model = Ranked(recipes=STAGES[name], seed=seed).fit(task.train["test"], known)
            times.append(time.process_time() - began)
            assert isinstance(model, RankedModel)
            figures.append(task.grade(model, "test"))
            print(name, what, seed, len(model.forest), figures[-1], f"{times[-1]:.0f} s", flush=True)
        rows.append(row(what, figures, times, list_ms(model, task.train["test"])))
    return rows


def main() -> None:
    """Measure, and write the table."""
    asked = parser(__doc__)
    asked.add_argument("--dataset", nargs="*", default=["beauty", "sports"])
    asked.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    options = asked.parse_args()
    lines = title("The second stage", ("numpy", "numba", "lightgbm", "palate"))
    for name in options.dataset:
        lines += [f"## Amazon {name.title()}", "", *grid(HEAD, measured(name, options.seeds)), ""]
    publish("\n".join(lines), options.out)


if __name__ == "__main__":
    main()
