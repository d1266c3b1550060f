"""Pictures of what moves each bucket: its reasons with their coverage, and the values behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from textwrap import wrap
from typing import Any

from training.bucket_factors import EVERYONE, LEAST
from training.charts import COLOURS, PLAIN, figure_of
from training.reference import BUCKETS

GOOD, MIDDLE, BAD = COLOURS["conversion"], "#d9a441", COLOURS["churn"]
WIDTH = 28
"""Letters of a label in one line."""
BOX = ("5%", "25%", "50%", "75%", "95%")

Bucket = Mapping[str, Any]


def colours_of(kind: str) -> dict[str, str]:
    """Return a colour a bucket: what is good news is green, whichever end it is at."""
    ends = (GOOD, MIDDLE, BAD) if kind == "churn" else (BAD, MIDDLE, GOOD)
    return dict(zip(map(str, BUCKETS), ends, strict=True))


def bucket_charts(buckets: Sequence[Bucket], kind: str) -> dict[str, Any]:
    """Return a chart a bucket that has reasons: their mean importance, coverage on hover."""
    colours = colours_of(kind)
    return {
        f"reasons_{each['bucket']}": _reasons(each, colours[each["bucket"]])
        for each in buckets
        if each["factors"]
    }


def _reasons(bucket: Bucket, colour: str) -> Any:
    import plotly.graph_objects as go

    shown = bucket["factors"][::-1]
    bars = go.Bar(
        x=[each["importance_share"] for each in shown],
        y=[_label(each) for each in shown],
        customdata=[[each["coverage"], each["raises"]] for each in shown],
        hovertemplate="importance %{x:.1%}<br>coverage %{customdata[0]:.0%}"
        "<br>raises the score of %{customdata[1]:.0%}<extra></extra>",
        orientation="h",
        marker_color=colour,
    )  # fmt: skip
    title = f"{bucket['bucket'].capitalize()}: {bucket['people']:,} people"
    figure = figure_of([bars], title, "Mean importance", "")
    figure.update_layout(height=460, margin={"l": 10})
    figure.update_yaxes(automargin=True, tickfont={"size": 11})
    figure.update_xaxes(tickformat=".0%", nticks=4)
    return figure


def _label(factor: Mapping[str, Any]) -> str:
    sign = "+" if factor["direction"] == "raises" else "-"
    return "<br>".join(map(escape, wrap(f"{sign} {factor['label']}", WIDTH)))


def value_charts(buckets: Sequence[Bucket]) -> dict[str, Any]:
    """Return a chart a reason that any bucket lists: its values by bucket and for everyone.

    Numbers are boxes (middle half, whiskers from 5% to 95%), attributes are bars of shares.
    """
    listed = {each["code"]: each for bucket in buckets for each in bucket["factors"]}
    return {f"values_{code}": _values(each) for code, each in sorted(listed.items())}


def _values(factor: Mapping[str, Any]) -> Any:
    import plotly.graph_objects as go

    groups = [name for name in (*map(str, BUCKETS), EVERYONE) if name in factor["values"]]
    title = escape(factor["feature_label"])
    if factor["feature"] is None:
        names = list(factor["values"][EVERYONE]["shares"])
        bars = [
            go.Bar(
                name=escape(name),
                x=groups,
                y=[factor["values"][group]["shares"].get(name, 0.0) for group in groups],
            )
            for name in names
        ]
        figure = figure_of(bars, title, "", "Share of people")
        figure.update_layout(barmode="stack", yaxis_tickformat=".0%")
        return figure
    boxes = [_box(group, factor["values"][group]) for group in groups]
    figure = figure_of(boxes, title, "", factor["unit"])
    figure.update_layout(showlegend=False)
    return figure


def _box(group: str, spread: Mapping[str, Mapping[str, float]]) -> Any:
    import plotly.graph_objects as go

    missing = ", ".join(
        f"{name} {share:.0%}" for name, share in spread["shares"].items() if share >= LEAST
    )
    name = f"{group}<br>{missing}" if missing else group
    if "quantiles" not in spread:
        return go.Box(name=name, x=[name], y=[None], marker_color=PLAIN)
    low, q1, median, q3, high = ([spread["quantiles"][level]] for level in BOX)
    return go.Box(
        name=name, x=[name], lowerfence=low, q1=q1, median=median, q3=q3, upperfence=high,
        marker_color=PLAIN, hoverinfo="y",
    )  # fmt: skip
