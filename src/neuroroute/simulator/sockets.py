"""What of TCP asyncio has no words for."""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


def reset_when_closed(transport: asyncio.BaseTransport) -> None:
    """Makes the closing of this connection a TCP reset."""
    # closing with a linger time of zero is what makes TCP send one
    linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def held_port(port: int) -> socket.socket:
    """A port of the loopback that is ours, and where connections are refused until the socket listens.

    Args:
        port: The port; 0: any free one.

    Raises:
        OSError: It is in use.
    """
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two programs listen on one port
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setblocking(False)
        held.bind(("127.0.0.1", port))
    except BaseException:
        held.close()
        raise
    return held
