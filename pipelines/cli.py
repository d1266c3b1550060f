"""The command line: `likelier`. Heavy libraries are imported by the command that needs them."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features.errors import LikelierError
from pipelines.console import AsOf, Json, plain, progress, project_of, screen
from pipelines.goal_commands import goals
from pipelines.model_commands import models
from pipelines.scorecard_command import ALARMED, FailOnAlarm, scorecard

if TYPE_CHECKING:
    from pipelines.runner import Outcome

app = typer.Typer(
    name="likelier",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Who is likelier to buy, who is likelier to leave, and why.",
)
app.add_typer(goals, name="goals")
app.add_typer(models, name="models")


@app.callback()
def project(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Option("-p", "--project", help="The project folder: where likelier.yaml is.")
    ] = Path(),
) -> None:
    """Who is likelier to buy, who is likelier to leave, and why."""
    context.obj = folder


def main() -> None:
    """Run the command line; a known error is printed with its hint and ends with exit code 1."""
    # Libraries underneath warn of their own affairs; a user can do nothing about them.
    warnings.simplefilter("ignore")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        app()
    except LikelierError as error:
        _say_error(error)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        screen.print("Stopped. What was finished is kept: the same command goes on from there.")
        raise SystemExit(130) from None


def _say_error(error: LikelierError) -> None:
    if "--json" in sys.argv:
        print(json.dumps(error.body(), default=str))
        return
    screen.print(f"[bold red]{error.code}[/] {plain(error.message)}", soft_wrap=True)
    if error.hint:
        screen.print(f"[bold]Hint:[/] {plain(error.hint)}", soft_wrap=True)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where the new project goes.")] = Path(),
) -> None:
    """Write a starter likelier.yaml.

    Example: `likelier init shop`
    """
    from features.store import write_whole
    from pipelines.starter import STARTER, ProjectExists

    path = folder / "likelier.yaml"
    if path.exists():
        raise ProjectExists(f"{path} is there already.", hint="Name another folder.")
    write_whole(path, STARTER.encode())
    print(f"Wrote {path}. Say where your files are, then: likelier -p {folder} check")


@app.command()
def check(context: typer.Context, as_json: Json = False) -> None:
    """Validate the project file and the data: what can be used, by source and column.

    Ends with exit code 1 when there are errors. Example: `likelier -p shop check`
    """
    from pipelines.checking import check_project
    from pipelines.printing import print_findings

    with progress() as report:
        usability = check_project(context.obj, report)
    if as_json:
        print(json.dumps(usability.body(), default=str))
    else:
        print_findings(usability)
    if usability.errors:
        raise typer.Exit(1)


@app.command()
def run(
    context: typer.Context,
    as_of: AsOf = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Do this stage anew, and all that follows.")
    ] = None,
    only: Annotated[
        str | None, typer.Option("--only", help="Stop after this stage; publish nothing.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print what is due, and do nothing.")
    ] = False,
    fail_on_alarm: FailOnAlarm = False,
    as_json: Json = False,
) -> None:
    """Do whatever is due, from raw rows to scored files, and publish it at the end.

    Stages: ingest, unify, features, train, score, segment, export. A killed run goes on where it
    stopped; unchanged input makes no work. Scores whose outcome window has closed are compared
    with what happened, and alarms are printed (`likelier scorecard`).

    Examples: `likelier -p shop run` · `likelier run --as-of 2011-10-01` · `likelier run --explain`
    """
    from features.time import parse_instant
    from pipelines import runner
    from pipelines.printing import print_plan, print_run, run_body

    workspace = project_of(context)
    moment = parse_instant(as_of, workspace.project.time_zone) if as_of else None
    if explain:
        plan = runner.explain(workspace, moment)
        print(json.dumps(plan)) if as_json else print_plan(plan)
        return
    with progress() as report:
        outcome = runner.run(workspace, as_of=moment, only=only, start=start, report=report)
    if as_json:
        print(json.dumps(run_body(workspace, outcome), default=str))
    else:
        print_run(workspace, outcome)
    if outcome.refused:
        raise typer.Exit(1)
    if fail_on_alarm and outcome.alarms:
        raise typer.Exit(ALARMED)


@app.command()
def backtest(
    context: typer.Context,
    goal: Annotated[str, typer.Option("--goal", help="The goal to judge.")],
    as_of: Annotated[list[str], typer.Option("--as-of", help="A moment; may be given repeatedly.")],
    as_json: Json = False,
) -> None:
    """Train on what was known by a moment, score the people of then, and compare with what came.

    Example: `likelier -p examples/online_retail backtest --goal churn --as-of 2011-10-01`
    """
    from features.time import parse_instant
    from pipelines.backtest import backtest as judge
    from pipelines.printing import print_backtests

    workspace = project_of(context)
    figures = []
    with progress() as report:
        for text in as_of:
            moment = parse_instant(text, workspace.project.time_zone)
            found = judge(workspace, goal, moment, lambda text: report("features", text))
            figures.append(found.figures())
    print(json.dumps(figures)) if as_json else print_backtests(figures)


@app.command()
def train(
    context: typer.Context,
    table: Annotated[Path, typer.Argument(help="CSV, JSON lines or Parquet: one row a person.")],
    label: Annotated[str, typer.Option("--label", help="The column that holds the outcome.")],
    positive: Annotated[
        str | None,
        typer.Option("--positive", help="Its value that is the outcome; by default 1, yes, true."),
    ] = None,
    person: Annotated[
        str | None, typer.Option("--id", help="The column that names the person.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", help="A column to leave out; may be given repeatedly."),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option("--delimiter", help="What separates the columns of a CSV file.")
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help="When the table was taken; by default its newest date."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The model's name; by default the file's.")
    ] = None,
    min_people: Annotated[
        int,
        typer.Option("--min-people", min=2, help="People needed with the outcome, and without."),
    ] = 500,
    score: Annotated[
        Path | None, typer.Option("--score", help="Another table with the same columns, to score.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="The CSV file for its scores and reasons.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train on a wide table: one row a person, with the outcome as a column.

    Numbers stay numbers, dates become days before the table was taken, other columns their ten
    most frequent values and `other`. People are split 60/20/20; the model stands beside its best
    single column and a logistic regression. A table has no moments: leave out columns that were
    written after the outcome. The model is kept in the project folder, or in the current one, and
    registered in MLflow.

    Examples: `likelier train telco.csv --label Churn --id customerID` ·
    `likelier train bank.csv --delimiter ';' --label y --without duration` ·
    `likelier train telco.csv --label Churn --score new.csv --to scores.csv`
    """
    from features.time import parse_instant
    from pipelines.printing import print_learnt
    from pipelines.wide import opened, train_table
    from training.wide import Question

    workspace = opened(context.obj)
    zone = workspace.project.time_zone
    moment = parse_instant(as_of, zone) if as_of else None
    question = Question(label, positive, person, tuple(without or ()), moment, zone)
    with progress() as report:
        learnt = train_table(
            workspace, table, question, name=name, delimiter=delimiter, score=score, to=to,
            fewest_people=min_people, say=lambda text: report("train", text),
        )  # fmt: skip
    print(json.dumps(learnt.body())) if as_json else print_learnt(learnt.body(), to)


@app.command()
def profile(
    context: typer.Context,
    identity: Annotated[str, typer.Argument(help="namespace:value, for example customer:17850")],
    as_json: Json = False,
) -> None:
    """Show one person: attributes, measures, identities and why linked, events, scores, segments.

    Example: `likelier -p examples/online_retail profile customer:17850`
    """
    from pipelines.person import describe
    from pipelines.printing import print_person

    found = describe(project_of(context), identity)
    print(json.dumps(found, default=str)) if as_json else print_person(found)


@app.command()
def forget(
    context: typer.Context,
    identity: Annotated[
        str, typer.Argument(help="namespace:value of the person; personal data raw or hashed")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether to go on.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would go, and erase nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Erase a person everywhere, and print a receipt.

    The whole person: every identity of the profile, their events, scores, memberships and rows in
    delivered files. Other people's events on a shared device stay. Old files that are read again
    bring nobody back; what the person does from now on counts.

    Examples: `likelier -p shop forget customer:C100965 --dry-run` ·
    `likelier -p shop forget email:ann@example.com --yes`
    """
    from pipelines.forgetting import Found
    from pipelines.forgetting import forget as erase
    from pipelines.printing import print_found, print_receipt

    def confirm(found: Found) -> bool:
        if dry_run and as_json:
            print(json.dumps(found.body()))
        elif not as_json:
            print_found(found)
        return not dry_run and (yes or typer.confirm("Erase all of this for good?", err=True))

    # A question must not be drawn over by a progress display.
    with progress() if yes and not dry_run else nullcontext(lambda stage, text: None) as report:
        receipt = erase(project_of(context), identity, confirm, report)
    if receipt is None:
        if not dry_run:
            raise typer.Exit(1)
        return
    print(json.dumps(receipt)) if as_json else print_receipt(receipt)


@app.command()
def graph(
    context: typer.Context,
    identity: Annotated[
        str | None, typer.Argument(help="namespace:value, for example customer:17850")
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option("--simulate", help="Typed events, one a line: CRMID: Tom, ECID: 111"),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option("--identity", help="Rules of the simulation: what stands under `identity:`."),
    ] = None,
    draw: Annotated[
        Path | None, typer.Option("--draw", help="Draw it to this file: .svg or .html.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show who is linked with an identity and why, or what the rules make of typed events.

    Of a project: everyone whom links known at the published as_of reach from the identity, the
    refused ones included. Of typed events: line n happens at time n; blank lines and lines that
    begin with `#` count, but nothing happens there. Priority, `unique` and `max_identities`
    apply; values are taken as typed: not normalised, hashed or taken for junk, and `max_fan_out`
    is left out. Writes nothing but the file of `--draw`.

    Examples: `likelier -p shop graph customer:C100965 --draw person.svg` ·
    `likelier graph --simulate events.txt --identity rules.yaml`
    """
    from pipelines.graphs import check_choice, published, simulated
    from pipelines.printing import print_graph

    check_choice(identity, events, rules)
    if events and rules:
        shown = simulated(events, rules)
    else:
        shown = published(project_of(context), identity or "")
    if draw:
        shown.draw(draw)
    print(json.dumps(shown.body())) if as_json else print_graph(shown)


@app.command()
def unification(
    context: typer.Context,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write it to this file: one page with charts.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Report what became of rows, identities and links in the published run.

    Rows by source; identities, known and anonymous profiles by namespace; which namespaces are
    held together; anonymous profiles that are idle; the size of profiles and the largest; links
    refused and who lost most; values that identify nobody; overrides; changes since the last run;
    and the training rows that today's identities would have changed.

    Examples: `likelier -p shop unification` · `likelier -p shop unification --html report.html`
    """
    from pipelines.printing import print_unification
    from pipelines.unification import unification as report_of
    from pipelines.unification_page import write_page

    report = report_of(project_of(context))
    if html:
        write_page(report, html)
    print(json.dumps(report)) if as_json else print_unification(report)


app.command()(scorecard)


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="Where the shop goes.")],
    people: Annotated[int, typer.Option(help="People in the shop.")] = 20_000,
    days: Annotated[int, typer.Option(help="Days of history.")] = 240,
    seed: Annotated[int, typer.Option(help="Another seed, another shop.")] = 7,
) -> None:
    """Write a simulated shop with known truth: events, customers and a project file.

    Example: `likelier simulate shop --people 2000`
    """
    shop = _simulate(folder, people, days, seed)
    print(f"{shop.events:,} events of {shop.people:,} people in {folder}; truth in {folder}/truth.")


def _simulate(folder: Path, people: int, days: int, seed: int) -> Any:
    from pipelines.simulate import simulate as make

    with screen.status("simulating a shop") as status:
        return make(
            folder, people=people, days=days, seed=seed,
            progress=lambda stage, share: status.update(f"simulating: {stage} {share:.0%}"),
        )  # fmt: skip


@app.command()
def serve(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000,
) -> None:
    """Serve scores and profiles over HTTP until Ctrl-C.

    Example: `likelier -p shop serve --port 3000`
    """
    from pipelines.serve import serve as start

    raise typer.Exit(start(project_of(context), port))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo goes.")] = Path("demo"),
    people: Annotated[int, typer.Option(help="People in the shop.")] = 20_000,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Stop after the files.")] = False,
) -> None:
    """Simulate a shop, run the whole pipeline, show what it made, and serve it until Ctrl-C.

    Example: `likelier demo --no-serve`
    """
    from pipelines import runner
    from pipelines.printing import print_requests, print_run
    from pipelines.serve import require_free
    from pipelines.serve import serve as start
    from pipelines.workspace import Workspace

    if not no_serve:
        require_free(port)
    shop = _simulate(folder, people, 240, 7)
    print(f"A simulated shop: {shop.people:,} people, {shop.events:,} events, in {folder}/")
    workspace = Workspace.open(folder)
    with progress() as report:
        outcome: Outcome = runner.run(workspace, report=report)
    print_run(workspace, outcome)
    print_requests(workspace, port)
    if not no_serve:
        raise typer.Exit(start(workspace, port))
