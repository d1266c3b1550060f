"""Opening the event log: the united tables that describe behaviour, as the engine reads them."""

from __future__ import annotations

from features.behavior.scene import Log
from features.conditions import Vocabulary
from features.engine import Engine
from features.identity.graph import Graph
from features.settings import Project
from features.sources.unite import TABLE as UNITED
from features.store import Store


def open_log(engine: Engine, store: Store, united: str, project: Project, graph: Graph) -> Log:
    """Return the log of one version of the united tables."""
    folder = store.folder(UNITED, united)
    types: dict[str, str] = store.facts(UNITED, united)["types"]
    kinds = {n.removeprefix("profile_"): k for n, k in types.items() if n.startswith("profile_")}
    return Log(
        events=engine.read_parquet([folder / "events.parquet"]),
        observations=engine.read_parquet([folder / "observations.parquet"]),
        namespace_rank=graph.rank,
        namespaces=tuple(namespace.name for namespace in project.identity.namespaces),
        attribute_kinds=kinds,
        undated=undated_attributes(project),
    )


def undated_attributes(project: Project) -> frozenset[str]:
    """Return the profile attributes that no source dates or calls constant."""
    dated, stated = set(), set()
    for source in project.sources:
        stated |= set(source.profile)
        whole = source.kind == "events" or source.known_from
        dated |= set(source.profile) if whole else set(source.constant)
    return frozenset(stated - dated)


def vocabulary_of(
    project: Project, events: dict[str, dict[str, str]], attributes: dict[str, str]
) -> Vocabulary:
    """Return the names that goals and populations may use."""
    return Vocabulary(
        events=events,  # type: ignore[arg-type]
        attributes=attributes,  # type: ignore[arg-type]
        identities=frozenset(namespace.name for namespace in project.identity.namespaces),
        time_zone=project.time_zone,
    )
