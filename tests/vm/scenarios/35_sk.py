"""The responder for shared keys; the scenario itself is the initiator."""

import errno
import hashlib
import hmac
import secrets
import struct

import kernel
import sk
from bed import scenario

OBD = "lustre-MDT0000-mdc-ff2dfdc40a66a800"
SVC_SK = 1 | 2 << 16


def first_token(shared, private, flags, obd=OBD):
    fields = [
        sk.VERSION,
        secrets.token_bytes(4),
        sk.PRIME.to_bytes(256, "big"),
        pow(sk.GENERATOR, private, sk.PRIME).to_bytes(256, "big"),
        obd.encode() + b"\0",
        hashlib.sha256(shared.nodemap.encode()).digest(),
        struct.pack(">I", flags),
    ]
    return sk.signed(shared, fields)


@scenario
def both_ends_of_an_sk_context_have_the_same_keys(bed):
    """With integrity and with privacy."""
    kernel.order(f"obd {OBD} 4 up")
    shared = bed.server.shared_key = sk.SharedKey(secrets.token_bytes(32))
    for flags in (0x01 | 0x40, 0x01 | 0x80):
        bed.server.accepted.clear()
        private = secrets.randbelow(sk.PRIME - 2) + 1
        token = first_token(shared, private, flags)
        failure, status, reply = kernel.channel_write(OBD, token, lustre_svc=SVC_SK)
        assert (failure, status) == (0, 0) and reply[:16] == struct.pack("=IIII", 0, 0, 0, 2048), (status, reply[:16])
        answer = reply[32:][: struct.unpack_from("=I", reply, 28)[0]]
        version, _, public, mac = fields = sk.from_netstrings(answer)
        assert version == sk.VERSION and mac == hmac.digest(shared.secret, b"".join(fields[:3]), "sha256")
        secret = pow(int.from_bytes(public, "big"), private, sk.PRIME).to_bytes(256, "big")
        keys = sk.session_keys(shared, secret, token, answer, flags)
        assert bed.server.accepted[0].sk == keys and len(keys.encryption) == (32 if flags & 0x80 else 0)


@scenario
def the_server_refuses_another_shared_key_or_target(bed):
    """The reply has a major status only; without a shared key on the server the RPC is denied."""
    kernel.order(f"obd {OBD} 4 up")
    shared = sk.SharedKey(secrets.token_bytes(32))
    assert kernel.channel_write(OBD, first_token(shared, 5, 1), lustre_svc=SVC_SK)[:2] == (0, -errno.EACCES)
    bed.server.shared_key = sk.SharedKey(secrets.token_bytes(32))
    _, status, reply = kernel.channel_write(OBD, first_token(shared, 5, 1), lustre_svc=SVC_SK)
    assert status == 0 and reply[:24] == struct.pack("=IIIIII", 0, 0x0D0000, 0, 0, 0, 0), reply[:24]
    bed.server.shared_key = shared
    _, status, reply = kernel.channel_write(OBD, first_token(shared, 5, 1, "other"), lustre_svc=SVC_SK)
    assert status == 0 and reply[:24] == struct.pack("=IIIIII", 0, 0x0D0000, 0, 0, 0, 0), reply[:24]
