"""The acceptor behind init_channel is a real one, with MIT's KDC; the scenario itself is the initiator."""

import struct

import kernel
import server
from bed import scenario
from realm import ENCTYPES, SERVER

OBD = "lustre-MDT0000-mdc-ff2dfdc40a66a800"


def negotiate(bed, name, service="lustre_mds"):
    """Negotiates as the user, with the cache that kinit made: (last reply buffer, the initiator's lucid keys)."""
    import gssapi

    kernel.order(f"obd {OBD} {bed.secid} up")
    target = gssapi.Name(f"{service}@{SERVER}", gssapi.NameType.hostbased_service)
    store = {"ccache": f"FILE:/tmp/krb5cc_{bed.user(name).uids[0]}"}
    credentials = gssapi.Credentials(usage="initiate", store=store)
    flags = [gssapi.RequirementFlag.mutual_authentication]
    context = gssapi.SecurityContext(name=target, creds=credentials, usage="initiate", flags=flags)
    token, reply = context.step(), b""
    while token:
        failure, status, reply = kernel.channel_write(OBD, token, secid=bed.secid, uid=bed.user(name).uids[0])
        assert (failure, status) == (0, 0), (failure, status)
        major, _, _, handle_len = struct.unpack_from("=IIII", reply, 4)
        if major:
            return reply, None
        token = context.step(reply[24 + handle_len :][: struct.unpack_from("=I", reply, 20 + handle_len)[0]])
    assert context.complete
    return reply, server.lucid_keys(context)


def context_token(enctype, keys):
    size = len(keys[0])
    return struct.pack("=IIIQIII", 2, 0x7FFFFFFF, 7, 1, enctype, size, 3) + b"".join(keys)


@scenario
def both_ends_of_a_context_have_the_same_keys(bed):
    """For every enctype of the session key; user, handle and window are right, and the kernel takes the token."""
    for number, enctype in zip((18, 17, 20, 19), ENCTYPES):
        bed.realm.configure(f"default_tkt_enctypes = {enctype}", f"default_tgs_enctypes = {enctype}")
        bed.realm.ticket(bed.user("alice"), "alice")
        bed.server.reset()
        reply, client_keys = negotiate(bed, "alice")
        made = bed.server.accepted[0]
        assert made.initiator == "alice@EXAMPLE.TEST" and (made.key, made.subkey) == client_keys, made
        assert struct.unpack_from("=IIIII", reply) == (0, 0, 0, 2048, 8) and reply[20:28] == made.handle
        assert made.key[0] == number and made.subkey, (made.key[0], made.subkey)
        number, keys = server.kernel_keys(made)
        payload = struct.pack("=II", 2048, 8) + made.handle + server.padded(context_token(number, keys))
        bed.trivial("instantiate 0", "fork", f"update-until {payload.hex()} 5000")
        got = bed.user("alice").ask(wait_ms=20000)
        assert (got.state, got.handle) == ("established", made.handle.hex()), got
        kernel.order("flush 2001")
        bed.event("destroy", key=f"{got.serial}")


@scenario
def the_server_refuses_what_it_has_no_key_for(bed):
    """The reply buffer has a major status, no handle, no token, window 0."""
    bed.realm.admin(f"addprinc -randkey lustre_none/{SERVER}")
    bed.realm.ticket(bed.user("bob"), "bob")
    reply, _ = negotiate(bed, "bob", "lustre_none")
    assert struct.unpack_from("=II", reply) == (0, 0x0D0000) and reply[8:24] == bytes(16), reply[:32]


@scenario
def gssnull_is_answered_at_once(bed):
    """The answer has a handle and a token of eight bytes."""
    kernel.order(f"obd {OBD} 4 up")
    failure, status, reply = kernel.channel_write(OBD, bytes(8), lustre_svc=1 | 1 << 16)
    assert (failure, status) == (0, 0)
    assert struct.unpack_from("=IIIII", reply) == (0, 0, 0, 2048, 8) and struct.unpack_from("=I", reply, 28) == (8,)
