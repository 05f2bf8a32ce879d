"""A witness of what is written to the files of a directory."""

import os
import struct

from requester import LIBC

IN_MODIFY, IN_CLOSE_WRITE, IN_CLOSE_NOWRITE, IN_OPEN = 0x2, 0x8, 0x10, 0x20


class Written:
    """Counts writes, by inotify(7)."""

    def __init__(self, directory):
        self.events = LIBC.inotify_init1(os.O_NONBLOCK)
        # Opening and closing, too: otherwise the kernel tells two writes in a row as one.
        wanted = IN_MODIFY | IN_CLOSE_WRITE | IN_CLOSE_NOWRITE | IN_OPEN
        assert LIBC.inotify_add_watch(self.events, directory.encode(), wanted) > 0
        self.writes = 0

    def count(self):
        while True:
            try:
                data = os.read(self.events, 1 << 16)
            except BlockingIOError:
                return self.writes
            while data:
                _, mask, _, length = struct.unpack_from("=iIII", data)
                self.writes += mask == IN_MODIFY
                data = data[16 + length :]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.events)
