"""A terminal that remembers what was drawn on it."""

import fcntl
import os
import re
import struct
import termios
import threading

# What moves the cursor up or paints: a line that is drawn anew needs neither.
ESCAPE = "\x1b"


class Terminal:
    """A pseudo-terminal; `stream` is what programs write to.

    After `close`:

    Attributes:
        written: All that was written.
        lines: What is left to see, line by line.
    """

    def __init__(self, columns):
        self._columns = columns
        self._shown, tty = os.openpty()
        size = struct.pack("HHHH", 24 if columns else 0, columns, 0, 0)
        fcntl.ioctl(tty, termios.TIOCSWINSZ, size)
        self.stream = open(tty, "w", buffering=1, encoding="utf-8")
        self._bytes = bytearray()
        # A terminal that nobody reads is full after four kilobytes.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self):
        self.stream.close()
        self._reader.join()
        os.close(self._shown)
        self.written = self._bytes.decode("utf-8")
        self.lines = self._drawn()

    @property
    def frames(self):
        """Everything that was to be seen on a line at some time."""
        return [text.rstrip() for text in re.split("[\r\n]+", self.written)]

    def _read(self):
        # Its end is an error on Linux.
        try:
            while part := os.read(self._shown, 1 << 16):
                self._bytes += part
        except OSError:
            pass

    def _drawn(self):
        lines = [""]
        place = 0
        for character in self.written:
            if character == "\r":
                place = 0
                continue
            if character == "\n" or place == self._columns > 0:
                lines.append("")
                place = 0
            if character != "\n":
                old = lines[-1]
                lines[-1] = old[:place] + character + old[place + 1 :]
                place += 1
        return [line.rstrip() for line in lines]
