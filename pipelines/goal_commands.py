"""The commands of `likelier goals`: what moves people's scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipelines.console import Json, progress, project_of

goals = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="What moves the scores of a goal.",
)
Named = Annotated[str, typer.Argument(help="The goal's name.")]


@goals.command()
def factors(
    context: typer.Context,
    goal: Named,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write it to this file: one page with charts.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the ten reasons that move each bucket most, whom they reach, and the values behind.

    Importance is a reason's mean share over the people of the bucket. Coverage is the share of
    them among whose three strongest reasons it is. Values are the middle one and the middle half
    in the bucket, beside everyone's.

    Examples: `likelier -p shop goals factors churn` ·
    `likelier -p shop goals factors churn --html churn.html`
    """
    from pipelines.insights import goal_insights, write_insights
    from pipelines.printing_goals import print_insights

    found = goal_insights(project_of(context), goal)
    if html:
        write_insights(found, html)
    print(json.dumps(found)) if as_json else print_insights(found)


@goals.command()
def change(
    context: typer.Context,
    goal: Named,
    identity: Annotated[
        str | None, typer.Argument(help="namespace:value of a person; by default everyone's mean.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="The run to compare with; by default the one before."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show why a score changed since another kept run: by the data, or by the model.

    Of one person, or of the mean of everyone scored in each run. Data is what new values do, model
    what another model does to the same values; each is the mean over both orders, so together
    they are the change of the margin, reason by reason. Values are those of one person.

    Examples: `likelier -p shop goals change churn customer:C100965` ·
    `likelier -p shop goals change conversion --json`
    """
    from pipelines.changing import why_changed
    from pipelines.printing_goals import print_change

    with progress() as report:
        found = why_changed(
            project_of(context), goal, identity, since, lambda text: report("score", text)
        )
    print(json.dumps(found)) if as_json else print_change(found)
