"""A KDC behind HTTPS (MS-KKDCP), by kdcproxy: kdc_proxy.py CERTIFICATE KEY.

Prints "port N" once it listens on 127.0.0.1; the realms are in the file that KDCPROXY_CONFIG names.
"""

import ssl
import sys
from wsgiref.simple_server import make_server

import kdcproxy


def main():
    certificate, key = sys.argv[1:]
    server = make_server("127.0.0.1", 0, kdcproxy.Application())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print(f"port {server.server_port}", flush=True)
    server.serve_forever()


main()
