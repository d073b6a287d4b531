"""A network as an ONNX graph: the same scores without torch. The one home of onnx and onnxruntime (extra `deep`)."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palate.arrays import Floats, Ints, Longs
from palate.errors import MissingExtra
from palate.models.network import NetworkModel, TorchModel
from palate.models.training import need_torch


@dataclass(frozen=True, eq=False)
class ExportedModel(NetworkModel):
    """graph: bytes of the ONNX file, from item (B, T) and length (B,), int64, to scores (B, I), float32."""

    graph: NDArray[np.uint8]

    @cached_property
    def session(self) -> Any:
        """The graph, ready to run, each call on the thread that calls: threads of its own would wait by spinning."""
        try:
            import onnxruntime
        except ModuleNotFoundError:
            raise MissingExtra("onnxruntime", "deep") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(self.graph.tobytes(), options, providers=["CPUExecutionProvider"])

    def run(self, item: Ints, length: Longs) -> Floats:
        """Scores (B, I) by onnxruntime."""
        asked = {"item": item.astype(np.int64), "length": length.astype(np.int64)}
        return np.asarray(self.session.run(None, asked)[0])


def exported(model: TorchModel) -> ExportedModel:
    """Return the model with its network as an ONNX graph: it is saved, loaded and asked like any, without torch."""
    torch = need_torch()
    weights = {name: each.cpu() for name, each in model.tensors.items()}
    for package in ("onnx", "onnxscript"):
        try:
            __import__(package)
        except ModuleNotFoundError:
            raise MissingExtra(package, "deep") from None

    class Network(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, item: Any, length: Any) -> Any:
            return model.recipe.forward(weights, item, length)

    example = torch.zeros((2, 3), dtype=torch.int64), torch.tensor([3, 2])
    shapes = {"item": {0: torch.export.Dim("B"), 1: torch.export.Dim("T")}, "length": {0: torch.export.Dim("B")}}
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        torch.onnx.export(Network().eval(), example, dynamo=True, dynamic_shapes=shapes, verbose=False).save(file)
    graph = np.frombuffer(file.getvalue(), np.uint8)
    return ExportedModel(model.recipe, model.items, model.popularity, graph)
