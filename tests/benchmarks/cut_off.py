"""``python -m tests.benchmarks.cut_off``: sends a byte while packets are dropped, and waits."""

from __future__ import annotations

import socket
import sys

from benchmarks.chaos.network import drop, enter, let_pass, may_drop


def main() -> None:
    enter("tests.benchmarks.cut_off", sys.argv[1:])
    if not may_drop():
        print("not allowed")
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0] as peer:
            drop(port)
            client.sendall(b"x")
            peer.settimeout(1)
            try:
                print("broken" if peer.recv(1) else "ended")
            except TimeoutError:
                print("silent")
            let_pass(port)
            peer.settimeout(20)
            print("arrived" if peer.recv(1) == b"x" else "lost")


if __name__ == "__main__":
    main()
