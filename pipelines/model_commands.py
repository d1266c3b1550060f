"""The commands of `likelier models`: which version serves, since when, and why."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pipelines.console import Json, progress, project_of

models = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Versions of models, and which of them serves.",
)
Version = Annotated[str, typer.Argument(help="The version: 2026-06-30-3fa9c2d1.")]
GoalOrAll = Annotated[
    str | None, typer.Argument(help="A goal, or the name of a table's model; by default all.")
]


@models.command("list")
def list_versions(context: typer.Context, goal: GoalOrAll = None, as_json: Json = False) -> None:
    """List the versions of models, newest first: figures, aliases, and what became of each.

    `champion` serves; `challenger` is the newest one that was not promoted. A version that learnt
    from people who were erased since is marked, and cannot be promoted. Without MLflow the versions
    in the store are listed.

    Examples: `likelier -p shop models list` · `likelier -p shop models list churn --json`
    """
    from pipelines.models import versions_of
    from pipelines.printing_models import print_versions

    found = versions_of(project_of(context), goal)
    print(json.dumps(found)) if as_json else print_versions(found)


@models.command()
def show(context: typer.Context, version: Version, as_json: Json = False) -> None:
    """Show one version: all figures, how it was compared, and its lines of the promotion log.

    Example: `likelier -p shop models show 2026-06-30-3fa9c2d1`
    """
    from pipelines.models import version_shown
    from pipelines.printing_models import print_version

    found = version_shown(project_of(context), version)
    print(json.dumps(found)) if as_json else print_version(found)


@models.command()
def log(context: typer.Context, goal: GoalOrAll = None, as_json: Json = False) -> None:
    """Show every change of champion, newest first: when, from, to, why, and by which command.

    It stands in the store, and can be read when MLflow is down. Lines are only ever added.

    Examples: `likelier -p shop models log` · `likelier -p shop models log churn --json`
    """
    from pipelines.models import promotion_log
    from pipelines.printing_models import print_log

    found = promotion_log(project_of(context), goal)
    print(json.dumps(found)) if as_json else print_log(found)


@models.command()
def promote(
    context: typer.Context,
    version: Version,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the promotion log.")],
    as_json: Json = False,
) -> None:
    """Let a version serve, whatever its figures; the log says that it was done by hand, and why.

    The published run is published anew, of the same moment, with everyone scored by the version. A
    running service takes that up by itself; nothing is trained.

    Example: `likelier -p shop models promote 2026-06-30-3fa9c2d1 --reason "the new one is shy"`
    """
    from pipelines.models import promote as let_serve
    from pipelines.printing_models import print_changed

    with progress() as report:
        changed = let_serve(project_of(context), version, reason, report)
    print(json.dumps(changed.body())) if as_json else print_changed(changed.body())


@models.command()
def rollback(
    context: typer.Context,
    goal: Annotated[str, typer.Argument(help="The goal.")],
    reason: Annotated[
        str, typer.Option("--reason", help="Why, for the promotion log.")
    ] = "rolled back by hand",
    as_json: Json = False,
) -> None:
    """Let the version serve again that did before the last change of champion.

    One step back: a second rollback undoes the first. The published run is published anew with it,
    as by `models promote`.

    Example: `likelier -p shop models rollback churn --reason "scores fell overnight"`
    """
    from pipelines.models import rollback as roll_back
    from pipelines.printing_models import print_changed

    with progress() as report:
        changed = roll_back(project_of(context), goal, reason, report)
    print(json.dumps(changed.body())) if as_json else print_changed(changed.body())
