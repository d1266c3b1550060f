"""`likelier graph`: of typed events and of a published project, as text, JSON and pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from features.errors import LikelierError, SettingsError
from features.identity.simulation import EventsError
from features.sources.unite import TABLE as UNITED
from features.store import Manifest
from pipelines.cli import app
from pipelines.graph_drawing import MOST_LABELS, NoSuchPicture
from pipelines.graphs import GraphChoice
from serving.api.errors import UnknownIdentity
from tests.worlds import Row, days, seen, world

RULES = """\
namespaces:
- {name: CRMID, type: person, unique: true}
- {name: ecid, type: cookie}
"""
EVENTS = "CRMID: Tom, ECID: 111\nCRMID: Summer, ECID: 111\n"
SVG = "{http://www.w3.org/2000/svg}"


def likelier(*arguments: object) -> str:
    """Run a command; raise what it raises, else return what it printed."""
    ended = CliRunner().invoke(app, [*map(str, arguments)])
    if isinstance(ended.exception, LikelierError):
        raise ended.exception
    assert ended.exit_code == 0, ended.output
    return ended.stdout


@pytest.fixture
def simulation(tmp_path: Path) -> list[object]:
    """Tom's browser, used by Summer since: the arguments that simulate it."""
    return typed(tmp_path, EVENTS)


def typed(folder: Path, events: str) -> list[object]:
    (folder / "events.txt").write_text(events)
    (folder / "rules.yaml").write_text(RULES)
    files = (folder / "events.txt", folder / "rules.yaml")
    return ["graph", "--simulate", files[0], "--identity", files[1]]


def texts(picture: Path) -> list[str]:
    """Return all text and titles of an SVG."""
    return [each.text or "" for each in ElementTree.parse(picture).iter()]


def test_a_simulation_as_json(simulation: list[object], tmp_path: Path) -> None:
    """A11: 111 is Summer's; Tom keeps his profile."""
    assert json.loads(likelier(*simulation, "--json")) == {
        "profiles": [["CRMID:Summer", "ECID:111"], ["CRMID:Tom"]],
        "refused": [{"link": ["CRMID:Tom", "ECID:111"], "reason": "unique_namespace"}],
    }
    assert {path.name for path in tmp_path.iterdir()} == {"events.txt", "rules.yaml"}


def test_a_simulation_in_words(tmp_path: Path) -> None:
    printed = likelier(*typed(tmp_path, f"{EVENTS}CRMID: [b]:x:, CRMID: Ann\n"))
    assert printed.splitlines()[1:] == [
        "profile 1: CRMID:Summer, ECID:111",
        "profile 2: CRMID:Tom",
        "in no profile: CRMID:Ann, CRMID:[b]:x:",
        "  CRMID:Ann with CRMID:[b]:x:: refused (conflicting_identity); seen together once, "
        "last line 3",
        "  CRMID:Summer with ECID:111: linked; seen together once, last line 2",
        "  CRMID:Tom with ECID:111: refused (unique_namespace); seen together once, last line 1",
    ]


def test_a_picture_holds_every_identity_and_link(simulation: list[object], tmp_path: Path) -> None:
    picture = tmp_path / "graph.svg"
    likelier(*simulation, "--draw", picture)
    found = texts(picture)
    assert {"CRMID:Summer", "ECID:111", "CRMID:Tom", "line 2"} <= set(found)
    assert "unique_namespace, line 1" in found
    lines = ElementTree.parse(picture).findall(f"{SVG}line")
    assert sorted(line.attrib["class"] for line in lines) == ["held", "refused"]
    content = picture.read_text()
    assert re.search(r"\.refused {[^}]*stroke-dasharray", content)
    assert "prefers-color-scheme: dark" in content
    # Self-contained: the only address is the name of the format.
    assert re.findall(r"https?://[^\"]+", content) == ["http://www.w3.org/2000/svg"]


def test_a_picture_of_hostile_and_long_values_is_still_xml(tmp_path: Path) -> None:
    values = ["<script>&\"']]>", "\x01\x1b[0m", "é" * 300]
    picture = tmp_path / "graph.svg"
    printed = likelier(
        *typed(tmp_path, "".join(f"CRMID: {value}, ECID: 1\n" for value in values)),
        "--draw", picture,
    )  # fmt: skip
    assert values[0] in printed
    found = texts(picture)
    assert {f"CRMID:{values[0]}", "CRMID:\ufffd\ufffd[0m", f"CRMID:{values[2]}"} <= set(found)
    assert ElementTree.parse(picture).find(f".//{SVG}script") is None


def test_a_picture_of_many_links_tells_them_in_titles_only(tmp_path: Path) -> None:
    many = range(MOST_LABELS + 1)
    picture = tmp_path / "graph.svg"
    likelier(*typed(tmp_path, "".join(f"ECID: {n}, CRMID: a\n" for n in many)), "--draw", picture)
    found = texts(picture)
    assert {f"ECID:{n}" for n in many} <= set(found)
    assert "line 51" not in found
    assert "CRMID:a with ECID:50: seen together once, last line 51" in found
    assert "CRMID:a with ECID:0: seen together once, last line 1; refused: max_identities" in found


def test_a_picture_as_a_page(simulation: list[object], tmp_path: Path) -> None:
    page = tmp_path / "graph.html"
    likelier(*simulation, "--draw", page)
    assert page.read_text().startswith("<!doctype html>")
    assert "CRMID:Summer" in page.read_text()


@pytest.mark.parametrize("name", ["graph.png", "graph"])
def test_other_pictures_are_not_drawn(simulation: list[object], tmp_path: Path, name: str) -> None:
    with pytest.raises(NoSuchPicture, match=r"\.svg or \.html"):
        likelier(*simulation, "--draw", tmp_path / name)


def test_what_to_show_must_be_clear(simulation: list[object]) -> None:
    for arguments in (["graph"], simulation[:3], ["graph", *simulation[3:]],
                      [*simulation, "crmid:Tom"]):  # fmt: skip
        with pytest.raises(GraphChoice, match="either of one identity or of typed events"):
            likelier(*arguments)


def test_files_that_cannot_be_read_are_named(simulation: list[object], tmp_path: Path) -> None:
    (tmp_path / "events.txt").write_text("CRMID Tom\n")
    with pytest.raises(EventsError, match=r"events\.txt: line 1: 'CRMID Tom' has no colon"):
        likelier(*simulation)
    (tmp_path / "events.txt").write_bytes(b"CRMID: \xff")
    with pytest.raises(EventsError, match=r"events\.txt is not UTF-8"):
        likelier(*simulation)
    (tmp_path / "events.txt").unlink()
    with pytest.raises(EventsError, match=r"events\.txt cannot be read: No such file"):
        likelier(*simulation)
    (tmp_path / "rules.yaml").write_text("namespaces: []")
    with pytest.raises(SettingsError, match=r"rules\.yaml: namespaces"):
        likelier(*simulation)


# Of a project ------------------------------------------------------------------------------------

ROWS = [
    seen(days(0), customer="tom", cookie="1"),
    seen(days(1), customer="tom", cookie="1"),
    seen(days(2), customer="ann", cookie="1"),
    seen(days(3), customer="bob", cookie="2"),
    Row({"customer": "ann", "cookie": "2"}, days(4), received_at=days(9)),
    seen(days(8), customer="eve"),
]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project whose run as of day 5 is published."""
    with world(tmp_path / "shop", ROWS) as bench:
        store = bench.workspace.store
        (united,) = (store.root / "tables" / UNITED).iterdir()
        store.publish(Manifest("one", days(5), {UNITED: united.name}))
    return tmp_path / "shop"


@pytest.mark.parametrize("asked", ["customer:tom", "cookie:1", "customer:ann"])
def test_a_project_shows_everyone_whom_links_reach(shop: Path, asked: str) -> None:
    """The refused link is crossed too; what was known only later is not there."""
    days_seen = {"first_seen": "2024-01-01T00:00:00Z", "last_seen": "2024-01-02T00:00:00Z"}
    once = dict.fromkeys(days_seen, "2024-01-03T00:00:00Z")
    assert json.loads(likelier("-p", shop, "graph", asked, "--json")) == {
        "identity": asked,
        "as_of": "2024-01-06T00:00:00Z",
        "profiles": [["customer:ann", "cookie:1"], ["customer:tom"]],
        "links": [{"link": ["customer:ann", "cookie:1"], **once, "sightings": 1}],
        "refused": [
            {"link": ["customer:tom", "cookie:1"], "reason": "unique_namespace",
             **days_seen, "sightings": 2}
        ],
    }  # fmt: skip


def test_a_project_is_drawn_with_dates(shop: Path, tmp_path: Path) -> None:
    picture = tmp_path / "tom.svg"
    printed = likelier("-p", shop, "graph", "customer:tom", "--draw", picture)
    assert "refused (unique_namespace); seen together 2 times" in printed
    assert "unique_namespace, 2024-01-02T00:00:00Z" in texts(picture)


@pytest.mark.parametrize("asked", ["customer:nobody", "customer:eve", "customer:null"])
def test_who_is_not_known_at_the_published_moment_is_nobody(shop: Path, asked: str) -> None:
    with pytest.raises(UnknownIdentity, match="Nobody is known as customer:"):
        likelier("-p", shop, "graph", asked)
