"""Shops that were run once; a test that changes one works on a copy."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end import shifting
from tests.end_to_end.shops import CHECKOUT, add_july, copy_of, likelier, run, small_shop


@pytest.fixture(scope="session")
def shop(tmp_path_factory) -> Path:
    """A simulated shop of 700 people, run once. Read only."""
    folder = small_shop(tmp_path_factory.mktemp("shops") / "shop", people=700)
    run(folder)
    return folder


@pytest.fixture(scope="session")
def july(shop, tmp_path_factory):
    """The shop after one more file and one more run, and what that run said. Read only."""
    folder = copy_of(shop, tmp_path_factory.mktemp("shops") / "july")
    add_july(folder)
    return folder, run(folder)


@pytest.fixture
def a_copy(shop, tmp_path) -> Path:
    """A copy of the shop, published run and all."""
    return copy_of(shop, tmp_path / "shop")


@pytest.fixture(scope="session")
def retail(data_dir, tmp_path_factory):
    """Online Retail after one run, and how that run ended. Read only; half a minute."""
    folder = tmp_path_factory.mktemp("examples") / "online_retail"
    shutil.copytree(
        CHECKOUT / "examples" / "online_retail",
        folder,
        ignore=shutil.ignore_patterns(".likelier", "exports"),
    )
    ended = likelier("-p", folder, "run", "--json", DATA=str(data_dir))
    assert ended.code == 0, ended.err
    return folder, ended


# A small world whose people change their ways, or do not --------------------------------------


@pytest.fixture(scope="session")
def first(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """The first 100 days, run once; read only."""
    folder = shifting.begin(tmp_path_factory.mktemp("shifting") / "first")
    return folder, run(folder)


@pytest.fixture(scope="session")
def changed(first, tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """Fifty days on, in which other people buy; read only."""
    folder = copy_of(first[0], tmp_path_factory.mktemp("shifting") / "changed")
    return folder, run(shifting.go_on(folder, "compare"))


@pytest.fixture(scope="session")
def unchanged(first, tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """Fifty days on, in which all is as it was; read only."""
    folder = copy_of(first[0], tmp_path_factory.mktemp("shifting") / "unchanged")
    return folder, run(shifting.go_on(folder, "search"))
