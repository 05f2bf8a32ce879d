"""Users in containers: their credentials exist only there, under the ids inside."""

import errno
import subprocess
import time

import requester
from bed import KEYRING, scenario
from containers import MS_BIND, mount, own_process_numbers, private_tmp, subordinate_uids
from kcm import SOCKET, kcm
from realm import kinit
from requester import Requester, join_new_session, keyctl
from sessions import LINK, SESSION, USER, empty_lasting_keyrings
from verdicts import established, failed

SERVICE = "lustre_mds/srv.example.test"


@scenario
def a_user_of_a_container_is_served_from_a_cache_that_is_only_there(bed):
    """Under its uid inside, in mount, user and process-id namespaces; and in its own network with a ticket it already has."""
    bed.realm
    bed.upcall(KEYRING)
    inside = [subordinate_uids(100_000), private_tmp("alice", 1000, ["kvno", SERVICE])]
    for number, more in enumerate(([], [own_process_numbers], [requester.unshare(requester.CLONE_NEWNET)])):
        got = Requester(1000, steps=[*inside, *more]).ask(**bed.target(number))
        made = established(bed, got, "alice")
        assert made.rpc.uid == 101_000, made.rpc
    without = [subordinate_uids(100_000), private_tmp("alice", 1000, ["kdestroy"])]
    failed(bed, Requester(1000, steps=without).ask(**bed.target(9)), errno.ENOKEY)


@scenario
def a_users_container_has_the_krb5_conf_that_a_table_names(bed):
    """The table matches by owner: that file decides where caches are by default; another owner's container gets the host's."""
    bed.realm
    bed.upcall(KEYRING)
    with open("/etc/krb5.conf") as hosts, open("/etc/krb5-alices.conf", "w") as alices:
        alices.write(hosts.read().replace("/tmp/krb5cc_%", "/tmp/elsewhere_%"))
    bed.settings('[namespace.alices]\nowner = 2001\nkrb5_config = "/etc/krb5-alices.conf"\n')
    for number, owner in enumerate((2001, 2002)):
        steps = [subordinate_uids(100_000, owner), private_tmp("alice", 1000, cache="/tmp/elsewhere_1000")]
        got = Requester(1000, steps=steps).ask(**bed.target(number))
        if owner == 2001:
            established(bed, got, "alice")
        else:
            failed(bed, got, errno.ENOKEY)


@scenario
def a_user_of_a_container_is_served_from_its_keyrings(bed):
    """From the session keyring, and from the user keyring of its user namespace, whether the session leads there (pam_keyinit) or not."""
    bed.realm
    bed.upcall(KEYRING)
    inside = [subordinate_uids(100_000), requester.unshare(requester.CLONE_NEWNS)]
    own_user_ring = lambda: keyctl(LINK, USER, SESSION)
    ways = (("KEYRING:session:mine", []), ("KEYRING:user:mine", [own_user_ring]), ("KEYRING:user:mine", []))
    for number, (cache, steps) in enumerate(ways):
        after = [empty_lasting_keyrings, join_new_session, *steps, kinit("alice", cache=cache)]
        got = Requester(1000, steps=inside, after=after).ask(**bed.target(number))
        established(bed, got, "alice")


def lists_at_once(user):
    """Whether the daemon for caches answers quickly; its first steps take seconds here."""
    start = time.monotonic()
    user.run(lambda: subprocess.run(["klist", "-c", "KCM:"], check=True, capture_output=True).returncode)
    # The upcall gives it five seconds and asks several things.
    return time.monotonic() - start < 2.5


@scenario
def the_hosts_kcm_serves_where_its_socket_is_seen_and_nowhere_else(bed):
    """A private /tmp changes nothing; another file in the socket's place does, and the log says so."""
    bed.realm
    bed.upcall(KEYRING)
    with kcm(bed):
        bed.realm.ticket(bed.user("alice"), "dave", cache="KCM:", lifetime="2h")
        bed.until(lambda: lists_at_once(bed.user("alice")), "a daemon that answers within the time that it is given", 60)
        steps, named = [private_tmp("alice", 2001)], {"KRB5CCNAME": "KCM:"}
        established(bed, Requester(2001, steps=steps, environment=named).ask(**bed.target(0)), "dave")
        hide = lambda: mount(b"/dev/null", SOCKET.encode(), None, MS_BIND, None)
        hidden = Requester(2001, steps=[*steps, hide], environment=named)
        established(bed, hidden.ask(**bed.target(2)), "alice")
        without = Requester(2001, steps=[private_tmp("alice", 2001, ["kdestroy"]), hide], environment=named)
        failed(bed, without.ask(**bed.target(1)), errno.ENOKEY)
        bed.log.wait("another mount namespace")
