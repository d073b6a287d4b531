"""A picture of new films and the films that stand nearest to them, by their posters.

`python -m benchmarks.accuracy.posters --out FILE.png [--fields image title ...]`

All ratings of a fifth of the films are held out. The first column shows some of those, the row beside each the films
with ratings whose vectors in `Hybrid` are nearest. Posters may not be passed on, so the picture is made where they
are, and is not part of the project.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from textwrap import fill, shorten

import numpy as np
from matplotlib import pyplot
from PIL import Image

from benchmarks.accuracy.content import movies
from palate import IALS, Hybrid

ROWS, NEAREST = 5, 6


def main() -> None:
    """Fit, and draw."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--out", type=Path, required=True)
    asked.add_argument("--fields", nargs="+", help="all words and the posters if not given")
    options = asked.parse_args()
    shop = movies()
    split = shop.final
    model = Hybrid(IALS(), fields=options.fields or ("image", *shop.words)).fit(split.train, shop.catalogue)
    poster = dict(zip(shop.catalogue.items.ids, shop.catalogue.frame["image"], strict=True))
    shown = [item for item in split.train.items.ids if poster[item]]
    order = np.argsort(-split.test.item_counts(), kind="stable")
    new = [item for item in split.test.items.names(order.tolist()) if poster[item]][:ROWS]
    figure, axes = pyplot.subplots(ROWS, 1 + NEAREST, figsize=(1.5 * (1 + NEAREST), 2.5 * ROWS))
    for row, item in zip(axes, new, strict=True):
        near = model.similar_items([item], NEAREST, only=shown).lists()[0]
        for place, film in zip(row, [item, *near], strict=True):
            place.imshow(Image.open(poster[film]))
            title = fill(shorten(shop.catalogue.title(film), 50, placeholder=" ..."), 25)
            place.set_title(title, fontsize=6, fontweight="bold" if film == item else None)
            place.axis("off")
    figure.tight_layout()
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
