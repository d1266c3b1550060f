"""The scorecard for people: tables, and one page with charts that opens anywhere."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from pipelines.drifting import largest_move, shares
from pipelines.printing import page
from pipelines.scorecard import BATCH, SERVED
from pipelines.unification_page import Section, save_page, section_html
from training.charts import COLOURS, PLAIN, figure_of, page_html
from training.reference import BUCKETS

HAPPENED = "#202124"
SHOWN_DRIFTS, DRAWN_DRIFTS = 10, 4


def sections(report: Mapping[str, Any]) -> list[Section]:
    """Return the tables of a scorecard, in order; those that would be empty are left out."""
    made = (_alarms, _closed, _buckets, _waiting, _drift)
    return [section for make in made if (section := make(report)).rows]


def _judged(report: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    for card in report["cards"]:
        for of in (BATCH, SERVED):
            if card[of]:
                yield (card["goal"], _day(card["as_of"]), _hash(card["version"]), of), card[of]


def _alarms(report: Mapping[str, Any]) -> Section:
    keys = ("code", "goal", "version", "of", "what")
    rows = [
        tuple((alarm | {"version": _hash(alarm["version"])})[key] for key in keys)
        for alarm in report["alarms"]
    ]
    note = "Of the newest card of each goal, and of the drift of this run."
    return Section("Alarms", note, keys, rows)


def _closed(report: Mapping[str, Any]) -> Section:
    rows = []
    for place, card in _judged(report):
        everyone = card["everyone"]
        auc, low, high = card["auc"], card["auc_low"], card["auc_high"]
        ranked = "one outcome only" if auc is None else f"{auc:.3f} ({low:.3f} to {high:.3f})"
        rows.append(
            (*place, everyone["people"], *_rates(everyone), f"{card['ece']:.3f}", ranked,
             f"{card['promised'][0]:.3f}", card["missing"])
        )  # fmt: skip
    columns = ("goal", "as of", "model", "of", "people", "predicted", "happened (95%)",
               "ECE", "AUC (95%)", "promised", "missing")  # fmt: skip
    note = (
        "ECE: mean distance of tenths. Promised: the AUC at training. Batch: everyone scored. "
        "Served: those of them the service was asked about. Missing: "
        "people erased, expired, or not to be found when the window closed."
    )
    return Section("Predicted and happened", note, columns, rows)


def _buckets(report: Mapping[str, Any]) -> Section:
    rows = [
        (*place, bucket, found["people"], *_rates(found))
        for place, card in _judged(report)
        for bucket, found in _in_order(card["buckets"])
    ]
    columns = ("goal", "as of", "model", "of", "bucket", "people", "predicted", "happened (95%)")
    return Section("By bucket", "", columns, rows)


def _waiting(report: Mapping[str, Any]) -> Section:
    rows = [
        (each["goal"], _day(each["as_of"]), _hash(each["version"]), each["people"],
         _day(each["closes_at"]))
        for each in report["waiting"]
    ]  # fmt: skip
    note = "Scores whose outcome window is open: their card is made by the first run after it."
    return Section("Waiting", note, ("goal", "as of", "model", "people", "closes at"), rows)


def _drift(report: Mapping[str, Any]) -> Section:
    rows = [
        (goal, each["label"], f"{each['psi']:.3f}", each["level"],
         f"{each['nulls_before']:.1%}", f"{each['nulls_now']:.1%}", largest_move(each))
        for goal, found in report["drift"].items()
        for each in found[:SHOWN_DRIFTS]
    ]  # fmt: skip
    columns = ("goal", "what", "PSI", "level", "null then", "null now", "moved most")
    note = (
        "The people scored now against those the model was made for, by the population stability "
        "index: from .1 moved, from .25 shifted."
    )
    return Section("Drift", note, columns, rows)


def _in_order(buckets: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, buckets[name]) for name in BUCKETS.tolist() if name in buckets]


def _rates(found: Mapping[str, Any]) -> tuple[str, str]:
    happened = f"{found['happened']:.1%} ({found['low']:.1%} to {found['high']:.1%})"
    return f"{found['predicted']:.1%}", happened


def _day(moment: str) -> str:
    return moment[:10]


def _hash(version: str) -> str:
    """Return what a version adds to the date that it begins with."""
    return version.rpartition("-")[2]


def print_scorecard(report: Mapping[str, Any]) -> None:
    """Print a scorecard: its tables, each with how to read it."""
    page.print(f"[bold]As of {report['as_of']}[/]")
    for section in sections(report):
        table = Table(*section.columns, title=section.title, caption=section.note or None)
        for column in table.columns:
            column.overflow = "fold"
        for row in section.rows:
            table.add_row(*(f"{v:,}" if isinstance(v, int) else escape(v) for v in row))
        page.print(table)
    if not report["cards"]:
        page.print("No outcome window of earlier scores has closed yet.")


# The page ----------------------------------------------------------------------------------------


def write_page(report: Mapping[str, Any], path: Path) -> None:
    """Write the scorecard as one HTML file; raise `PageNotWritten` where that cannot be."""
    tables = "".join(section_html(section) for section in sections(report))
    title = f"Scorecard as of {report['as_of']}"
    save_page(path, page_html(title, "", dict(charts(report)), after=tables))


def charts(report: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the charts by a short name, goal by goal; of batch scores only."""
    for goal in dict.fromkeys(card["goal"] for card in report["cards"]):
        mine = [card for card in report["cards"] if card["goal"] == goal and card[BATCH]][::-1]
        if not mine:
            continue
        colour = COLOURS.get(mine[-1]["kind"], PLAIN)
        newest = mine[-1][BATCH]
        yield f"{goal}-rates", _over_time(goal, mine, colour)
        yield f"{goal}-auc", _ranking(goal, mine, colour)
        yield f"{goal}-buckets", _bucket_bars(f"{goal}, {_day(mine[-1]['as_of'])}", newest, colour)
        yield f"{goal}-calibration", _calibration(goal, newest, colour)
    for goal, found in report["drift"].items():
        for number, each in enumerate(found[:DRAWN_DRIFTS]):
            if each["level"] != "steady":
                yield f"{goal}-drift-{number}", _spread(goal, each)


def _spread(goal: str, drift: Mapping[str, Any]) -> Any:
    import plotly.graph_objects as go

    bars = [
        go.Bar(
            x=[html.escape(each) for each in drift["bins"]],
            y=shares(drift[when]),
            name=name,
            marker_color=colour,
        )
        for when, name, colour in (("before", "then", PLAIN), ("now", "now", HAPPENED))
    ]
    title = f"{goal}, PSI {drift['psi']:.2f}<br>{html.escape(drift['label'])}"
    figure = figure_of(bars, title, "", "Share of people")
    figure.update_xaxes(type="category", automargin=True)
    # Below it would stand among the names of the bins.
    above = {"x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"}
    figure.update_layout(title_font_size=13, legend=above)
    return figure


def _over_time(goal: str, cards: Sequence[Mapping[str, Any]], colour: str) -> Any:
    days = [_day(card["as_of"]) for card in cards]
    rates = [card[BATCH]["everyone"] for card in cards]
    traces = [
        _line(days, [each["predicted"] for each in rates], "predicted", colour),
        _happened(days, rates),
    ]
    return figure_of(traces, f"{goal}: predicted and happened", "Scores as of", "Share of people")


def _ranking(goal: str, cards: Sequence[Mapping[str, Any]], colour: str) -> Any:
    import plotly.graph_objects as go

    found = [card for card in cards if card[BATCH]["auc"] is not None]
    days, judged = [_day(card["as_of"]) for card in found], [card[BATCH] for card in found]
    realised = go.Scatter(
        x=days, y=[each["auc"] for each in judged], mode="lines+markers", name="realised",
        line={"color": colour},
        error_y={
            "type": "data", "symmetric": False,
            "array": [each["auc_high"] - each["auc"] for each in judged],
            "arrayminus": [each["auc"] - each["auc_low"] for each in judged],
        },
    )  # fmt: skip
    promised = _line(days, [each["promised"][0] for each in judged], "promised", PLAIN, "dash")
    return figure_of([realised, promised], f"{goal}: AUC", "Scores as of", "AUC")


def _bucket_bars(title: str, card: Mapping[str, Any], colour: str) -> Any:
    import plotly.graph_objects as go

    names, found = zip(*_in_order(card["buckets"]), strict=True)
    bars = go.Bar(
        x=names, y=[each["predicted"] for each in found], name="predicted", marker_color=colour
    )
    return figure_of([bars, _happened(names, found)], title, "Bucket", "Share of people")


def _calibration(goal: str, card: Mapping[str, Any], colour: str) -> Any:
    predicted, happened = zip(*card["bins"], strict=True)
    most = max(*predicted, *happened)
    traces = [
        _line([0, most], [0, most], "as predicted", PLAIN, "dash"),
        _line(predicted, happened, "happened", colour),
    ]
    return figure_of(traces, f"{goal}: calibration", "Predicted", "Happened")


def _happened(x: Sequence[Any], found: Sequence[Mapping[str, Any]]) -> Any:
    import plotly.graph_objects as go

    return go.Scatter(
        x=list(x), y=[each["happened"] for each in found], mode="markers", name="happened (95%)",
        marker={"color": HAPPENED, "size": 8},
        error_y={
            "type": "data", "symmetric": False,
            "array": [each["high"] - each["happened"] for each in found],
            "arrayminus": [each["happened"] - each["low"] for each in found],
        },
    )  # fmt: skip


def _line(x: Sequence[Any], y: Sequence[Any], name: str, colour: str, dash: str = "solid") -> Any:
    import plotly.graph_objects as go

    line = {"color": colour, "dash": dash}
    return go.Scatter(x=list(x), y=list(y), mode="lines+markers", name=name, line=line)
