"""What every test may rely on: a quiet environment, the real data sets, a free port."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.redis_server import redis_server

CHECKOUT = Path(__file__).resolve().parent.parent

# Read by the libraries when they are imported, and by the processes that tests start.
_bentoml_home = tempfile.TemporaryDirectory(prefix="likelier-bentoml-")
os.environ.setdefault("BENTOML_HOME", _bentoml_home.name)
os.environ["BENTOML_DO_NOT_TRACK"] = "True"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")

# Deadlines judge the machine, not the law. A found case prints the blob that replays it.
settings.register_profile("ci", derandomize=False, print_blob=True, deadline=None)
settings.register_profile("thorough", settings.get_profile("ci"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_unconfigure() -> None:
    """Remove the folder BentoML wrote to."""
    _bentoml_home.cleanup()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real public data sets: LIKELIER_DATA, else `../shared/data` of the checkout."""
    named = os.environ.get("LIKELIER_DATA")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"No data sets at {folder}: set LIKELIER_DATA to the folder that holds them.")
    return folder


@pytest.fixture
def free_port() -> int:
    """A TCP port of the loopback address nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Redis server, shared: everybody takes a project name of their own."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(params=["lmdb", "redis"])
def online_url(request: pytest.FixtureRequest) -> str:
    """Each kind of online store in turn, as `serving.online` names it."""
    return "lmdb" if request.param == "lmdb" else str(request.getfixturevalue("redis_url"))
