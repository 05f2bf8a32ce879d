"""A KDC whose answers come late."""

import socket
import threading
import time

from realm import KRB5_CONF

LATE_PORT = 1088


class LateKdc:
    """A proxy before the KDC, over UDP, that delays its answers by `seconds`."""

    def __init__(self, bed):
        self.seconds = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", LATE_PORT))
        threading.Thread(target=self.serve, daemon=True).start()
        bed.realm.configure()
        with open(KRB5_CONF) as file:
            text = file.read()
        assert "kdc = 127.0.0.1:88" in text
        with open(KRB5_CONF, "w") as file:
            file.write(text.replace("kdc = 127.0.0.1:88", f"kdc = 127.0.0.1:{LATE_PORT}"))

    def serve(self):
        while True:
            try:
                request, client = self.socket.recvfrom(1 << 16)
            except OSError:
                return
            threading.Thread(target=self.relay, args=(request, client, self.seconds), daemon=True).start()

    def relay(self, request, client, seconds):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kdc:
            kdc.connect(("127.0.0.1", 88))
            kdc.settimeout(30)
            kdc.send(request)
            try:
                answer = kdc.recv(1 << 16)
            except TimeoutError:
                # A request that was sent again while the first was being answered: the KDC answers once.
                return
        time.sleep(seconds)
        try:
            self.socket.sendto(answer, client)
        except OSError:
            # The scenario has ended.
            pass

    def close(self):
        try:
            # Wakes the threads that read from it.
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
