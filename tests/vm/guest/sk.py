"""The responder of the shared secret key mechanism: a server's reply to a client's token, and the keys of the context."""

import hashlib
import hmac
import os
import secrets
import struct
from dataclasses import dataclass

VERSION = struct.pack(">I", 1)
GENERATOR = 2
PRIVACY = 0x80
ROUNDS = 10000


@dataclass
class SharedKey:
    """The secret and parameters that client and server share; `self_nid` is the client's."""

    secret: bytes
    nodemap: str = "default"
    hmac: str = "sha256"
    cipher_key_size: int = 32
    self_nid: int = 0x20000C0A84D02


@dataclass
class SessionKeys:
    """Keys of one context; `encryption` is empty unless the client has asked for privacy."""

    flags: int
    integrity: bytes
    encryption: bytes


class Refused(Exception):
    """The client's token is invalid."""


def respond(shared, obd, token):
    """Returns the server's token and the SessionKeys."""
    fields = from_netstrings(token)
    if len(fields) != 8:
        raise Refused(f"{len(fields)} fields")
    version, random, prime, public, target, nodemap, flags, mac = fields
    if not hmac.compare_digest(mac, hmac.digest(shared.secret, b"".join(fields[:7]), "sha256")):
        raise Refused("HMAC")
    if version != VERSION or len(random) != 4 or len(flags) != 4:
        raise Refused("form")
    if target != obd.encode() + b"\0" or nodemap != hashlib.sha256(shared.nodemap.encode()).digest():
        raise Refused("target or nodemap")
    p, peer = int.from_bytes(prime, "big"), int.from_bytes(public, "big")
    if not 1 < peer < p - 1:
        raise Refused("public key")
    private = secrets.randbelow(p - 2) + 1
    mine = [VERSION, os.urandom(4), pow(GENERATOR, private, p).to_bytes(len(prime), "big")]
    answer = to_netstrings(mine + [hmac.digest(shared.secret, b"".join(mine), "sha256")])
    secret = pow(peer, private, p).to_bytes(len(prime), "big")
    return answer, session_keys(shared, secret, token, answer, struct.unpack(">I", flags)[0])


def session_keys(shared, secret, client_token, server_token, flags):
    """Both sides compute the same."""
    said = secret + struct.pack("=Q", shared.self_nid) + client_token + server_token
    stream, counter = b"", 0
    while len(stream) < shared.cipher_key_size:
        stream += hmac.digest(shared.secret, struct.pack(">I", counter) + said, shared.hmac)
        counter += 1
    session = stream[: shared.cipher_key_size]
    integrity = hashlib.pbkdf2_hmac(shared.hmac, b"Integrity", session, ROUNDS)
    encryption = hashlib.pbkdf2_hmac(shared.hmac, b"Encrypt", session, ROUNDS, 32) if flags & PRIVACY else b""
    return SessionKeys(flags, integrity, encryption)


def to_netstrings(fields):
    return b"".join(b"%d:%s," % (len(field), field) for field in fields)


def from_netstrings(data):
    fields = []
    while data:
        length, colon, rest = data.partition(b":")
        if not colon or not length.isdigit() or rest[int(length) : int(length) + 1] != b",":
            raise Refused("netstring")
        fields.append(rest[: int(length)])
        data = rest[int(length) + 1 :]
    return fields
