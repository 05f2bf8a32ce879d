"""A Kerberos realm in the guest: MIT's KDC, keytabs of server and client, users' tickets."""

import contextlib
import os
import shutil
import signal
import subprocess
import time

REALM = "EXAMPLE.TEST"
DIRECTORY = "/run/realm"
SERVER_KEYTAB = f"{DIRECTORY}/server.keytab"
CLIENT_KEYTAB = "/etc/krb5.keytab"
KEPT_KEYTAB = f"{DIRECTORY}/client.keytab"
SERVER = "srv.example.test"
CLIENT = "client.example.test"
# Principals in the node's keytab, which scenarios put back, so their keys stay.
OWN = [f"lustre_root/{CLIENT}", f"host/{CLIENT}"]
ENCTYPES = (
    "aes256-cts-hmac-sha1-96",
    "aes128-cts-hmac-sha1-96",
    "aes256-cts-hmac-sha384-192",
    "aes128-cts-hmac-sha256-128",
)

KRB5_CONF = "/etc/krb5.conf"
CONFIGURATION = f"""
[libdefaults]
    default_realm = {REALM}
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    rdns = false
    default_ccache_name = FILE:/tmp/krb5cc_%{{uid}}
[realms]
    {REALM} = {{
        kdc = 127.0.0.1:88
    }}
[domain_realm]
    .example.test = {REALM}
"""

KDC_CONF = f"""
[kdcdefaults]
    kdc_listen = 127.0.0.1:88
    kdc_tcp_listen = 127.0.0.1:88
[realms]
    {REALM} = {{
        database_name = {DIRECTORY}/principal
        key_stash_file = {DIRECTORY}/stash
        acl_file = {DIRECTORY}/acl
        max_renewable_life = 1d
        supported_enctypes = {' '.join(name + ':normal' for name in ENCTYPES)}
    }}
[logging]
    kdc = FILE:{DIRECTORY}/kdc.log
"""


class Realm:
    """Made once, for all scenarios that use it."""

    def __init__(self):
        os.makedirs(DIRECTORY, mode=0o700)
        self.configure()
        write(f"{DIRECTORY}/kdc.conf", KDC_CONF)
        self.tool(["kdb5_util", "create", "-s", "-P", "master"])
        orders = [f"addprinc -pw secret {user}" for user in ("alice", "bob", "carol", "dave")]
        orders += self.service(SERVER_KEYTAB, [f"lustre_{service}/{SERVER}" for service in ("mds", "oss", "mgs")])
        orders += self.service(CLIENT_KEYTAB, OWN)
        self.admin(*orders)
        shutil.copyfile(CLIENT_KEYTAB, KEPT_KEYTAB)
        self.known = {f"lustre_{service}/{SERVER}" for service in ("mds", "oss", "mgs")} | {f"lustre_root/{CLIENT}", f"host/{CLIENT}"}
        self.kdc = None
        self.start_kdc()
        self.logged = 0

    @staticmethod
    def service(keytab, principals):
        return [order for name in principals for order in (f"addprinc -randkey {name}", f"ktadd -k {keytab} {name}")]

    def tool(self, words, directory=DIRECTORY, **options):
        environment = os.environ | {"KRB5_KDC_PROFILE": f"{directory}/kdc.conf"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, **options)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def admin(self, *orders):
        """Runs commands in kadmin.local, which reports errors on stderr only."""
        self.tool(["kadmin.local"], input="".join(order + "\n" for order in orders))

    def start_kdc(self):
        self.kdc = run_kdc(REALM, DIRECTORY)

    @staticmethod
    def configure(*settings, realms=None):
        """Writes the node's krb5.conf, which stays until the scenario ends, with these lines in [libdefaults] and these realms by their KDCs' ports."""
        more = "".join(f"    {line}\n" for line in settings)
        others = "".join(f"    {realm} = {{\n        kdc = 127.0.0.1:{port}\n    }}\n" for realm, port in (realms or {}).items())
        text = CONFIGURATION.replace("[libdefaults]\n", "[libdefaults]\n" + more).replace("[realms]\n", "[realms]\n" + others)
        if os.path.exists(KRB5_CONF) and open(KRB5_CONF).read() == text:
            return
        write(KRB5_CONF, text)
        # The library checks once a second whether the file has changed; so do KDC and acceptor.
        written = int(time.time())
        while int(time.time()) == written:
            time.sleep(0.01)

    def stop_kdc(self):
        self.kdc.kill()
        self.kdc.wait()

    def as_exchanges(self, client):
        """Lines of this scenario in the KDC's log about tickets got with a key or password."""
        with open(f"{DIRECTORY}/kdc.log") as file:
            file.seek(self.logged)
            return [line for line in file if "AS_REQ" in line and f" {client}@{REALM} for " in line]

    def keytab(self, path, *principals):
        """A keytab with these principals, made when needed; principals in this node's keytab keep their keys, others get new ones."""
        if os.path.exists(path):
            os.unlink(path)
        for name in set(principals) - self.known:
            self.known.add(name)
            self.admin(f"addprinc -randkey {name}")
        as_it_is = lambda name: "-norandkey " if name in OWN else ""
        self.admin(*(f"ktadd -k {path} {as_it_is(name)}{name}" for name in principals))

    def reset(self):
        self.configure()
        shutil.copyfile(KEPT_KEYTAB, CLIENT_KEYTAB)
        os.chmod(CLIENT_KEYTAB, 0o600)
        self.logged = os.path.getsize(f"{DIRECTORY}/kdc.log")
        self.kdc.send_signal(signal.SIGCONT)
        if self.kdc.poll() is not None:
            self.start_kdc()
            self.logged = 0

    @contextlib.contextmanager
    def trusted(self, realm, *users):
        """Another realm with its own KDC, trusted by ours; krb5.conf has it until the scenario ends."""
        directory = f"{DIRECTORY}/{realm}"
        os.makedirs(directory)
        write(f"{directory}/kdc.conf", KDC_CONF.replace(DIRECTORY, directory).replace(REALM, realm).replace(":88", ":89"))
        self.configure(realms={realm: 89})
        trust = f"addprinc -pw trust krbtgt/{REALM}@{realm}"
        self.tool(["kdb5_util", "-r", realm, "create", "-s", "-P", "master"], directory)
        users = "".join(f"addprinc -pw secret {user}\n" for user in users)
        self.tool(["kadmin.local", "-r", realm], directory, input=f"{users}{trust}\n")
        self.admin(trust)
        kdc = run_kdc(realm, directory)
        try:
            yield
        finally:
            kdc.kill()
            kdc.wait()
            self.admin(f"delprinc -force krbtgt/{REALM}@{realm}")
            shutil.rmtree(directory)

    @staticmethod
    def ticket(requester, user, **options):
        """Runs kinit as the requester, into its default cache if none is named."""
        requester.run(kinit(user, **options))


def run_kdc(realm, directory):
    """Starts a KDC with the configuration there; it listens on return."""
    environment = os.environ | {"KRB5_KDC_PROFILE": f"{directory}/kdc.conf"}
    write(f"{directory}/kdc.log", "")
    kdc = subprocess.Popen(["krb5kdc", "-n", "-r", realm], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while "commencing operation" not in open(f"{directory}/kdc.log").read():
        assert kdc.poll() is None and time.monotonic() < deadline, "the KDC does not start"
        time.sleep(0.02)
    return kdc


def kinit(user, *, cache=None, lifetime="1h", renewable=None, service=None):
    """A step in the requester's session that gets a ticket, into the default cache if none is named."""
    words = ["kinit", "-l", lifetime]
    for option, value in (("-r", renewable), ("-S", service), ("-c", cache)):
        words += [option, value] if value else []
    environment = {"PATH": os.environ["PATH"], "KRB5_CONFIG": KRB5_CONF}

    def step():
        done = subprocess.run([*words, user], input="secret\n", env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (words, done.stderr)

    return step


def write(path, text):
    with open(path, "w") as file:
        file.write(text)
