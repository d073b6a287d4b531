"""A network as an ONNX graph: the same scores without torch. The one home of onnx and onnxruntime (extra `deep`)."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from palate.arrays import Array, Floats
from palate.errors import MissingExtra
from palate.models.network import Inputs, NetworkModel, Numbers, TorchModel
from palate.training.networks import need_torch


@dataclass(frozen=True, eq=False)
class ExportedModel(NetworkModel):
    """graph: bytes of the ONNX file, from those of `Inputs` that the network reads to scores (B, I), float32."""

    graph: Annotated[NDArray[np.uint8], Array("bytes")]

    def fault(self) -> str:
        """Say what is wrong with the graph, where onnxruntime is installed."""
        try:
            shape = self.session.get_outputs()[0].shape
        except MissingExtra:
            return ""
        except Exception as error:  # onnxruntime's own, of many kinds
            return f"graph cannot be read: {str(error)[:200]}"
        fits = shape[1:] == [len(self.items)]
        return "" if fits else f"graph scores {shape[1:]} items; there are {len(self.items):,}"

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

    def run(self, inputs: Inputs) -> Floats:
        """Scores (B, I) by onnxruntime."""
        read = {each.name for each in self.session.get_inputs()}
        asked = {name: each for name, each in inputs._asdict().items() if name in read}
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
        def forward(self, item: Numbers, length: Numbers, weight: Numbers, time: Numbers, event: Numbers) -> Numbers:
            return model.recipe.forward(weights, Inputs(item, length, weight, time, event))

    item, time, event = (torch.zeros((2, 3), dtype=torch.int64) for _ in range(3))
    example = tuple(Inputs(item, torch.tensor([3, 2]), torch.ones((2, 3)), time, event))
    rows, columns = torch.export.Dim("B"), torch.export.Dim("T")
    shapes = {name: {0: rows} if name == "length" else {0: rows, 1: columns} for name in Inputs._fields}
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        torch.onnx.export(Network().eval(), example, dynamo=True, dynamic_shapes=shapes, verbose=False).save(file)
    graph = np.frombuffer(file.getvalue(), np.uint8)
    return ExportedModel(model.recipe, model.items, model.popularity, graph, event_types=model.event_types)
