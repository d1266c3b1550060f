"""Opening the event log: the united tables that describe behaviour, as the engine reads them."""

from __future__ import annotations

from dataclasses import replace

from features import time
from features.behavior.scene import AnyEngine, Log
from features.conditions import Vocabulary
from features.identity.graph import Graph
from features.profiles.attributes import NUMBER, kinds_of, typed
from features.profiles.merging import policies
from features.settings import Project
from features.sources.unite import TABLE as UNITED
from features.store import Store


def open_log(engine: AnyEngine, store: Store, united: str, project: Project, graph: Graph) -> Log:
    """Return the log of one version of the united tables."""
    folder = store.folder(UNITED, united)
    types: dict[str, str] = store.facts(UNITED, united)["types"]
    kinds = {n.removeprefix("profile_"): k for n, k in types.items() if n.startswith("profile_")}
    return Log(
        events=engine.read_parquet([folder / "events.parquet"]),
        observations=engine.read_parquet([folder / "observations.parquet"]),
        namespace_rank=graph.rank,
        spellings=graph.spellings,
        namespaces=tuple(namespace.name for namespace in project.identity.namespaces),
        attribute_kinds=kinds,
        undated=undated_attributes(project),
        policies=policies(project),
    )


def log_as_known(engine: AnyEngine, log: Log, as_of: int) -> Log:
    """Return the log with attributes of the kind that the rows known at `as_of` speak of.

    A column is text as soon as one row of all the files holds text in it. Were that row received
    later, the number of before would be gone: what comes later must change nothing. An attribute
    of which nothing was known keeps the kind it has.
    """
    schema = log.events.schema()
    texts = [name for name in log.event_attributes if schema[name].is_string()]
    events = log.events.filter(time.known_before(log.events.known_at, as_of))
    counted = {name: events[name].count() for name in texts}
    counted |= {f"{name}/number": events[name].re_search(NUMBER).sum() for name in texts}
    found = engine.arrow(events.aggregate(**counted)).to_pylist()[0] if texts else {}
    numbers = [n for n in texts if found[n] and found[n] == found[f"{n}/number"]]
    return replace(
        log,
        events=log.events.mutate(**{n: typed(log.events[n], "number") for n in numbers}),
        attribute_kinds=log.attribute_kinds | _kinds_known(engine, log, as_of),
    )


def _kinds_known(engine: AnyEngine, log: Log, as_of: int) -> dict[str, str]:
    """Return the kinds of profile attributes as far as anything was known of them."""
    stated = log.observations
    texts = [name for name, kind in log.attribute_kinds.items() if kind == "text"]
    known = stated.filter(stated.attribute.isin(texts), time.known_before(stated.known_at, as_of))
    found = engine.arrow(kinds_of(known)).to_pylist() if texts else []
    kinds = ("number", "date", "boolean")
    return {
        row["attribute"]: next((kind for kind in kinds if row[kind] == row["values"]), "text")
        for row in found
    }


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
    """Return these events and attributes, and the identities of the project, as names."""
    return Vocabulary(
        events=events,  # type: ignore[arg-type]
        attributes=attributes,  # type: ignore[arg-type]
        identities=frozenset(namespace.name for namespace in project.identity.namespaces),
        time_zone=project.time_zone,
    )
