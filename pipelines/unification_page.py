"""The unification report for people: sections of tables, and one page that opens anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from features.errors import LikelierError
from features.store import write_whole
from training.charts import PLAIN, figure_of, page_html

KNOWN, ANONYMOUS, REFUSED = "#1f6f5c", "#d9a441", "#b3462c"
SHADES = (ANONYMOUS, "#4a7fb5", "#8a6fa8", PLAIN)
MOST_BARS = 12

Cell = str | int


class PageNotWritten(LikelierError):
    """A report page that cannot be written where it was asked for."""

    code = "page_not_written"


@dataclass(frozen=True)
class Section:
    """One table of the report, with a sentence that says how to read it."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]


def sections(report: Mapping[str, Any]) -> list[Section]:
    """Return the tables of a report, in order; those that would be empty are left out."""
    made = (_rows, _namespaces, _overlaps, _idle, _sizes, _largest, _refused, _nobody,
            _overrides, _changes, _hindsight)  # fmt: skip
    return [section for make in made if (section := make(report)).rows]


def _rows(report: Mapping[str, Any]) -> Section:
    rows = []
    for name, found in report["sources"].items():
        refused = found["quarantined"]
        codes = ", ".join(f"{code} {count:,}" for code, count in refused.items())
        counts = (found["rows"], found["accepted"], found["duplicates"], sum(refused.values()))
        rows.append((name, *counts, found.get("erased", 0), codes))
    columns = ("source", "read", "accepted", "duplicates", "quarantined", "erased", "why")
    note = "Rows read = accepted + duplicates + quarantined + those of erased people."
    return Section("Rows by source", note, columns, rows)


def _namespaces(report: Mapping[str, Any]) -> Section:
    keys = ("namespace", "type", "identities", "profiles", "known", "anonymous")
    rows = [tuple(row[key] for key in keys) for row in report["namespaces"]]
    note = (
        "Identities seen, and profiles that hold at least one: known people have an identity of a "
        "person, an e-mail address or a phone."
    )
    return Section("Identities by namespace", note, keys, rows)


def _overlaps(report: Mapping[str, Any]) -> Section:
    rows = [(" + ".join(row["namespaces"]), row["profiles"]) for row in report["overlaps"]]
    note = "Profiles that hold identities of exactly these namespaces."
    return Section("Overlap of namespaces", note, ("namespaces", "profiles"), rows)


def _idle(report: Mapping[str, Any]) -> Section:
    keys = ("days", "namespace", "profiles", "alone", "events")
    rows = [tuple(row[key] for key in keys) for row in report["idle"]]
    note = (
        "Anonymous profiles without an event for so many days, by what they are known by; those "
        "of one identity alone, and all their events."
    )
    columns = ("idle days", "namespace", "profiles", "of one identity", "events")
    return Section("Idle anonymous profiles", note, columns, rows)


def _sizes(report: Mapping[str, Any]) -> Section:
    rows = [(_size(row), row["profiles"]) for row in report["sizes"] if row["profiles"]]
    return Section("Size of profiles", "", ("identities", "profiles"), rows)


def _size(row: Mapping[str, Any]) -> str:
    low, high = row["from"], row["to"]
    return f"over {low - 1}" if high is None else f"{low}" if low == high else f"{low} to {high}"


def _largest(report: Mapping[str, Any]) -> Section:
    rows = [
        (row["profile_id"], row["identities"], row["events"], _counts(row["namespaces"]))
        for row in report["largest"]
    ]
    columns = ("profile", "identities", "events", "of them")
    return Section("Largest profiles", "", columns, rows)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _refused(report: Mapping[str, Any]) -> Section:
    rows = []
    for row in report["refused"]:
        named = ", ".join(f"{each['identity']} {each['links']:,}" for each in row["identities"])
        rows.append((row["reason"], row["links"], named))
    columns = ("reason", "links", "identities that lost most")
    return Section("Links refused", "", columns, rows)


def _nobody(report: Mapping[str, Any]) -> Section:
    keys = ("source", "namespace", "what", "why", "values")
    rows = [tuple(row[key] for key in keys) for row in report["nobody"]]
    note = "Junk is a value that many share; unusable is a value that cannot be an identity."
    return Section("Values that identify nobody", note, keys, rows)


def _overrides(report: Mapping[str, Any]) -> Section:
    rows = [
        (name, found["rows"], found["applied"], found["duplicates"], _counts(found["refused"]))
        for name, found in report["overrides"].items()
    ]
    columns = ("table", "rows", "applied", "duplicates", "refused")
    return Section("Overrides", "", columns, rows)


def _changes(report: Mapping[str, Any]) -> Section:
    note = "Profiles of the run before that go by another name now, or that came apart."
    rows = list(report["profile_changes"].items())
    return Section("Changes since the last run", note, ("change", "profiles"), rows)


def _hindsight(report: Mapping[str, Any]) -> Section:
    rows = [
        (goal, found["rows"], found["changed"], f"{found['changed'] / max(1, found['rows']):.1%}",
         found["people"])
        for goal, found in report["hindsight"].items()
    ]  # fmt: skip
    note = (
        "Training rows that would have held other history, had today's identities been used: "
        "nobody could have known it then. The identities of the time were used."
    )
    columns = ("goal", "training rows", "would differ", "share", "people")
    return Section("The leak avoided", note, columns, rows)


# The page ----------------------------------------------------------------------------------------


def write_page(report: Mapping[str, Any], path: Path) -> None:
    """Write the report as one HTML file; raise `PageNotWritten` where that cannot be."""
    save_page(path, page(report))


def save_page(path: Path, text: str) -> None:
    """Write a page whole or not at all. Raises `PageNotWritten` where that cannot be."""
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise PageNotWritten(
            f"{path} cannot be written: {error.strerror}.", hint="Name another file."
        ) from error


def page(report: Mapping[str, Any]) -> str:
    """Return the report as one self-contained page: a sentence, charts, then every table."""
    tables = "".join(section_html(section) for section in sections(report))
    said = f"<p>{escape(headline(report))}</p>"
    title = f"Unification as of {report['as_of']}"
    return page_html(title, said, dict(_charts(report)), after=tables)


def headline(report: Mapping[str, Any]) -> str:
    """Say in a sentence how many people there are."""
    people = report["profiles"]
    return (
        f"{people['profiles']:,} profiles: {people['known']:,} known, "
        f"{people['anonymous']:,} anonymous."
    )


def section_html(section: Section) -> str:
    """Return a table with its title and note as HTML."""
    head = "".join(f"<th>{escape(column)}</th>" for column in section.columns)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in section.rows)
    note = f"<p>{escape(section.note)}</p>" if section.note else ""
    return (
        f"<section><h2>{escape(section.title)}</h2>{note}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></section>"
    )


def _cell(value: Cell) -> str:
    return f"<td>{value:,}</td>" if isinstance(value, int) else f"<td>{escape(value)}</td>"


def _charts(report: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    spaces = report["namespaces"]
    names = [row["namespace"] for row in spaces]
    figure = figure_of(
        [_bars(names, [row["known"] for row in spaces], "known", KNOWN),
         _bars(names, [row["anonymous"] for row in spaces], "anonymous", ANONYMOUS)],
        "Profiles that hold one", "Namespace", "Profiles",
    )  # fmt: skip
    figure.update_layout(barmode="stack")
    yield "namespaces", figure
    overlaps = report["overlaps"][:MOST_BARS][::-1]
    figure = figure_of(
        [_bars([row["profiles"] for row in overlaps],
               [" + ".join(row["namespaces"]) for row in overlaps], "", KNOWN, "h")],
        "Namespaces held together", "Profiles", "",
    )  # fmt: skip
    figure.update_yaxes(automargin=True)
    yield "overlaps", figure
    idle = report["idle"]
    if idle:
        traces = [
            _bars([f"{row['days']} days" for row in mine], [row["profiles"] for row in mine], name,
                  SHADES[place % len(SHADES)])
            for place, name in enumerate(dict.fromkeys(row["namespace"] for row in idle))
            if (mine := [row for row in idle if row["namespace"] == name])
        ]  # fmt: skip
        yield "idle", figure_of(traces, "Idle anonymous profiles", "No event for", "Profiles")
    sizes = [row for row in report["sizes"] if row["profiles"]]
    bars = _bars([_size(row) for row in sizes], [row["profiles"] for row in sizes], "", PLAIN)
    yield "sizes", figure_of([bars], "Size of profiles", "Identities", "Profiles")
    if report["refused"]:
        reasons = [row["reason"] for row in report["refused"]]
        bars = _bars(reasons, [row["links"] for row in report["refused"]], "", REFUSED)
        yield "refused", figure_of([bars], "Links refused", "Reason", "Links")


def _bars(x: Sequence[Cell], y: Sequence[Cell], name: str, colour: str, way: str = "v") -> Any:
    import plotly.graph_objects as go

    return go.Bar(x=list(x), y=list(y), name=name, marker_color=colour, orientation=way)
