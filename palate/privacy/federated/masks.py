"""Secure aggregation: each client adds masks to its words that cancel in the sum of all of them.

SecAgg (Bonawitz et al. 2017), over a ring of neighbours as in SecAgg+ (Bell et al. 2020). For a sum k, client i sends

    words + PRG(b_ik) + Σ_{j > i} PRG(s_ijk) - Σ_{j < i} PRG(s_ijk)    modulo 2^bits

s_ijk comes from a Diffie-Hellman secret of i and j, b_ik is drawn by i, and each neighbour holds a share of it. When
the words are in, all of those present give away b_ik (or, once they died, their neighbours its shares) and s_ijk for
the absent j. A client answers that once for each sum. Key agreement, sealing and Shamir's shares are Flower's;
Flower's generator of masks takes 32 bits of a seed, too few to hide anything: AES in counter mode is in its place.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palate.errors import DataError
from palate.privacy.federated.work import absent

try:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
    from flwr.common.secure_aggregation.crypto.symmetric_encryption import decrypt, encrypt, generate_shared_key
    from flwr.supercore.primitives.asymmetric import bytes_to_public_key, generate_key_pairs, public_key_to_bytes
except ModuleNotFoundError as missing:
    raise absent(missing) from None

SEED = 32  # bytes
SHARE = 52  # bytes of a share of a seed
LEAST = 3  # clients: of two, each would learn the other's sum


def generated(seed: bytes, words: int, kind: np.dtype[Any]) -> NDArray[Any]:
    """Return that many words, which a seed fixes and which look random without it."""
    stream = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor()
    return np.frombuffer(stream.update(bytes(words * kind.itemsize)), kind)


def neighbours(names: Iterable[str], most: int) -> dict[str, list[str]]:
    """Return who masks with whom: on the ring of names the nearest `most`, all where they are fewer."""
    ring = sorted(names)
    if len(ring) - 1 <= most:
        return {name: [each for each in ring if each != name] for name in ring}
    near = [*range(-(most // 2), 0), *range(1, most // 2 + 1)]
    return {name: [ring[(place + far) % len(ring)] for far in near] for place, name in enumerate(ring)}


def threshold(holders: int) -> int:
    """Return how many of the holders of shares bring back a seed."""
    return max(2, holders // 2 + 1)


class KeyPair:
    """A client's key for masks, new for each connection; `proof` shows other clients that it is a client's own."""

    def __init__(self, name: str, secret: bytes) -> None:
        self.name, self.secret = name, secret
        self.private, public = generate_key_pairs()
        self.public = public_key_to_bytes(public)
        self.proof = self.proof_of(name, self.public)

    def proof_of(self, name: str, public: bytes) -> bytes:
        """Return what only those with the clients' secret can make: the server cannot add clients of its own."""
        return hmac.digest(self.secret, b"mask key\0" + name.encode() + b"\0" + public, "sha256")

    def agreed(self, name: str, public: bytes, proof: bytes) -> bytes:
        """Return the secret shared with another client. Raises `DataError` where the key is not that client's."""
        if not hmac.compare_digest(self.proof_of(name, public), proof):
            raise DataError(f"client {name}: its key was not made with the clients' secret")
        return bytes(generate_shared_key(self.private, bytes_to_public_key(public)))


class Masks:
    """A client's masks for the sums of one session, with its neighbours' agreed secrets by name."""

    def __init__(self, name: str, agreed: Mapping[str, bytes], session: bytes, sums: int, least: int = LEAST) -> None:
        self.least = max(LEAST, least)
        if len(agreed) + 1 < self.least:
            raise DataError(f"session of {len(agreed) + 1} clients: at least {self.least} must mask a sum")
        self.name, self.agreed, self.session = name, dict(agreed), session
        self.seeds = [os.urandom(SEED) for _ in range(sums)]
        self.held: dict[str, bytes] = {}  # of each neighbour, its shares of all its seeds
        self.revealed: set[int] = set()

    def sealed(self) -> dict[str, bytes]:
        """Return for each neighbour its shares of the seeds, which it alone can read."""
        least = threshold(len(self.agreed))
        shares = [create_shares(seed, least, len(self.agreed)) for seed in self.seeds]
        mine = self.name.encode() + b"\0" + self.session
        return {
            peer: encrypt(key, mine + b"".join(each[place] for each in shares))
            for place, (peer, key) in enumerate(self.agreed.items())
        }

    def hold(self, sealed: Mapping[str, bytes]) -> None:
        """Keep the shares that neighbours sealed for this client."""
        for peer, text in sealed.items():
            head = peer.encode() + b"\0" + self.session
            plain = decrypt(self.agreed[peer], text)
            if not plain.startswith(head):
                raise DataError(f"client {peer}: its shares are of another session")
            self.held[peer] = plain[len(head) :]

    def pair_seed(self, peer: str, k: int) -> bytes:
        """Return the seed s of a sum and a neighbour."""
        return hmac.digest(self.agreed[peer], self.session + k.to_bytes(4, "little"), "sha256")

    def masked(self, k: int, words: NDArray[Any]) -> NDArray[Any]:
        """Return the words of sum k behind all masks."""
        total = words.reshape(-1) + generated(self.seeds[k], words.size, words.dtype)
        for peer in self.agreed:
            mask = generated(self.pair_seed(peer, k), words.size, words.dtype)
            total = total + mask if self.name < peer else total - mask
        return np.asarray(total.reshape(words.shape))

    def reveal(self, k: int, present: Iterable[str], absent: Iterable[str]) -> dict[str, dict[str, bytes]]:
        """Return the own seed of sum k, shares of the seeds of those present, and seeds of pairs with the absent."""
        here, gone = set(present) & set(self.agreed), set(absent) & set(self.agreed)
        if k in self.revealed or here & gone or here | gone != set(self.agreed):
            raise DataError(f"sum {k}: a client is present or absent, and a sum is unmasked once")
        if len(here) + 1 < self.least:
            raise DataError(f"sum {k}: {len(here) + 1} clients are present; at least {self.least} must be")
        self.revealed.add(k)
        part = slice(k * SHARE, (k + 1) * SHARE)
        return {
            "own": {self.name: self.seeds[k]},
            "shares": {peer: self.held[peer][part] for peer in here},
            "pairs": {peer: self.pair_seed(peer, k) for peer in gone},
        }


Revealed = Mapping[str, Mapping[str, Mapping[str, bytes]]]  # by client, by "own", "shares" and "pairs", by client


def unmasked(total: NDArray[Any], present: Iterable[str], near: Mapping[str, list[str]], revealed: Revealed) -> Any:
    """Take the masks off a sum over those present, by what they revealed; None where too little is known."""
    here = set(present)
    result = total.reshape(-1).copy()
    for name in here:
        seed = revealed[name]["own"][name] if name in revealed else restored(name, near, revealed)
        if seed is None:
            return None
        result -= generated(seed, result.size, result.dtype)
        for peer in set(near[name]) - here:
            if name not in revealed:
                return None
            mask = generated(revealed[name]["pairs"][peer], result.size, result.dtype)
            result = result - mask if name < peer else result + mask
    return result.reshape(total.shape)


def restored(name: str, near: Mapping[str, list[str]], revealed: Revealed) -> bytes | None:
    """Return the seed of a client that died after its words were in, from its neighbours' shares."""
    shares = [
        revealed[peer]["shares"][name] for peer in near[name] if peer in revealed and name in revealed[peer]["shares"]
    ]
    least = threshold(len(near[name]))
    return bytes(combine_shares(shares[:least])) if len(shares) >= least else None
