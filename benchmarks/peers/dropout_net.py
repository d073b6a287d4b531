"""DropoutNet (Volkovs, Yu and Poutanen 2017), as a benchmark needs it: content learns to stand in for vectors.

A network takes an item's vector and its content, the vector left out by chance, and learns to give the scores that
the vectors gave. An item without events goes in without a vector. The vectors are those of `IALS`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from benchmarks.peers.vectors import Vectors, VectorsModel
from palate import IALS
from palate.data.catalogue import Catalogue
from palate.data.interactions import Interactions
from palate.encoders.encoding import Encoding
from palate.models.base import Recipe, Watch

USERS, ITEMS = 256, 1024  # of a step


@dataclass(frozen=True, kw_only=True)
class DropoutNet(Recipe):
    """dropout is the chance that an item's vector is left out."""

    fields: tuple[str, ...]
    dim: int = 64
    hidden: int = 256
    dropout: float = 0.5
    learning_rate: float = 0.001
    steps: int = 1500

    def fit(
        self, log: Interactions, catalogue: Catalogue | None = None, *, watch: Watch | None = None
    ) -> VectorsModel:
        """Fit the vectors, then the network."""
        assert catalogue is not None
        torch.manual_seed(0)
        base = IALS(dim=self.dim, threads=1).fit(log)
        items = log.items.union(catalogue.items)
        _, encoded = Encoding.of(self.fields, catalogue, 256, 0)
        content = torch.from_numpy(encoded.on(catalogue.items.recode(items)).vectors)
        scale = float(np.sqrt(np.square(base.item_vectors).mean()))
        own = torch.zeros((len(items), self.dim))
        own[: len(log.items)] = torch.from_numpy(np.asarray(base.item_vectors)) / scale
        users = torch.from_numpy(np.asarray(base.user_vectors))
        net = nn.Sequential(
            nn.Linear(self.dim + content.shape[1], self.hidden), nn.Tanh(), nn.Linear(self.hidden, self.dim)
        )
        sgd_task = torch.optim.Adam(net.parameters(), self.learning_rate)
        rng = torch.Generator().manual_seed(0)
        spread = (users @ own[: len(log.items)].T).pow(2).mean() if len(users) * len(log.items) < 1 << 27 else 1.0
        for _ in range(self.steps):
            some = torch.randint(len(log.items), (ITEMS,), generator=rng)
            some_users = users[torch.randint(len(users), (USERS,), generator=rng)]
            kept = (torch.rand((ITEMS, 1), generator=rng) >= self.dropout).float()
            made = net(torch.cat([own[some] * kept, content[some]], dim=1))
            loss = (some_users @ (made - own[some]).T).pow(2).mean() / spread
            sgd_task.zero_grad()
            loss.backward()
            sgd_task.step()
        with torch.inference_mode():
            vectors = net(torch.cat([own, content], dim=1)).numpy()
        return VectorsModel(Vectors(), items, log.users, base.user_vectors, vectors)
