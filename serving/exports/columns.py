"""What a column of an exported file may hold, checked against the project before anything runs.

| field | value | null when |
|---|---|---|
| `profile_id` | the person's id at as_of | never |
| `identity.NS` | value without `NS:`, as written by the source where `NS` is personal data | never (the person is left out) |
| `profile.ATTR` | merged attribute | not known |
| `measure.NAME` | measure at as_of | not defined |
| `GOAL.score`, `.probability`, `.percentile`, `.bucket` | as in the score contract | not scored |
| `GOAL.status` | `scored` or `not_eligible` | never |
| `GOAL.factors.N.label`, `.code`, `.value`, `.direction` | reason of rank N, 1 to 10 | fewer reasons |
| `segment`, `as_of` | of the build | never |

A person with several identities of a namespace is written with the one of the lowest key, which is
the first by text.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from features.errors import LikelierError
from features.settings import Destination, Project
from serving.exports.errors import SameFile, UnknownField

FieldKind = Literal[
    "profile_id", "identity", "profile", "measure", "score", "factor", "segment", "as_of"
]  # fmt: skip
SCORE_PARTS = ("score", "probability", "percentile", "bucket", "status")
FACTOR_PARTS = ("label", "code", "value", "value_text", "direction")
RANKS = range(1, 11)


@dataclass(frozen=True)
class Field:
    """One thing that can be said of a member.

    `name` is that of a namespace, an attribute, a measure or a goal.
    """

    kind: FieldKind
    name: str = ""
    part: str = ""
    rank: int = 0
    pii: bool = False

    def __str__(self) -> str:
        """Spell the field as the project file does."""
        match self.kind:
            case "identity" | "profile" | "measure":
                return f"{self.kind}.{self.name}"
            case "score":
                return f"{self.name}.{self.part}"
            case "factor":
                return f"{self.name}.factors.{self.rank}.{self.part}"
        return self.kind


def available(project: Project) -> dict[str, Field]:
    """Return every field that columns of this project may name, by its spelling."""
    fields = [Field("profile_id"), Field("segment"), Field("as_of")]
    fields += [Field("identity", n.name, pii=n.pii) for n in project.identity.namespaces]
    fields += [Field("profile", name) for source in project.sources for name in source.profile]
    fields += [Field("measure", measure.name) for measure in project.measures]
    for goal in project.goals:
        fields += [Field("score", goal.name, part) for part in SCORE_PARTS]
        fields += [
            Field("factor", goal.name, part, rank) for rank in RANKS for part in FACTOR_PARTS
        ]
    return {str(field): field for field in fields}


def fields_of(destination: Destination, project: Project) -> dict[str, Field]:
    """Return the fields of a destination by column; raise `UnknownField` at the first wrong one."""
    known = available(project)
    for column, text in destination.columns.items():
        if text not in known:
            where = f"destinations.{destination.name}.columns.{column}"
            raise UnknownField.at(where, text, known)
    return {column: known[text] for column, text in destination.columns.items()}


def check_exports(project: Project) -> list[LikelierError]:
    """Return what is wrong with destinations: unknown fields, and two that share one file."""
    problems: list[LikelierError] = []
    for destination in project.destinations:
        try:
            fields_of(destination, project)
        except UnknownField as error:
            problems.append(error)
    return problems + _shared_files(project)


def _shared_files(project: Project) -> list[LikelierError]:
    destinations: Mapping[str, Destination] = {d.name: d for d in project.destinations}
    problems: list[LikelierError] = []
    for segment in project.segments:
        taken: dict[tuple[PurePosixPath, str], str] = {}
        for name in dict.fromkeys(segment.export):
            destination = destinations[name]
            file = (PurePosixPath(destination.path), destination.format)
            if file in taken:
                problems.append(SameFile.between(segment.name, taken[file], name, destination.path))
            taken.setdefault(file, name)
    return problems
