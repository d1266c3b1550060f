"""The commands of `likelier goals`: what moves people's scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipelines.console import Json, project_of

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
