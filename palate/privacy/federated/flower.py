"""The transport: Flower's server and stream of messages on gRPC, with TLS, and keys of clients as files.

Flower's SuperLink and SuperNode install and start projects as apps; a run of ours is one function of one process,
which Flower's stream carries as the tensors of its "fit" messages. The only file that speaks with a network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Lock, Thread
from time import monotonic, sleep
from typing import Any, cast

from palate.errors import DataError, PalateError
from palate.privacy.federated.group import Member
from palate.privacy.federated.messages import Gone, Message
from palate.privacy.federated.party import Party
from palate.privacy.federated.training import member_of
from palate.privacy.federated.work import FederationError, absent

try:
    import grpc
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from flwr.common import Code, FitIns, FitRes, Parameters, Status, serde
    from flwr.proto.transport_pb2 import ClientMessage
    from flwr.proto.transport_pb2_grpc import FlowerServiceStub
    from flwr.server.client_manager import SimpleClientManager
    from flwr.server.client_proxy import ClientProxy
    from flwr.server.superlink.fleet.grpc_bidi.grpc_server import start_grpc_server
    from flwr.supercore.grpc import create_channel
except ModuleNotFoundError as missing:
    raise absent(missing) from None

SIGNED = b"palate federate\0"
HELLO = 20.0  # seconds for a new connection to say who it is
PAUSE = 0.2  # seconds before a client tries again


class FlowerLink:
    """A connected client."""

    def __init__(self, proxy: ClientProxy) -> None:
        self.proxy = proxy

    def ask(self, message: Message, seconds: float) -> Message:
        """Return the answer. Raises `Gone` where none comes in time, `DataError` where it is malformed."""
        head, tensors = message.encoded()
        try:
            answer = self.proxy.fit(FitIns(Parameters(tensors, "palate"), {"head": head}), seconds, None)
        except Exception as error:  # whatever Flower raises when a stream breaks
            raise Gone(
                f"left, or did not answer {message.what!r} within {seconds:g} s ({type(error).__name__})"
            ) from None
        return Message.decoded(str(answer.metrics.get("head", "")), answer.parameters.tensors)

    def close(self) -> None:
        """End the stream."""
        cast("Any", self.proxy).bridge.close()


class Clients(SimpleClientManager):  # type: ignore[misc]
    """The connected clients that said who they are; `keys` are their public keys by name, None lets in any."""

    def __init__(self, keys: dict[str, Any] | None, note: Any) -> None:
        super().__init__()
        self.keys, self.note = keys, note
        self.lock, self.known = Lock(), cast("dict[str, Member]", {})  # by Flower's id of the connection

    def register(self, client: ClientProxy) -> bool:
        """Ask a new connection for its name, beside all else."""
        taken: bool = super().register(client)
        if taken:
            Thread(target=self.meet, args=(client,), daemon=True).start()
        return taken

    def unregister(self, client: ClientProxy) -> None:
        """Drop a connection."""
        super().unregister(client)
        with self.lock:
            self.known.pop(client.cid, None)

    def meet(self, client: ClientProxy) -> None:
        """Take a connection in, or close it."""
        link, challenge = FlowerLink(client), os.urandom(32)
        try:
            hello = link.ask(Message("hello", {"challenge": challenge.hex()}), HELLO)
            member = member_of(link, hello)
            if self.keys is not None:
                verify(self.keys, member, challenge, str(hello.facts.get("signature", "")))
            with self.lock:
                old = [cid for cid, each in self.known.items() if each.name == member.name]
                if old and self.keys is None:
                    raise FederationError(f"client {member.name}: another one has the name")
                for cid in old:  # the key shows that it is the same client, which is back
                    del self.known[cid]
                if client.cid in self.clients:
                    self.known[client.cid] = member
            self.note(f"client {member.name} is here")
        except PalateError as error:
            self.note(f"connection refused: {error}")
            link.close()

    def members(self) -> list[Member]:
        """Return those who are here, by name."""
        with self.lock:
            return sorted(self.known.values(), key=lambda member: member.name)


def verify(keys: dict[str, Any], member: Member, challenge: bytes, signature: str) -> None:
    """Raise `FederationError` unless a client's key signed the challenge and its key for masks."""
    key, data = keys.get(member.name), SIGNED + challenge + member.public
    if key is None:
        raise FederationError(f"client {member.name}: there is no key of this name")
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(bytes.fromhex(signature), data)
        else:
            key.verify(bytes.fromhex(signature), data, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        raise FederationError(f"client {member.name}: the signature is not by its key") from None


def public_keys(folder: Path) -> dict[str, Any]:
    """Read the public keys NAME.pem of a folder. Raises `DataError` for a file that is none, and where none is."""
    keys: dict[str, Any] = {}
    for file in sorted(folder.glob("*.pem")):
        try:
            key = serialization.load_pem_public_key(file.read_bytes())
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey):
            raise DataError(f"{file}: must be a public key, Ed25519 or of an elliptic curve, as PEM")
        keys[file.stem] = key
    if not keys:
        raise DataError(f"{folder}: has no public keys NAME.pem")
    return keys


def private_key(file: Path) -> Any:
    """Read a client's private key. Raises `DataError` for a file that is none."""
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
        raise DataError(f"{file}: must be a private key without a password, Ed25519 or of an elliptic curve, as PEM")
    return key


@contextmanager
def serving(address: str, certificates: tuple[bytes, bytes, bytes] | None, clients: Clients) -> Iterator[str]:
    """Have a server at an address HOST:PORT, port 0 for any that is free; yields the address it has."""
    try:
        server = start_grpc_server(clients, address, certificates=certificates)
    except (SystemExit, RuntimeError, ValueError) as error:
        raise FederationError(f"listen {address}: {error}") from None
    try:
        yield str(cast("Any", server).bound_address)
    finally:
        for client in clients.all().values():
            cast("Any", client).bridge.close()
        server.stop(1.0).wait()


def take_part(party: Party, address: str, root: bytes | None, key: Any, wait: float) -> None:
    """Answer a server until it ends the run; a connection that breaks is made again, `wait` seconds at most.

    root  certificates that the server's must come from; None goes without TLS
    """
    last, state = monotonic(), "it closes connections"
    while monotonic() - last < wait:
        what = ""
        try:
            for asked in stream(party, address, root, key):
                what, last = asked, monotonic()
        except grpc.RpcError as error:
            state = f"{cast('Any', error).code().name}, {cast('Any', error).details()}"[:300]
        if what in ("model", "end") or party.failure:  # the last of a run; the server closes the stream after it
            return
        sleep(PAUSE)
    raise FederationError(f"server {address}: {state}, for {wait:g} s; client {party.name} gives up")


def stream(party: Party, address: str, root: bytes | None, key: Any) -> Iterator[str]:
    """Answer on one connection; yields what was asked."""
    answers: Queue[Any] = Queue()
    with create_channel(address, insecure=root is None, root_certificates=root) as channel:
        try:
            for asked in FlowerServiceStub(channel).Join(iter(answers.get, None)):
                ins = serde.fit_ins_from_proto(asked.fit_ins)
                message, answer = answered(party, str(ins.config.get("head", "")), ins.parameters.tensors, key)
                head, tensors = answer.encoded()
                result = FitRes(Status(Code.OK, ""), Parameters(tensors, "palate"), 0, {"head": head})
                answers.put(ClientMessage(fit_res=serde.fit_res_to_proto(result)))
                yield message
        finally:
            answers.put(None)


def answered(party: Party, head: str, tensors: list[bytes], key: Any) -> tuple[str, Message]:
    """Return what was asked and the answer; a hello is signed."""
    try:
        message = Message.decoded(head, tensors)
    except DataError as error:
        return "", party.failed(str(error))
    answer = party.answer(message)
    if message.what == "hello" and key is not None:
        data = SIGNED + bytes.fromhex(str(message.facts["challenge"])) + party.keys.public
        own = (
            key.sign(data)
            if isinstance(key, ed25519.Ed25519PrivateKey)
            else key.sign(data, ec.ECDSA(hashes.SHA256()))
        )
        return "hello", Message("hello", answer.facts | {"signature": own.hex()}, answer.arrays)
    return message.what, answer
