"""The project file `likelier.yaml` as frozen typed values; unknown keys are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from features.errors import SettingsError, did_you_mean
from features.feature_settings import Features
from features.goal_settings import Goal
from features.measure_settings import Measure
from features.setting_values import (
    Length,
    Name,
    Region,
    Settings,
    Sql,
    Sqls,
    Zone,
    refuse_repeats,
)
from features.time import Window


class Engine(Settings):
    """Where tables are computed."""

    kind: Literal["duckdb"] = "duckdb"
    """The engine. DuckDB, inside this process."""
    threads: Annotated[int, Field(ge=1, le=256)] = 2
    """Threads of tables and of training: fixed, so that results do not depend on the machine."""
    memory_limit: Annotated[str, Field(pattern=r"^[0-9]+(MB|GB)$")] = "2GB"
    """Memory the engine may use before it spills to disk."""


class Mlflow(Settings):
    """Where training is tracked. Relative paths are relative to the project folder."""

    tracking_uri: str = "sqlite:///.likelier/mlflow.db"
    """An MLflow tracking store: a sqlite file or a server."""
    artifacts: str = ".likelier/mlartifacts"
    """Folder or URL of the run artifacts."""


class Source(Settings):
    """One source of rows; columns are mapped by SQL expressions over the source's columns."""

    name: Name
    """Name of the source, unique in the project. `journal` is that of [live events](events.md)."""
    kind: Literal["events", "records"]
    """`events`: things that happened. `records`: versions of what is said of a person."""
    path: Annotated[str, Field(min_length=1)]
    """A file, a folder or a glob; relative to the project folder, else to the current one."""
    format: Literal["csv", "jsonl", "parquet", "lines"] | None = None
    """`csv`, `jsonl`, `parquet` or `lines` (one text column `line`); by default from the ending."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Column separator of CSV files."""
    time_zone: Zone | None = None
    """Time zone of naive times in this source; the project's by default."""
    event_time: Sql | None = None
    """When it happened (events)."""
    received_at: Sql | None = None
    """When the row became known. Without it a row counts as known when it happened."""
    known_from: Sql | None = None
    """When a version of a record became known (records)."""
    event_id: Sql | None = None
    """A unique id of the event; by default made from the row's content."""
    event_type: Sql | None = None
    """What happened: a name such as `purchase` (events)."""
    keep: Length | None = None
    """Events that are older are removed (events). By default they stay."""
    identities: Annotated[dict[Name, Sqls], Field(min_length=1)]
    """Namespace to expression, or to a list of them: who the row is about."""
    attributes: dict[Name, Sql] = {}
    """Attributes of the event."""
    profile: dict[Name, Sql] = {}
    """Attributes of the person, dated by the row."""
    constant: tuple[Name, ...] = ()
    """Profile attributes that never change, known always (date or country of birth)."""
    consent: dict[Name, Sql] = {}
    """Purpose to a yes/no expression: may we use this person's data for it? An unknown word is a
    no. The purpose `all` is the general opt-out: a no to it is a no to every segment and file."""

    @model_validator(mode="after")
    def _complete(self) -> Source:
        if self.kind == "events" and not (self.event_time and self.event_type):
            raise ValueError("a source of events needs event_time and event_type")
        if self.kind == "records" and (self.event_time or self.event_type or self.attributes):
            raise ValueError("a source of records has no event_time, event_type or attributes")
        if self.kind == "records" and self.keep:
            raise ValueError("keep is for events: a source of records has none")
        if taken := set(self.profile) & TAKEN_ATTRIBUTES:
            raise ValueError(f"profile.{min(taken)}: the name means the profile itself")
        if unknown := set(self.constant) - set(self.profile):
            raise ValueError(f"constant names attributes that profile lacks: {sorted(unknown)}")
        return self

    def identity_columns(self, namespace: str) -> dict[str, str]:
        """Return the expressions of a namespace by the name of their column: `email`, `email.2`."""
        listed = enumerate(self.identities.get(namespace, ()), 1)
        return {namespace if n == 1 else f"{namespace}.{n}": sql for n, sql in listed}


JOURNAL = "journal"
"""The source of the events that the service took: every run adds it to the project's own."""
EVERYTHING = "all"
"""The purpose of the general opt-out: who refuses it is in no segment and in no file."""
TAKEN_ATTRIBUTES = frozenset(["id", "key"])
TAKEN_GOALS = frozenset(["profile", "profile_id", "identity", "measure", "segment", "as_of"])

NamespaceType = Literal[
    "person", "email", "phone", "device", "cookie", "session", "household", "partner"
]
NEVER_LINK = ("household", "partner")
ANONYMOUS_TYPES = ("device", "cookie", "session")
KNOWN_TYPES = ("person", "email", "phone")


class Namespace(Settings):
    """A kind of identity. The order in `namespaces` is their priority, highest first."""

    name: Name
    """Name used in sources: the part of an identity before the colon."""
    type: NamespaceType
    """What it identifies. `household` and `partner` never link."""
    unique: bool = False
    """A person has at most one value of it."""
    pii: bool = False
    """Normalised and kept as SHA-256; the raw value lives only in `contacts`, and in the journal of
    [live events](events.md). A value that is a SHA-256 already is taken as that of the normalised
    value."""
    region: Region | None = None
    """Country (`GB`) in which telephone numbers without a `+` are dialled; without it they are
    refused."""
    junk: tuple[str, ...] = ()
    """Values that identify nobody in this namespace, in addition to all others."""

    @model_validator(mode="after")
    def _of_its_type(self) -> Namespace:
        if self.region and self.type != "phone":
            raise ValueError(f"{self.name}: region is for type phone, not {self.type}")
        return self


class Overrides(Settings):
    """What people have found out about identities: tables of rows, applied by the next run.

    Paths are relative to the project folder, else to the current one. CSV, JSON lines or Parquet,
    by the ending.
    """

    always: str | None = None
    """Pairs that are one person: columns `a`, `b`, and if wanted `known_from` and `note`."""
    never: str | None = None
    """Pairs that are two people: columns `a`, `b`, and if wanted `known_from` and `note`."""
    bypass: str | None = None
    """Identities that make no links: columns `identity`, and if wanted `known_from` and `note`."""
    aliases: str | None = None
    """Other spellings of an identity: columns `alias`, `identity`, and if wanted `note`."""


class Identity(Settings):
    """How rows become people."""

    namespaces: Annotated[tuple[Namespace, ...], Field(min_length=1)]
    """Namespaces in priority order, highest first."""
    junk: tuple[str, ...] = ()
    """Values that identify nobody, in addition to the built-in list; compared without case."""
    max_fan_out: Annotated[int, Field(ge=1)] = 20
    """An identity seen with more values of a person namespace than this makes no links."""
    max_identities: Annotated[int, Field(ge=2)] = 50
    """Identities a profile may have, sessions not counted."""
    overrides: Overrides = Overrides()
    """Links demanded and forbidden by hand, identities that make none, and other spellings."""

    expire_anonymous: Length | None = None
    """Visitors idle for longer, known by no person, e-mail or phone, go with their events. By
    default they stay."""

    @model_validator(mode="after")
    def _ranks(self) -> Identity:
        anonymous = [n for n in self.namespaces if n.type in ANONYMOUS_TYPES]
        for namespace in anonymous:
            if namespace.unique:
                raise ValueError(f"{namespace.name}: a {namespace.type} cannot be unique")
        people = [i for i, n in enumerate(self.namespaces) if n.type == "person"]
        first = next((i for i, n in enumerate(self.namespaces) if n in anonymous), None)
        if first is not None and any(i > first for i in people):
            raise ValueError(f"{self.namespaces[first].name}: ranks above a person namespace")
        refuse_repeats("namespaces", [n.name for n in self.namespaces])
        return self

    def namespace(self, name: str) -> Namespace:
        """Return the namespace called `name`; raise `SettingsError` when there is none."""
        for namespace in self.namespaces:
            if namespace.name == name:
                return namespace
        raise SettingsError(
            f"There is no namespace {name!r}.",
            hint=did_you_mean(name, [n.name for n in self.namespaces]),
        )


Merge = Literal["most_recent", "source_order", "most_filled", "min", "max"]
RowMerge = Literal["most_recent", "source_order", "most_filled"]
"""The ways of merging that choose a row, and so can serve several attributes at once."""


class Merging(Settings):
    """How one attribute is merged."""

    merge: Merge | None = None
    """Which statement wins; the profile's `merge` by default."""
    source_order: tuple[Name, ...] = ()
    """Sources, best first, for `merge: source_order`; the profile's by default."""


class Group(Settings):
    """Attributes that one row gives together, so that they never mix: an address."""

    name: Name
    """Name of the group, unique in the project."""
    attributes: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Profile attributes in the group; none of them in another group or under `attributes`."""
    merge: RowMerge | None = None
    """Which row wins; the profile's `merge` by default."""
    source_order: tuple[Name, ...] = ()
    """Sources, best first, for `merge: source_order`; the profile's by default."""


class Profiles(Settings):
    """How a person's attributes are merged where sources, rows or identities disagree."""

    merge: Merge = "most_recent"
    """Which statement wins, for every attribute that says nothing else."""
    source_order: tuple[Name, ...] = ()
    """Sources, best first, for `source_order`; those not named follow, in the file's order."""
    attributes: dict[Name, Merging] = {}
    """Attribute to its own way of merging."""
    groups: tuple[Group, ...] = ()
    """Attributes that are taken from one row."""

    @model_validator(mode="after")
    def _mergeable(self) -> Profiles:
        refuse_repeats("groups", [group.name for group in self.groups])
        grouped = [name for group in self.groups for name in group.attributes]
        refuse_repeats("groups.attributes", grouped)
        if both := set(grouped) & set(self.attributes):
            raise ValueError(f"attributes.{min(both)}: its group says how it is merged")
        for group in self.groups:
            if (merge := group.merge or self.merge) in ("min", "max"):
                raise ValueError(f"groups.{group.name}: {merge} chooses no row; say its `merge`")
        refuse_repeats("source_order", list(self.source_order))
        for where, item in self.own().items():
            refuse_repeats(f"{where}.source_order", list(item.source_order))
            if item.source_order and (item.merge or self.merge) != "source_order":
                raise ValueError(f"{where}.source_order: goes with `merge: source_order` alone")
        return self

    def own(self) -> dict[str, Merging | Group]:
        """Return what has a way of merging of its own, by where it stands."""
        own = {f"attributes.{name}": item for name, item in self.attributes.items()}
        return {**own, **{f"groups.{group.name}": group for group in self.groups}}


class Allowed(Settings):
    """A feature that the leak lint would object to, and why it is right all the same."""

    feature: Annotated[str, Field(min_length=1)]
    """Name of the feature, or the code of its reason, as the lint's finding has it."""
    reason: Annotated[str, Field(min_length=1)]
    """Why it is right: shown in the report."""


class Tuning(Settings):
    """Trials of other parameters of the trees, judged on rows before those that evaluate."""

    trials: Annotated[int, Field(ge=0, le=1_000)] = 0
    """Trials at most; 0: none, the defaults serve. With trials alone a run can be repeated."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Time limit of the trials of one goal; none by default."""


class Training(Settings):
    """How models are trained."""

    seed: Annotated[int, Field(ge=0)] = 7
    """Seed of everything drawn at random."""
    max_snapshots: Annotated[int, Field(ge=1, le=60)] = 12
    """Snapshots used for one goal, newest first."""
    retrain_every: Length = Window.parse("30d")
    """How far as_of moves on before models are trained again; runs in between only score anew."""
    allow: tuple[Allowed, ...] = ()
    """Features that the [leak lint](leaks.md) is to let pass."""
    tuning: Tuning = Tuning()
    """Search for better parameters of the trees."""
    select_features: bool = False
    """Leave out features that say nothing, and report which."""

    @model_validator(mode="after")
    def _allowed_once(self) -> Training:
        refuse_repeats("allow", [each.feature for each in self.allow])
        return self

    @property
    def allowed(self) -> dict[str, str]:
        """Return why each allowed feature is right, by its name."""
        return {each.feature: each.reason for each in self.allow}


class Segment(Settings):
    """A named list of people, defined by a condition."""

    name: Name
    """Name used in conditions, files and addresses."""
    title: str = ""
    """What people call it; the name by default."""
    where: str
    """Condition over attributes, behaviour, scores and factors."""
    export: tuple[Name, ...] = ()
    """Destinations it is written to."""
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of members kept out of every export, to measure lift."""


class Destination(Settings):
    """Where a segment is written."""

    name: Name
    """Name used in `export`."""
    kind: Literal["file"] = "file"
    """`file`: one file a build."""
    format: Literal["csv", "jsonl", "parquet"] = "csv"
    """File format."""
    path: str = "exports/"
    """Folder, relative to the project folder."""
    purpose: Name
    """Purpose the receiver uses the data for; people who opted out of it are left out."""
    columns: Annotated[dict[Name, str], Field(min_length=1)]
    """Column to field: `identity.NS`, `profile_id`, `profile.ATTR`, `GOAL.score`,
    `GOAL.factors.1.label`."""


LMDB = "lmdb"
REDIS = ("redis://", "rediss://")


def _online(value: str) -> str:
    if value != LMDB and not value.startswith(REDIS):
        raise ValueError(f"expected {LMDB}, or the address of a Redis server: redis://HOST:6379/0")
    return value


class Serving(Settings):
    """The scoring service."""

    served_sample: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of answers written to the `served` log."""
    max_batch: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    """Identities allowed in one `POST /score/batch`."""
    max_body_bytes: Annotated[int, Field(ge=1_000)] = 1_000_000
    """Largest request body."""
    online: Annotated[str, AfterValidator(_online)] = LMDB
    """Where people are looked up: `lmdb`, in the store, or a Redis server that several machines
    share, `redis://HOST:PORT/0`."""


class Project(Settings):
    """The whole project file."""

    project: Name
    """Name of the project: models are registered as `PROJECT.GOAL`."""
    time_zone: Zone = "UTC"
    """Reads naive times, and defines days, hours and weekdays."""
    engine: Engine = Engine()
    """Where tables are computed."""
    store: str = ".likelier"
    """Folder of tables, models and online store, relative to the project folder."""
    mlflow: Mlflow = Mlflow()
    """Where training is tracked."""
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    """Where rows come from."""
    identity: Identity
    """How rows become people."""
    profiles: Profiles = Profiles()
    """How attributes of the person are merged."""
    features: Features = Features()
    """Which behaviour is measured."""
    goals: tuple[Goal, ...] = ()
    """What is predicted."""
    training: Training = Training()
    """How models are trained."""
    scoring_interval: Length = Window.parse("7d")
    """How often scores are renewed: a score expires after it, or its outcome window if shorter."""
    measures: tuple[Measure, ...] = ()
    """Named values of people, for conditions, files and profiles."""
    segments: tuple[Segment, ...] = ()
    """Lists of people."""
    destinations: tuple[Destination, ...] = ()
    """Where lists go."""
    serving: Serving = Serving()
    """The scoring service."""

    @model_validator(mode="after")
    def _consistent(self) -> Project:
        for key in ("sources", "goals", "measures", "segments", "destinations"):
            refuse_repeats(key, [item.name for item in getattr(self, key)])
        if any(source.name == JOURNAL for source in self.sources):
            raise ValueError(f"sources.{JOURNAL}: the name is that of what POST /events takes")
        for goal in self.goals:
            if goal.name in TAKEN_GOALS:
                raise ValueError(f"goals.{goal.name}: the name means something else in files")
        self._refuse_taken_measures()
        known = {namespace.name for namespace in self.identity.namespaces}
        for source in self.sources:
            for name in source.identities:
                if name not in known:
                    raise ValueError(
                        f"sources.{source.name}.identities: no namespace {name!r}. "
                        + did_you_mean(name, known)
                    )
        destinations = {destination.name for destination in self.destinations}
        if any(destination.purpose == EVERYTHING for destination in self.destinations):
            raise ValueError("destinations: the purpose `all` is the general opt-out, no use")
        for segment in self.segments:
            for name in segment.export:
                if name not in destinations:
                    raise ValueError(
                        f"segments.{segment.name}.export: no destination {name!r}. "
                        + did_you_mean(name, destinations)
                    )
        self._refuse_unknown_names()
        self._refuse_unclear_ends()
        return self

    def _refuse_unclear_ends(self) -> None:
        grouped = {name for group in self.profiles.groups for name in group.attributes}
        for goal in self.goals:
            if goal.subscription is None:
                continue
            end = goal.subscription.end
            own = self.profiles.attributes.get(end)
            merge = (own and own.merge) or self.profiles.merge
            if end in grouped or merge not in ("most_recent", "max"):
                raise ValueError(
                    f"goals.{goal.name}.subscription.end: {end!r} must be merged by itself, as "
                    "`most_recent` or `max`: else no one statement says when it ends"
                )

    def _refuse_unknown_names(self) -> None:
        profiles = self.profiles
        sources = {source.name for source in self.sources}
        stated = {name for source in self.sources for name in source.profile}
        used = [("features.without", name, "attribute", stated) for name in self.features.without]
        ends = {goal.name: goal.subscription.end for goal in self.goals if goal.subscription}
        used += [(f"goals.{g}.subscription.end", n, "attribute", stated) for g, n in ends.items()]
        used += [("profiles.attributes", n, "attribute", stated) for n in profiles.attributes]
        for group in profiles.groups:
            where = f"profiles.groups.{group.name}.attributes"
            used += [(where, name, "attribute", stated) for name in group.attributes]
        for where, item in {"": profiles, **profiles.own()}.items():
            place = f"profiles.{where}.source_order".replace("..", ".")
            used += [(place, name, "source", sources) for name in item.source_order]
        for where, name, what, known in used:
            if name not in known:
                raise ValueError(f"{where}: no {what} {name!r}. " + did_you_mean(name, known))

    def _refuse_taken_measures(self) -> None:
        taken = {namespace.name: "a namespace" for namespace in self.identity.namespaces}
        taken |= {name: "a profile attribute" for s in self.sources for name in s.profile}
        taken |= {goal.name: "a goal" for goal in self.goals}
        taken |= {segment.name: "a segment" for segment in self.segments}
        for measure in self.measures:
            if measure.name in taken:
                raise ValueError(f"measures.{measure.name}: {taken[measure.name]} has the name")

    def source(self, name: str) -> Source:
        """Return the source called `name`."""
        return next(source for source in self.sources if source.name == name)
