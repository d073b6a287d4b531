"""Sounds to vectors by pretrained networks."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from palate.arrays import Floats
from palate.encoders.encoder import Encoder, Inputs
from palate.encoders.networks import Tensor, digest, folder_of, inference, need, session, weights

RATE = 44_100
WINDOW, HOP, BANDS = 2048, 1024, 96  # of the mel spectrogram
BLOCK = 100  # frames that go in together: 2.3 s
LOUDEST = np.float32(9.457798957824707)  # of the spectrograms that aisfx was trained on
LONGEST = 60  # seconds of a sound that are heard


class AudioEncoder(Encoder):
    """An encoder of sound files."""

    batch = 4

    def content(self, value: str) -> bytes:
        """Return the bytes of the file. Raises `OSError`."""
        return Path(value).read_bytes()

    def read(self, value: str) -> Floats:
        """Return the first minute as one channel at 44.1 kHz, (S,), its peak 1. Raises `ValueError`, `OSError`."""
        soundfile = need("soundfile")
        try:
            with soundfile.SoundFile(value) as file:
                sound = file.read(LONGEST * file.samplerate, dtype="float32", always_2d=True).mean(axis=1)
                rate = file.samplerate
        except soundfile.SoundFileError as error:
            raise ValueError(f"{value}: {error}") from None
        if not len(sound):
            raise ValueError(f"{value}: holds no sound")
        if rate != RATE:
            from scipy.signal import resample_poly  # takes half a second, which only sounds shall cost

            shared = np.gcd(RATE, rate)
            sound = resample_poly(sound, RATE // shared, rate // shared)
        return np.asarray(sound / max(np.abs(sound).max(), 1e-9), np.float32)


class Aisfx(AudioEncoder):
    """The network of aisfx (Ma et al. 2022), trained on sound effects: the mean over blocks of 2.3 seconds."""

    dim = 512

    def __init__(self) -> None:
        path = folder_of("aisfx", "aisfx", extra="") / "models" / "checkpoint.pth"
        self._weights = weights(path)[0]
        self.name = f"aisfx {digest(path)}"

    def run(self, inputs: Inputs) -> Floats:
        """Vectors of a batch of sounds, (B, 512)."""
        with inference() as torch:
            return np.stack([self._one(torch.from_numpy(blocks(spectrogram(sound)))) for sound in inputs])

    def _one(self, x: Tensor) -> Floats:
        functional, w = need("torch.nn.functional", "torch"), self._weights
        x = x[:, None]  # (blocks, 1, frames, bands)
        for n in range(1, 5):
            for step in ("1", "2"):
                name = f"embedding_net.conv_block{n}"
                stats = (w[f"{name}.bn{step}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
                x = functional.conv2d(x, w[f"{name}.conv{step}.weight"], padding=1)
                x = functional.relu(functional.batch_norm(x, *stats))
            if n < 4:
                x = functional.max_pool2d(x, 2)
        return np.asarray(x.mean(dim=3).amax(dim=2).mean(dim=0).numpy())


class OnnxAudio(AudioEncoder):
    """An .onnx file that takes sound (B, S) at 44.1 kHz."""

    batch = 1

    def __init__(self, path: str) -> None:
        self._session = session(Path(path))
        self._input = self._session.get_inputs()[0].name
        self.name = f"onnx audio {digest(Path(path))}"
        self.dim = self.run([np.zeros(RATE, np.float32)]).shape[1]

    def run(self, inputs: Inputs) -> Floats:
        """Vectors of a batch of sounds, (B, D)."""
        out = [self._session.run(None, {self._input: sound[None]})[0].reshape(1, -1) for sound in inputs]
        return np.concatenate(out).astype(np.float32)


def spectrogram(sound: Floats) -> Floats:
    """Return log10(1 + 10,000 power) of a sound (S,) in bands of the mel scale, (frames, 96), 1 being the loudest."""
    padded = np.pad(sound, (WINDOW // 2, WINDOW // 2 + HOP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW + 1)[:-1], axis=1)) ** 2
    return np.asarray(np.log10(1 + 10_000 * power @ bands().T) / LOUDEST, np.float32)


@cache
def bands() -> Floats:
    """Triangles on the mel scale up to half the rate, each with a sum of 1, (96, bins)."""
    mel = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, mel, BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(WINDOW, 1 / RATE)
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rise, fall))
    return np.asarray(triangles / np.maximum(triangles.sum(axis=1, keepdims=True), 1e-9), np.float32)


def blocks(spectrum: Floats) -> Floats:
    """Cut a spectrogram into blocks of 100 frames that overlap by half, (blocks, 100, bands), the last filled up."""
    count = max(1, -(-(len(spectrum) - BLOCK) // (BLOCK // 2)) + 1)
    padded = np.pad(spectrum, ((0, max(0, (count - 1) * BLOCK // 2 + BLOCK - len(spectrum))), (0, 0)))
    return np.stack([padded[n * BLOCK // 2 : n * BLOCK // 2 + BLOCK] for n in range(count)])
