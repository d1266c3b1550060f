"""House rules no linter knows: small files, domain nouns, nothing tied to one machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.sources import PACKAGES, python_files, relative, tracked_files

MOST_LINES = 500
EMPTY_NOUNS = {"util", "utils", "helper", "helpers", "manager", "managers", "misc", "common"}

# Built from parts, so that this file does not hold what it looks for.
_HOSTS = [
    ("pypi", "org"), ("pythonhosted", "org"), ("anaconda", "org"), ("conda", "io"),
    ("npmjs", "org"), ("npmjs", "com"), ("crates", "io"), ("maven", "org"),
]  # fmt: skip
REGISTRY = re.compile("|".join(rf"\b{name}\.{end}\b" for name, end in _HOSTS), re.IGNORECASE)
_FOLDERS = "|".join(["home", "root", "Users", "work", "tmp", "private", "scratch"])
MACHINE_PATH = re.compile(rf"(?<![\w.~/}}-])/(?:{_FOLDERS})/[\w.]|\b[A-Z]:\\Users\b")


def has_empty_noun(path: Path) -> bool:
    """Say whether a module or one of its folders is named for no domain thing."""
    parts = [*Path(relative(path)).with_suffix("").parts]
    return any(EMPTY_NOUNS.intersection(part.lower().split("_")) for part in parts)


def lines_with(pattern: re.Pattern[str]) -> Iterator[str]:
    """Yield `file:line: match` for every match in the text files git tracks."""
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
            if found := pattern.search(line):
                yield f"{relative(path)}:{number}: {found[0]}"


@pytest.fixture
def checkout_is_tracked() -> None:
    """Skip where there is no git checkout to list the files of."""
    if not tracked_files():
        pytest.skip("Not a git checkout, or git is missing: the tracked files cannot be listed.")


def test_no_file_is_a_room_that_should_be_two() -> None:
    counts = {relative(p): p.read_bytes().count(b"\n") for p in python_files(*PACKAGES)}
    long = [f"{path}: {lines} lines" for path, lines in counts.items() if lines > MOST_LINES]
    assert not long, "\n".join(long)


def test_modules_are_named_for_what_they_hold() -> None:
    named = [relative(path) for path in python_files(*PACKAGES) if has_empty_noun(path)]
    assert not named, "\n".join(named)


@pytest.mark.usefixtures("checkout_is_tracked")
def test_git_ignores_no_source() -> None:
    ignored = {*python_files(*PACKAGES, "tests")}.difference(tracked_files())
    assert not ignored, "\n".join(sorted(map(relative, ignored)))


@pytest.mark.usefixtures("checkout_is_tracked")
def test_no_file_names_a_package_registry() -> None:
    assert not (found := list(lines_with(REGISTRY))), "\n".join(found)


@pytest.mark.usefixtures("checkout_is_tracked")
def test_no_file_holds_a_path_of_one_machine() -> None:
    assert not (found := list(lines_with(MACHINE_PATH))), "\n".join(found)


@pytest.mark.parametrize(
    ("text", "registry", "path"),
    [
        ("https://" + "py" + "pi.org/simple", True, False),
        ("files." + "python" + "hosted.org", True, False),
        ("see /" + "home/ann/data", False, True),
        ("'/" + "tmp/x'", False, True),
        ("C:" + "\\Users\\ann", False, True),
        ("GET /profiles/{identity}", False, False),
        ("https://shop.example/home/sale", False, False),
        ("${DATA}/work/x and ~/work/x and ../work/x", False, False),
    ],
)
def test_the_patterns_tell_right_from_wrong(text: str, registry: bool, path: bool) -> None:
    assert (bool(REGISTRY.search(text)), bool(MACHINE_PATH.search(text))) == (registry, path)
