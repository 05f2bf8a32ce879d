"""Shared secret keys: their binary form and their place in root's keyring; the responder, a server's reply to a client's token,
and the keys of the context."""

import hashlib
import hmac
import os
import secrets
import struct
import subprocess
from dataclasses import dataclass

VERSION = struct.pack(">I", 1)
GENERATOR = 2
PRIVACY = 0x80
ROUNDS = 10000
# Few, because the guest is slow.
PRIVATE_BITS = 256
CLIENT, SERVER, MGS = 1, 2, 4
HMACS = {"null": 0, "sha256": 1, "sha512": 2}
FORM = struct.Struct(">IHHIIIB16Q65s17s128s2048s")
UNUSED_NID = (1 << 64) - 1
# RFC 3526, group 14.
PRIME = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B"
    "302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6"
    "49286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D"
    "670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718"
    "3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
# A safe prime of 512 bits, with which an emulated processor is done sooner.
SHORT_PRIME = int(
    "FA2D267A88A1DAEA4E948F359A6D792144CBCCE6F0C05BAA21D627BD010755BC"
    "E5CB5E1F47AB197D481155A21CAAE0530C884A7D589A39DB8144EBFEC4C7478F",
    16,
)
# Serial numbers of the keys that scenarios have loaded.
loaded = []


@dataclass
class SharedKey:
    """The secret and parameters that client and server share; `self_nid` is the client's."""

    secret: bytes
    nodemap: str = "default"
    hmac: str = "sha256"
    cipher_key_size: int = 32
    self_nid: int = 0x20000C0A84D02
    expire: int = 604800
    prime: int = PRIME

    @property
    def cipher(self):
        return "ctr(aes)" if self.cipher_key_size else "null"

    def form(self, file_system="", nids=(), types=CLIENT, **others):
        """Its binary form. `others` take the place of the right version, hmac, cipher, expire, secret_bits, prime_bits."""
        prime = self.prime.to_bytes((self.prime.bit_length() + 7) // 8, "big")
        numbers = {
            "version": 1,
            "hmac": HMACS[self.hmac],
            "cipher": int(self.cipher != "null"),
            "expire": self.expire,
            "secret_bits": 8 * len(self.secret),
            "prime_bits": 8 * len(prime),
            "types": types,
        } | others
        nids = [*nids, *[UNUSED_NID] * (16 - len(nids))]
        return FORM.pack(*numbers.values(), *nids, file_system.encode(), self.nodemap.encode(), self.secret, prime)


@dataclass
class SessionKeys:
    """Keys of one context by this shared key; `encryption` is empty unless the client has asked for privacy."""

    shared: SharedKey
    flags: int
    client_random: bytes
    server_random: bytes
    integrity: bytes
    encryption: bytes


def load(name, form, *orders):
    """Loads a key into root's user keyring until the scenario ends, and returns its serial. `orders` are then done with it by
    keyctl(1), such as ("timeout", 1)."""
    steps = ["keyctl link @u @s", f"key=$(keyctl padd user '{name}' @u)", "echo $key"]
    steps += [f"keyctl {verb} $key {' '.join(map(str, arguments))}" for verb, *arguments in orders]
    words = ["keyctl", "session", "-", "sh", "-c", " && ".join(steps)]
    said = subprocess.run(words, input=form, capture_output=True, check=True).stdout.decode().split()
    loaded.append(int(said[-1]))
    return loaded[-1]


def unload():
    """Removes whatever scenarios have loaded."""
    while loaded:
        subprocess.run(["keyctl", "unlink", str(loaded.pop()), "@u"], capture_output=True)


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
    private = secrets.randbits(PRIVATE_BITS) | 1
    mine = [VERSION, os.urandom(4), pow(GENERATOR, private, p).to_bytes(len(prime), "big")]
    answer = signed(shared, mine)
    secret = pow(peer, private, p).to_bytes(len(prime), "big")
    return answer, session_keys(shared, secret, token, answer, struct.unpack(">I", flags)[0])


def signed(shared, fields):
    """A token of these fields, whatever they are, and their HMAC."""
    return to_netstrings([*fields, hmac.digest(shared.secret, b"".join(fields), "sha256")])


def session_keys(shared, secret, client_token, server_token, flags):
    """Both sides compute the same."""
    said = secret + struct.pack("=Q", shared.self_nid) + client_token + server_token
    stream, counter = b"", 0
    while len(stream) < shared.cipher_key_size:
        stream += hmac.digest(shared.secret, struct.pack(">I", counter) + said, shared.hmac)
        counter += 1
    session = stream[: shared.cipher_key_size]
    integrity = encryption = b""
    if shared.hmac != "null":
        integrity = hashlib.pbkdf2_hmac(shared.hmac, b"Integrity", session, ROUNDS)
    if flags & PRIVACY and session:
        encryption = hashlib.pbkdf2_hmac(shared.hmac, b"Encrypt", session, ROUNDS, len(session))
    randoms = [from_netstrings(token)[1] for token in (client_token, server_token)]
    return SessionKeys(shared, flags, *randoms, integrity, encryption)


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
