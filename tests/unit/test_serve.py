"""Starting the service: what is refused before a process is started."""

from __future__ import annotations

import socket

import pytest

from pipelines.serve import PortTaken, require_free


def test_a_port_somebody_listens_on_is_refused_by_name_and_a_free_one_is_not(free_port):
    require_free(free_port)
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port))
        other.listen()
        with pytest.raises(PortTaken, match=rf"Port {free_port} .* another port with --port"):
            require_free(free_port)


def test_a_number_that_is_no_port_is_refused():
    with pytest.raises(PortTaken, match=r"Port 70000 on 127\.0\.0\.1 cannot be listened on"):
        require_free(70_000)
