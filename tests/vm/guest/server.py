"""The server behind init_channel: a GSS acceptor with a keytab, or any answer that a scenario chooses."""

import ctypes
import errno
import functools
import math
import os
import struct
import threading
from dataclasses import dataclass, field

import sk

DEVICE = "/dev/lgss-server"
HEADER = struct.Struct("=QIIIIII64s")
ANSWER = struct.Struct("=QqiI")
WINDOW = 2048
KRB5, GSSNULL, SK = 0, 1, 2
GSS_S_FAILURE = 0x0D0000


@dataclass
class Rpc:
    """One SEC_CTX_INIT, as the server receives it."""

    number: int
    secid: int
    lustre_svc: int
    mech: int
    uid: int
    gid: int
    obd: str
    token: bytes


@dataclass
class Answer:
    """`status` of the RPC itself; `write_errno` with which write(2) fails; `body` of the reply buffer, any bytes."""

    body: bytes = b""
    status: int = 0
    write_errno: int = 0


@dataclass
class Accepted:
    """A context at the server. krb5: keys by lucid export, (enctype, bytes), with subkey None if there is none; the initiator's first
    sequence number; the end of the ticket. sk: SessionKeys. gssnull: the server's token."""

    rpc: Rpc
    handle: bytes
    initiator: str = ""
    key: tuple = None
    subkey: tuple = None
    sequence: int = 0
    endtime: int = 0
    sk: object = None
    token: bytes = b""


def padded(data):
    return struct.pack("=I", len(data)) + data + bytes(-len(data) % 4)


def reply(handle=b"", token=b"", *, window=WINDOW, major=0, minor=0):
    """A well-formed reply buffer, whose own status is 0."""
    return struct.pack("=IIII", 0, major, minor, window) + padded(handle) + padded(token)


def failed(number):
    """Answers with an RPC that failed with this errno."""
    return lambda rpc: Answer(status=-number)


def refused_write(number):
    return lambda rpc: Answer(write_errno=number)


def garbage(body):
    return lambda rpc: Answer(body=body)


def refusing(major, minor=0):
    """Answers with a GSS error."""
    return lambda rpc: Answer(reply(window=0, major=major, minor=minor))


def silent(rpc):
    """Does not answer: the RPC hangs until its time is over or the writer is killed."""
    return None


class HeldAnswers:
    """Honest answers that wait until `go` is set, or the server is reset; `begun` is set by the first RPC."""

    def __init__(self, server):
        self.begun, self.go, self.server = threading.Event(), threading.Event(), server

    def __call__(self, rpc):
        self.begun.set()
        self.go.wait(60)
        return self.server.accept(rpc)


@dataclass
class Server:
    """`answer` takes an Rpc and returns an Answer, or None for no answer; it may block. `accept` answers honestly.

    `shared_key` is an sk.SharedKey; without one, sk is denied.
    """

    keytab: str
    answer: object = None
    accepted: list = field(default_factory=list)
    rpcs: list = field(default_factory=list)
    problems: list = field(default_factory=list)
    shared_key: object = None
    held: object = None

    def __post_init__(self):
        self.device = os.open(DEVICE, os.O_RDWR)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            message = os.read(self.device, 1 << 17)
            number, secid, svc, mech, uid, gid, _, obd = HEADER.unpack_from(message)
            rpc = Rpc(number, secid, svc, mech, uid, gid, obd.split(b"\0")[0].decode(), message[HEADER.size :])
            threading.Thread(target=self.serve_one, args=(rpc,), daemon=True).start()

    def serve_one(self, rpc):
        self.rpcs.append(rpc)
        try:
            answer = (self.answer or self.accept)(rpc)
        except Exception as failure:
            self.problems.append(f"{type(failure).__name__}: {failure}")
            answer = Answer(status=-errno.EPROTO)
        if answer is None:
            return
        head = ANSWER.pack(rpc.number, answer.status, answer.write_errno, len(answer.body))
        try:
            os.write(self.device, head + answer.body)
        except ProcessLookupError:
            pass

    def hold(self):
        """From now on answers wait."""
        self.answer = self.held = HeldAnswers(self)
        return self.held

    def reset(self):
        if self.held:
            self.held.go.set()
        self.answer = self.held = None
        self.shared_key = None
        self.accepted.clear()
        self.rpcs.clear()
        self.problems.clear()

    def accept(self, rpc):
        if rpc.mech == GSSNULL:
            return self.accept_gssnull(rpc)
        if rpc.mech == KRB5:
            return self.accept_krb5(rpc)
        if rpc.mech == SK and self.shared_key:
            return self.accept_sk(rpc)
        return Answer(status=-errno.EACCES)

    def accept_sk(self, rpc):
        try:
            token, keys = sk.respond(self.shared_key, rpc.obd, rpc.token)
        except sk.Refused as failure:
            self.problems.append(f"sk: {failure}")
            return Answer(reply(window=0, major=GSS_S_FAILURE))
        made = Accepted(rpc, os.urandom(8), sk=keys)
        self.accepted.append(made)
        return Answer(reply(made.handle, token))

    def accept_gssnull(self, rpc):
        made = Accepted(rpc, os.urandom(8), token=os.urandom(8))
        self.accepted.append(made)
        return Answer(reply(made.handle, made.token))

    def accept_krb5(self, rpc):
        import gssapi

        kerberos = [gssapi.MechType.kerberos]
        credentials = gssapi.Credentials(usage="accept", store={"keytab": self.keytab}, mechs=kerberos)
        try:
            result = gssapi.raw.accept_sec_context(rpc.token, acceptor_creds=credentials)
        except gssapi.exceptions.GSSError as failure:
            self.problems.append(str(failure))
            return Answer(reply(window=0, major=failure.maj_code & 0xFFFFFFFF))
        made = Accepted(rpc, os.urandom(8), str(gssapi.Name(result.initiator_name)))
        lucid = exported(result.context)
        made.key, made.subkey = keys_of(lucid)
        made.sequence, made.endtime = lucid.recv_seq, lucid.endtime
        self.accepted.append(made)
        return Answer(reply(made.handle, result.token or b""))


def exported(context):
    """The context as lucid export shows it; the context is gone afterwards."""
    from gssapi.raw import ext_krb5

    return ext_krb5.krb5_export_lucid_sec_context(context, 1)


def lucid_keys(context):
    """((enctype, key), (enctype, acceptor subkey) or None); the context is gone afterwards."""
    return keys_of(exported(context))


def keys_of(lucid):
    cfx = lucid.cfx_kd
    key = (cfx.ctx_key_type, cfx.ctx_key)
    subkey = (cfx.acceptor_subkey_type, cfx.acceptor_subkey) if cfx.acceptor_subkey else None
    return key, subkey


def n_fold(data, size):
    """n-fold (RFC 3961 section 5.1): adds copies in ones' complement, each rotated by 13 more bits."""
    bits, whole = 8 * len(data), int.from_bytes(data, "big")
    copies = b""
    for copy in range(math.lcm(len(data), size) // len(data)):
        turn = 13 * copy % bits
        copies += ((whole >> turn | whole << (bits - turn)) & ((1 << bits) - 1)).to_bytes(len(data), "big")
    total = sum(int.from_bytes(copies[at : at + size], "big") for at in range(0, len(copies), size))
    while total >> 8 * size:
        total = (total & ((1 << 8 * size) - 1)) + (total >> 8 * size)
    return total.to_bytes(size, "big")


@functools.cache
def derived(key, usage, kind):
    """DK of RFC 3961 with AES: the keys that both ends of a context must have."""
    block = n_fold(struct.pack(">IB", usage, kind), 16)
    made = b""
    while len(made) < len(key):
        block = encrypted_block(key, block)
        made += block
    return made[: len(key)]


def encrypted_block(key, block):
    """AES with OpenSSL's library: openssl(1) for each block would take most of a scenario's time."""
    crypto = ctypes.CDLL("libcrypto.so.3")
    crypto.EVP_CIPHER_CTX_new.restype = ctypes.c_void_p
    cipher = getattr(crypto, f"EVP_aes_{8 * len(key)}_ecb")
    cipher.restype = ctypes.c_void_p
    context = ctypes.c_void_p(crypto.EVP_CIPHER_CTX_new())
    out, length = ctypes.create_string_buffer(32), ctypes.c_int()
    assert crypto.EVP_EncryptInit_ex(context, ctypes.c_void_p(cipher()), None, key, None) == 1
    crypto.EVP_CIPHER_CTX_set_padding(context, 0)
    assert crypto.EVP_EncryptUpdate(context, out, ctypes.byref(length), block, len(block)) == 1 and length.value == 16
    crypto.EVP_CIPHER_CTX_free(context)
    return out.raw[:16]


def kernel_keys(made):
    """Ke, Ki and Kc that the client's kernel must have for this context, and their enctype."""
    enctype, base = made.subkey or made.key
    return enctype, [derived(base, 22, 0xAA), derived(base, 22, 0x55), derived(base, 23, 0x99)]
