#!/usr/bin/env python3
"""Requests a context, waits for it in poll(2), signs and encrypts a message; liblgss by ctypes, without further packages.

    python3 lgss_sign.py nfs@srv.example.com rpc:srv.example.com:2049,100003,4
"""

import ctypes
import select
import sys

LGSS_OWN = 0
LGSS_LEVEL_PRIVACY = 3
LIMIT_MS = 60000

POINTER = ctypes.c_void_p
TEXT = ctypes.c_char_p
PLACE = ctypes.POINTER(ctypes.c_void_p)
SIZE = ctypes.c_size_t
SIZE_PLACE = ctypes.POINTER(ctypes.c_size_t)

# The part of lgss.h that is used here: results and arguments.
FUNCTIONS = {
    "lgss_request_new": (ctypes.c_int, TEXT, TEXT, PLACE, PLACE),
    "lgss_request_set_level": (ctypes.c_int, POINTER, ctypes.c_int, PLACE),
    "lgss_request_free": (None, POINTER),
    "lgss_security_new": (ctypes.c_int, POINTER, ctypes.c_int, PLACE, PLACE),
    "lgss_security_free": (None, POINTER),
    "lgss_start": (ctypes.c_int, POINTER, PLACE, PLACE, PLACE),
    "lgss_pending_fd": (ctypes.c_int, POINTER),
    "lgss_pending_result": (ctypes.c_int, POINTER, PLACE, PLACE),
    "lgss_pending_free": (None, POINTER),
    "lgss_context_free": (None, POINTER),
    "lgss_context_principal": (TEXT, POINTER),
    "lgss_context_service": (TEXT, POINTER),
    "lgss_mic_size": (SIZE, POINTER),
    "lgss_sealed_size": (SIZE, POINTER, SIZE),
    "lgss_sign": (ctypes.c_int, POINTER, TEXT, SIZE, POINTER, SIZE_PLACE, PLACE),
    "lgss_seal": (ctypes.c_int, POINTER, TEXT, SIZE, POINTER, SIZE_PLACE, PLACE),
    "lgss_error_cause": (TEXT, POINTER),
    "lgss_error_detail": (TEXT, POINTER),
    "lgss_error_remedy": (TEXT, POINTER),
    "lgss_error_free": (None, POINTER),
}


def load():
    library = ctypes.CDLL("liblgss.so.0")
    for name, (result, *arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


class Failure(Exception):
    """What the library says about a failure."""

    def __init__(self, library, error):
        super().__init__(library.lgss_error_cause(error).decode())
        self.detail = library.lgss_error_detail(error).decode()
        self.remedy = library.lgss_error_remedy(error).decode()
        library.lgss_error_free(error)


class Security:
    """One service over one channel."""

    def __init__(self, library, service, channel):
        self.library = library
        request, self.security = POINTER(), POINTER()
        self.call("lgss_request_new", service.encode(), channel.encode(), ctypes.byref(request))
        try:
            self.call("lgss_request_set_level", request, LGSS_LEVEL_PRIVACY)
            self.call("lgss_security_new", request, LGSS_OWN, ctypes.byref(self.security))
        finally:
            library.lgss_request_free(request)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.library.lgss_security_free(self.security)

    def call(self, function, *arguments):
        error = POINTER()
        if getattr(self.library, function)(*arguments, ctypes.byref(error)) != 0:
            raise Failure(self.library, error)

    def context(self):
        """A context, to be freed by the caller."""
        context, pending = POINTER(), POINTER()
        self.call("lgss_start", self.security, ctypes.byref(context), ctypes.byref(pending))
        if context:
            return context
        try:
            poll = select.poll()
            poll.register(self.library.lgss_pending_fd(pending), select.POLLIN)
            poll.poll(LIMIT_MS)
            self.call("lgss_pending_result", pending, ctypes.byref(context))
        finally:
            self.library.lgss_pending_free(pending)
        return context

    def protect(self, function, room, context, message):
        """The token that a function makes of a message."""
        token, size = ctypes.create_string_buffer(room), SIZE(room)
        self.call(function, context, message, len(message), token, ctypes.byref(size))
        return token.raw[: size.value]


def sign(library, service, channel):
    message = b"a message"
    with Security(library, service, channel) as security:
        context = security.context()
        try:
            signature = security.protect("lgss_sign", library.lgss_mic_size(context), context, message)
            room = library.lgss_sealed_size(context, len(message))
            sealed = security.protect("lgss_seal", room, context, message)
            principal = (library.lgss_context_principal(context) or b"?").decode()
            print(f"{library.lgss_context_service(context).decode()} as {principal}")
            print(f"{len(message)} bytes of message, {len(signature)} of signature, {len(sealed)} encrypted")
        finally:
            library.lgss_context_free(context)


def main():
    if len(sys.argv) != 3:
        print("usage: lgss_sign.py SERVICE@HOST rpc:HOST:PORT,PROGRAM,VERSION", file=sys.stderr)
        return 2
    try:
        sign(load(), *sys.argv[1:])
    except Failure as failure:
        print(f"lgss_sign: {failure}", file=sys.stderr)
        if failure.detail:
            print(f"  detail: {failure.detail}", file=sys.stderr)
        if failure.remedy:
            print(f"  try:    {failure.remedy}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
