"""The command `likelier scorecard`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipelines.console import Json, project_of

ALARMED = 3
"""Exit code of a command that was asked to fail on alarms."""

FailOnAlarm = Annotated[
    bool, typer.Option("--fail-on-alarm", help="End with exit code 3 when there is an alarm.")
]


def scorecard(
    context: typer.Context,
    goal: Annotated[str | None, typer.Argument(help="One goal; by default all.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write it to this file: one page with charts.")
    ] = None,
    fail_on_alarm: FailOnAlarm = False,
    as_json: Json = False,
) -> None:
    """Compare what was predicted with what happened, once the outcome window has closed.

    For every earlier run, goal and model: mean probability against the share of people with the
    outcome, with its interval, in all and by bucket; calibration error; AUC beside the AUC at
    training; for everyone scored and for those the service was asked about. `run` makes the
    cards; this shows them, newest first, and what still waits for its window to close.

    Examples: `likelier -p shop scorecard` · `likelier -p shop scorecard churn --html card.html` ·
    `likelier -p shop scorecard --json --fail-on-alarm`
    """
    from pipelines.scorecard import scorecard as report_of
    from pipelines.scorecard_page import print_scorecard, write_page

    report = report_of(project_of(context), goal)
    if html:
        write_page(report, html)
    print(json.dumps(report)) if as_json else print_scorecard(report)
    if fail_on_alarm and report["alarms"]:
        raise typer.Exit(ALARMED)
