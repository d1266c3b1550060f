"""Identity graphs to look at: of one person as published, or of typed events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features import time
from features.errors import LikelierError
from features.identity.graph import Graph
from features.identity.overrides import applied
from features.identity.simulation import EventsError, simulate
from features.identity.who import Link, WhoIsWho, around
from features.project_file import parse_identity
from features.sources.unite import TABLE as UNITED
from features.store import write_whole
from pipelines.erasing import hidden
from pipelines.graph_drawing import NoSuchPicture, picture
from pipelines.workspace import Workspace
from serving.api.errors import UnknownIdentity
from serving.api.identities import in_body


class GraphChoice(LikelierError):
    """A graph asked for of nothing, or of a project and of typed events at once."""

    code = "bad_graph_choice"


@dataclass(frozen=True)
class Shown:
    """A graph, what it is of, and how its moments are said.

    `facts` stand before profiles and links in JSON; a simulation has none.
    """

    who: WhoIsWho
    title: str
    when: Callable[[int], str]
    facts: dict[str, str] | None = None

    def body(self) -> dict[str, Any]:
        """Return it JSON-ready; of a simulation just `profiles` and `refused`."""
        profiles = [list(profile) for profile in self.who.profiles]
        refused = [self._link(link, reason=link.refused) for link in self.who.refused]
        if self.facts is None:
            return {"profiles": profiles, "refused": refused}
        links = [self._link(link) for link in self.who.held]
        return {**self.facts, "profiles": profiles, "links": links, "refused": refused}

    def _link(self, link: Link, **reason: str) -> dict[str, Any]:
        body: dict[str, Any] = {"link": [link.a, link.b], **reason}
        if self.facts is None:
            return body
        if link.override:
            body["override"] = link.override
        first, last = link.first_seen, link.last_seen
        return body | {
            "first_seen": first if first is None else self.when(first),
            "last_seen": last if last is None else self.when(last),
            "sightings": link.sightings,
        }

    def draw(self, path: Path) -> None:
        """Write the picture to a file ending in `.svg` or `.html`; raise `NoSuchPicture`."""
        drawn = picture(self.who, self.title, self.when, path.suffix)
        try:
            write_whole(path, drawn.encode())
        except OSError as error:
            raise NoSuchPicture(
                f"{path} cannot be written: {error.strerror}.", hint="Name another file."
            ) from error


def check_choice(identity: str | None, events: Path | None, rules: Path | None) -> None:
    """Raise `GraphChoice` unless either an identity or both files are given."""
    if identity and not events and not rules:
        return
    if events and rules and not identity:
        return
    raise GraphChoice(
        "A graph is either of one identity or of typed events.",
        hint="Write `likelier -p DIR graph IDENTITY`, or "
        "`likelier graph --simulate EVENTS.txt --identity RULES.yaml`.",
    )


def published(workspace: Workspace, asked: str) -> Shown:
    """Return everyone whom links known at the published as_of reach from one identity.

    Raises `UnknownIdentity` where no row known then has it.
    """
    manifest = workspace.store.require_current()
    rules = workspace.project.identity
    identity = in_body(asked, rules, "identity").identity
    overrides = applied(workspace.store, manifest)
    graph = Graph(workspace.store, manifest.tables[UNITED], rules, overrides)
    who = identity and around(graph, identity, manifest.as_of)
    if not identity or not who or hidden(workspace, manifest, identity):
        raise UnknownIdentity(
            f"Nobody is known as {asked.partition(':')[0]}:… with that value.",
            hint="An identity is known from the first published run that read a row with it.",
        )
    moment = time.format_instant(manifest.as_of)
    facts = {"identity": identity, "as_of": moment}
    return Shown(who, f"{identity} as of {moment}", time.format_instant, facts)


def simulated(events: Path, rules: Path) -> Shown:
    """Return who is who after typed events; nothing is written.

    Raises `EventsError` or `SettingsError` naming the file.
    """
    identity = parse_identity(_read(rules), str(rules))
    who = simulate(_read(events), identity, str(events))
    return Shown(who, f"Simulation of {events.name}", lambda line: f"line {line}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise EventsError(
            f"{path} cannot be read: {error.strerror}.", hint="Name a text file that is there."
        ) from error
    except UnicodeDecodeError as error:
        raise EventsError(
            f"{path} is not UTF-8: byte {error.start + 1}.", hint="Save the file as UTF-8."
        ) from error
