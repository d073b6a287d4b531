"""Transformer: causal attention over a history says what comes next.

Kang and McAuley 2018 (SASRec), with what has mattered since: softmax over many sampled items (Klenitskiy and Vasilev
2023; Petrov and Macdonald 2023), cosine scores, norms before each block, gated blocks (Shazeer 2020), a bias of
attention by distance (Raffel et al. 2020) and by the time between events (Li, Wang and McAuley 2020; Zhai et al.
2024), and first item vectors taken from the log in closed form. The content of items may be part of their
vectors, and the type of an event, and a weight of its own, part of what it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from palate.arrays import Floats, Ints
from palate.compute.svd import unit
from palate.data.catalogue import Catalogue
from palate.data.histories import Histories
from palate.data.interactions import Interactions
from palate.data.ragged import NEVER, Ragged
from palate.data.vocabulary import Id, Vocabulary
from palate.encoders.pretrained import packages_of
from palate.errors import Package, check
from palate.models.attention import KNOTS, Past, dropped, item_vectors, states
from palate.models.base import Watch, refuse_empty
from palate.models.event_inputs import boundaries, has_gaps, no_types, types_of
from palate.models.item_content import check_reading, read_items
from palate.models.network import Inputs, NetworkRecipe, TorchModel, check_device, padded
from palate.models.onnx import ExportedModel
from palate.models.registry import register
from palate.models.sequence_batches import SequenceBatches
from palate.models.sequence_losses import LOSSES, gbce, softmax
from palate.models.spectral import near_vectors
from palate.training.checkpoint import Checkpoint
from palate.training.loop import fit
from palate.training.networks import AdamW, Arrays, NetworkTask, Weights, need_torch

if TYPE_CHECKING:
    from torch import Generator, Tensor


TARGETS = 1_500_000  # seen in a training, all epochs taken together: Beauty's best on validation
TEMPERATURE = 0.07  # of the cosines, at first
FADING = 0.4  # of the logarithm of attention from an event to the one before it, at first
FORGOTTEN = 0.1  # of the batches are without times, and of them without types: a history without is nothing new
READING = 1.0  # penalty of the first guess of items' vectors by their content


@dataclass(frozen=True, kw_only=True)
class Transformer(NetworkRecipe):
    """Settings of the network and its training; each event of weight above 0 is an input, and the target before it.

    fields      columns of the catalogue, or "column:encoder": a matrix times the content of an item is added to
                its vector, and is all there is of an item without events; (): the catalogue is not read
    gaps        attention knows the time between two events, where time passes between those of the log
    kinds       the type of an event is an input where the log has several, its weight where those of a type differ
    window      an event attends to this many events, itself the last; older ones reach it through the layers below
    negatives   items drawn for each batch, all that are not the target counting alike; None: every item
    loss        "softmax": cross-entropy, or "gbce": generalised binary cross-entropy (gSASRec)
    calibration of "gbce", 0 to 1: 0 is binary cross-entropy, at 1 the probabilities of a model are not too high
    epochs      None: enough for 1.5 million targets, 3 to 30
    batch       events of a batch
    dropout     share of the numbers left out after each block
    device      "cpu", or "cuda": mixed precision
    checkpoint  a folder written after each epoch; a fit that finds one goes on from it, to the same result
    """

    fields: tuple[str, ...] = ()
    gaps: bool = True
    kinds: bool = True
    dim: int = 128
    layers: int = 2
    heads: int = 1
    window: int = 50
    negatives: int | None = 2048
    loss: str = "softmax"
    calibration: float = 0.75
    epochs: int | None = None
    batch: int = 1024
    learning_rate: float = 0.002
    weight_decay: float = 0.01
    dropout: float = 0.5
    seed: int = 0
    device: str = "cpu"
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        for name in ("dim", "layers", "heads", "window", "batch"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "must be 1 or more")
        for name in ("negatives", "epochs"):
            value = getattr(self, name)
            check(value is None or value >= 1, name, value, "must be 1 or more, or None")
        check(self.loss in LOSSES, "loss", self.loss, f"must be one of {', '.join(LOSSES)}")
        check(0 <= self.calibration <= 1, "calibration", self.calibration, "must be 0 to 1")
        check(self.dim % self.heads == 0, "heads", self.heads, f"must divide dim={self.dim}")
        check(0 < self.learning_rate < np.inf, "learning_rate", self.learning_rate, "must be above 0")
        check(0 <= self.weight_decay < np.inf, "weight_decay", self.weight_decay, "must be 0 or more")
        check(0 <= self.dropout < 1, "dropout", self.dropout, "must be 0 or more, below 1")
        object.__setattr__(self, "fields", check_reading(self.fields, self.dim, self.seed))
        check(self.device in ("cpu", "cuda"), "device", self.device, "is 'cpu' or 'cuda'")

    def needs(self) -> tuple[Package, ...]:
        """Return what training takes, and the encoders of the fields."""
        return (*super().needs(), *packages_of(self.fields))

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> TransformerModel:
        """Fit to the log, and to the catalogue if fields are named; its items without events are ranked too.

        Ctrl-C ends it with the weights of the last full epoch. Raises `MissingExtra`.
        """
        refuse_empty(log)
        check_device(self.device)
        types = self.types(log)
        recipe, sequences = self.resolved(log), SequenceBatches.of(log, self.reach, types)
        items, content = log.items, None
        if self.fields:
            items, _, encoded = read_items(log, catalogue, self.fields, self.dim, self.seed, watch)
            content = encoded.vectors
        popularity = log.item_weights(len(items))

        def loss(weights: Weights, batch: tuple[Inputs, Ints], rng: Generator) -> Tensor:
            return next_item_loss(weights, recipe, *batch, rng)

        def model(weights: Arrays) -> TransformerModel:
            answers = answering(weights, content, popularity)
            return TransformerModel(recipe, items, popularity, answers, event_types=types)

        task = NetworkTask(
            AdamW.of(recipe),
            start=first_weights(recipe, log, content),
            batches=lambda rng: sequences.batches(recipe.batch, rng),
            loss_of=loss,
            made=model,
            samples=sequences.targets,
            frozen=("content", "between"),
        )
        checkpoint = Checkpoint.of(recipe, log, content, log.event if len(types) else None)
        return fit(task, nullcontext(), recipe.epochs or 1, watch=watch, checkpoint=checkpoint)

    def resolved(self, log: Interactions) -> Transformer:
        """Put a number in place of None."""
        if self.epochs is not None:
            return self
        targets = SequenceBatches.of(log, self.reach).targets
        return replace(self, epochs=int(np.clip(round(TARGETS / max(1, targets)), 3, 30)))

    def types(self, log: Interactions) -> Vocabulary:
        """Return the event types that are inputs, none if not `kinds`."""
        return types_of(log) if self.kinds else no_types()

    @property
    def reach(self) -> int:
        """Events that the last state of a history depends on: window - 1 older ones in each layer, and itself."""
        return self.layers * (self.window - 1) + 1

    def seen(self, rows: Ragged) -> Ragged:
        """Return the newest events of liked items."""
        liked = rows.where(rows.liked)
        return liked.where(liked.left <= self.reach)

    def shapes(self, weights: Arrays, items: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes that weights of these names must have over this many items."""
        D, H = self.dim, self.heads
        layer: dict[str, tuple[int, ...]] = {
            "attend.norm": (D,),
            "attend.in": (D, 3 * D),
            "attend.out": (D, D),
            "attend.distance": (self.window, H),
            "feed.norm": (D,),
            "feed.in": (D, 4 * D),
            "feed.out": (2 * D, D),
        }
        if "0.attend.gap" in weights:
            layer["attend.gap"] = (len(KNOTS), H)
        shapes: dict[str, tuple[int, ...]] = {"items": (items, D), "bias": (items,), "scale": (1,)}
        if "between" in weights:
            shapes |= {"between": (weights["between"].size,), "kinds": (weights["between"].size + 1, D)}
        if "types" in weights:
            shapes["types"] = (len(weights["types"]), D)
        return shapes | {f"{n}.{name}": shape for n in range(self.layers) for name, shape in layer.items()}

    def forward(self, w: Weights, inputs: Inputs) -> Tensor:
        """Score every item for what comes next, (B, I)."""
        h, _ = states(w, self, inputs)
        last = (inputs.length - 1)[:, None, None].expand(-1, 1, self.dim)
        return item_scores(w, h.gather(1, last)[:, 0])


def first_weights(recipe: Transformer, log: Interactions, content: Floats | None = None) -> dict[str, Floats]:
    """Return weights to begin with: a state is the newest event and a mean over the window that fades with distance.

    So the untrained network already ranks what stands near the history in the log. From the content of items (I, E),
    `reading` (E, D) predicts their vectors; `items` holds the rest.
    """
    rng = np.random.default_rng(recipe.seed)
    D, I = recipe.dim, len(log.items)

    def matrix(rows: int, columns: int, spread: float = 1.0) -> Floats:
        return rng.standard_normal((rows, columns), np.float32) * np.float32(spread / np.sqrt(rows))

    weights: dict[str, Floats] = {
        "items": near_vectors(log, D, seed=recipe.seed),  # (I, D)
        "bias": np.zeros(I, np.float32),
        "scale": np.full(1, -np.log(TEMPERATURE), np.float32),
    }
    if content is not None:
        Z = content[:I].astype(np.float64)
        reading = np.linalg.solve(Z.T @ Z + READING * np.eye(Z.shape[1]), Z.T @ weights["items"])
        weights |= {"content": content[:I], "reading": reading.astype(np.float32)}
        weights["items"] = np.asarray(weights["items"] - weights["content"] @ weights["reading"], np.float32)
    types, between = recipe.types(log), boundaries(log)
    if len(types):
        weights["types"] = np.zeros((len(types) + 1, D), np.float32)  # the first for one that is not known
    if recipe.kinds and len(between):
        weights |= {"between": between, "kinds": np.zeros((len(between) + 1, D), np.float32)}
    gaps = recipe.gaps and has_gaps(log)
    for n in range(recipe.layers):
        distance = np.arange(recipe.window, dtype=np.float32)[:, None]
        weights |= {
            f"{n}.attend.norm": np.ones(D, np.float32),
            f"{n}.attend.in": np.hstack([matrix(D, 2 * D, 0.3), np.eye(D, dtype=np.float32)]),
            f"{n}.attend.out": np.asarray(np.eye(D) / recipe.layers, np.float32),
            f"{n}.attend.distance": np.tile(np.asarray(-FADING * distance, np.float32), (1, recipe.heads)),
            f"{n}.feed.norm": np.ones(D, np.float32),
            f"{n}.feed.in": matrix(D, 4 * D),
            f"{n}.feed.out": matrix(2 * D, D, 0.1),
        }
        if gaps:
            weights[f"{n}.attend.gap"] = np.zeros((len(KNOTS), recipe.heads), np.float32)
    return weights


def answering(weights: Arrays, content: Floats | None, popularity: Floats) -> Arrays:
    """Return the weights of a model: `items` (I, D) of length 1, those with content alone (I, E) too.

    The latter get the mean bias of the items with the fewest events.
    """
    w = {name: each for name, each in weights.items() if name not in ("content", "reading")}
    if content is not None:
        known = len(w["items"])
        vectors = content @ weights["reading"]
        vectors[:known] += w["items"]
        rare = popularity[:known] == popularity[:known].min()
        w["items"] = np.asarray(vectors, np.float32)
        w["bias"] = np.append(w["bias"], np.full(len(vectors) - known, w["bias"][rare].mean(), np.float32))
    w["items"] = unit(w["items"])
    return w


def item_scores(w: Weights, state: Tensor) -> Tensor:
    """Scaled cosines (B, I) of states (B, D) with the items, whose vectors are of length 1, and their biases."""
    scores: Tensor = (state * w["scale"].exp()) @ w["items"].T + w["bias"]
    return scores


def next_item_loss(w: Weights, recipe: Transformer, inputs: Inputs, target: Ints, rng: Generator) -> Tensor:
    """Mean loss of the targets (B, T) that are not -1, each beside `negatives` items drawn."""
    torch = need_torch()
    device = w["items"].device

    def drop(x: Tensor) -> Tensor:
        return dropped(x, recipe.dropout, rng)

    wanted = torch.as_tensor(target, device=device, dtype=torch.int64)
    known = inputs.tensors(device)
    if "0.attend.gap" in w and float(torch.rand(1, generator=rng, device=device)) < FORGOTTEN:
        known = known._replace(time=torch.full_like(known.time, NEVER))
    if "types" in w and float(torch.rand(1, generator=rng, device=device)) < FORGOTTEN:
        known = known._replace(event=torch.zeros_like(known.event))
    h, _ = states(w, recipe, known, drop=drop)
    h, wanted = h[wanted >= 0] * w["scale"].exp(), wanted[wanted >= 0]  # (N, D), (N,)
    I = len(w["items"])
    K = min(recipe.negatives or I, I)
    drawn = torch.randperm(I, generator=rng, device=device)[:K]
    vectors = item_vectors(w, torch.cat([drawn, wanted]))
    wrong = torch.addmm(w["bias"][drawn], h, vectors[:K].T)  # (N, K)
    right = (h * vectors[K:]).sum(-1) + w["bias"][wanted]  # (N,)
    if recipe.loss == "gbce":
        return gbce(right, wrong, drawn == wanted[:, None], I, recipe.calibration)
    place = torch.full((I,), -1, device=device).index_copy(0, drawn, torch.arange(K, device=device))
    return softmax(right, wrong, place[wanted], I)


@dataclass(frozen=True, eq=False)
class TransformerModel(TorchModel):
    """A fitted Transformer; a history may also be followed event by event, each at the cost of one step."""

    recipe: Transformer

    def fault(self) -> str:
        """Say what is wrong with `weights` and `event_types`."""
        rows, types = len(self.weights.get("types", ())), len(self.event_types)
        if rows != (types + 1 if types else 0):
            return f"weights.types has {rows:,} rows; there must be 1 more than the {types:,} event types"
        return super().fault()

    def start(self, history: Sequence[Id] = ()) -> SessionState:
        """Follow a history from here on; unknown items are ignored. Raises `DataError` for what cannot be an id."""
        session = SessionState(None, None)
        for item in Vocabulary.series(history, "history").to_list():
            session = self.append(session, item)
        return session

    def append(
        self,
        session: SessionState,
        item: Id,
        weight: float = 1.0,
        time: int | None = None,
        event_type: str | None = None,
    ) -> SessionState:
        """Return the session with one more event, its time as in `Ragged`; the one given stays as it is.

        An event of an unknown item, or of weight 0 or less, is ignored.
        """
        times = None if time is None else [[time]]
        rows = Histories.of(self.items, [[item]], None, [[weight]], times, [[event_type]]).typed(self.event_types)
        if not rows.positives[0]:
            return session
        ((_, asked),) = padded(rows)
        with need_torch().inference_mode():
            state, kept = states(self.tensors, self.recipe, asked.tensors(self.device), session.past)
            old = max(0, kept.time.shape[1] + 1 - self.recipe.window)  # events that the next one does not see
            layers = tuple((key[:, :, old:], value[:, :, old:]) for key, value in kept.layers)
            return SessionState(Past(kept.time[:, old:], layers), state[0])

    def scores_after(self, session: SessionState) -> Floats:
        """Score every item for what comes after the session, (I,): what `scores` says of the same history."""
        if session.state is None:
            return self.popularity
        with need_torch().inference_mode():
            return np.asarray(item_scores(self.tensors, session.state)[0].cpu().numpy())


@dataclass(frozen=True, eq=False)
class SessionState:
    """A history being followed: what its newest events left, and the state (1, D) after the last; None at first."""

    past: Past | None
    state: Tensor | None


register(Transformer, TransformerModel, ExportedModel)
