"""What every command shares: the screen, the project it works on, and how progress is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from pipelines.workspace import Workspace

screen = Console(stderr=True)
"""Progress and errors. Results go to standard output, so that they can be piped."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="What was known before this moment: 2011-10-01 or ISO time."),
]


def plain(text: str) -> str:
    """Return text that the screen shows as it is, brackets and all."""
    return text.replace("[", "\\[")


def project_of(context: typer.Context) -> Workspace:
    """Open the project that `-p` names."""
    from pipelines.workspace import Workspace

    return Workspace.open(context.obj)


@contextmanager
def progress() -> Iterator[Callable[[str, str], None]]:
    """Show the stages of a run as they pass, with what is being done and for how long."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed

    from pipelines.stages import STAGES

    columns = (TextColumn("[bold]{task.fields[stage]:<9}"), BarColumn(20), MofNCompleteColumn(),
               Elapsed(), TextColumn("{task.description}"))  # fmt: skip
    with Progress(*columns, console=screen, transient=True) as shown:
        task = shown.add_task("", total=len(STAGES), stage="")

        def report(stage: str, text: str) -> None:
            place = STAGES.index(stage) if stage in STAGES else 0
            shown.update(task, completed=place, stage=stage, description=text[:70])
            if text and not screen.is_terminal:
                shown.console.print(f"{stage}: {plain(text)}", soft_wrap=True)

        yield report
