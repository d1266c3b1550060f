"""The journal as a source of the next run, built from the project."""

from __future__ import annotations

from features.settings import JOURNAL, Project, Source
from serving.journal.files import FOLDER


def with_journal(project: Project) -> Project:
    """Return the project with the journal as its last source.

    Its rows have the namespaces of the project, and the names that its other sources declare.
    """
    source = Source(
        name=JOURNAL,
        kind="events",
        path=f"{project.store}/{FOLDER}",
        format="jsonl",
        event_time="event_time",
        received_at="received_at",
        event_id="id",
        event_type="type",
        identities={n.name: (f'"identities.{n.name}"',) for n in project.identity.namespaces},
        attributes=_all("attributes", project),
        profile=_all("profile", project),
    )
    return project.model_copy(update={"sources": (*project.sources, source)})


def _all(group: str, project: Project) -> dict[str, str]:
    names = sorted({name for source in project.sources for name in getattr(source, group)})
    return {name: f'"{group}.{name}"' for name in names}
