"""Starting the scoring service as a child process, and stopping it with Ctrl-C."""

from __future__ import annotations

import signal
import socket
import subprocess
from types import FrameType

from features.errors import LikelierError
from pipelines.workspace import Workspace
from serving.launch import command


class PortTaken(LikelierError):
    """A port on which something else listens already."""

    code = "port_taken"


def require_free(port: int) -> None:
    """Raise `PortTaken` when something listens on 127.0.0.1:`port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise PortTaken(
                f"Port {port} on 127.0.0.1 cannot be listened on: {error}.",
                hint="Stop what listens there, or name another port with --port.",
                port=port,
            ) from error


def serve(workspace: Workspace, port: int) -> int:
    """Run the service on 127.0.0.1 until it is told to stop; return its exit code."""
    workspace.store.require_current()
    require_free(port)
    argv, environment = command(workspace.folder, port)
    print(f"Serving on http://127.0.0.1:{port} until Ctrl-C", flush=True)
    child = subprocess.Popen(argv, env=environment)

    def stop(number: int, frame: FrameType | None) -> None:
        child.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    try:
        code = child.wait()
    except KeyboardInterrupt:
        # The terminal has told the child as well; wait for requests in hand to finish.
        try:
            child.wait(timeout=15)
        except subprocess.TimeoutExpired:
            child.terminate()
            child.wait()
        code = 0
    return 0 if code in (0, -signal.SIGTERM, 128 + signal.SIGTERM) else code or 0
