"""The usability report of one goal: what there is to learn from, and whether it is enough.

Counts, dates and names of features only: nothing in it is of one person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from html import escape
from typing import Any, Literal

import numpy as np

from features import time
from features.time import Window
from training.charts import COLOURS, PLAIN, figure_of, page_html
from training.dataset import Dataset
from training.errors import Refusal
from training.goals import CompiledGoal
from training.spine import look_back
from training.sufficiency import Examples

State = Literal["ready", "trained", "refused"]
SHOWN = 20
"""Features drawn, of those with most missing values."""


@dataclass(frozen=True)
class Usability:
    """What a goal can learn from. `snapshots`: by as_of, newest first; `people`: all in all.

    `missing`: by feature, or by column where no feature was measured, the share without a value. A
    feature may say nothing by nature: days since a purchase, of who never made one.
    """

    goal: str
    kind: str
    as_of: int
    outcome_window: str
    gap: str
    needed: int
    history: Mapping[str, Any]
    people: Examples | None = None
    snapshots: Sequence[tuple[int, Examples]] = ()
    missing: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    state: State = "ready"
    refusal: Mapping[str, Any] | None = None

    @classmethod
    def begun(cls, goal: CompiledGoal, as_of: int, earliest: int) -> Usability:
        """Return the report of a goal of which nothing is counted yet."""
        settings = goal.settings
        needed = time.outcome_end(look_back(settings).micros, settings.gap, settings.outcome_window)
        history = {
            "first_event": time.format_instant(earliest),
            "days": round(time.days_between(earliest, as_of), 1),
            "days_needed": round(Window(needed).days, 1),
        }
        return cls(
            goal.name, settings.kind, as_of, str(settings.outcome_window), str(settings.gap or ""),
            settings.min_people, history,
        )  # fmt: skip

    def counted(self, moments: Sequence[int], found: Sequence[Examples]) -> Usability:
        """Return the report with people: of each snapshot, newest first, and last of all."""
        *each, every = found
        return replace(self, people=every, snapshots=list(zip(moments, each, strict=True)))

    def measured(self, dataset: Dataset) -> Usability:
        """Return the report with the people of a dataset, by moment, and its missing values."""
        moments = np.unique(dataset.as_of)[::-1]
        if len(moments) > SHOWN:  # Visits: every row has a moment of its own.
            moments = moments[:0]
        parts = [dataset.as_of == moment for moment in moments]
        found = [Examples.of(dataset.label[rows], dataset.person[rows]) for rows in parts]
        found.append(Examples.of(dataset.label, dataset.person))
        rows = max(1, len(dataset.label))
        missing = {
            name: int(np.isnan(dataset.matrix[:, place]).sum()) / rows
            for place, name in enumerate(dataset.names)
        }
        return replace(self.counted(moments.tolist(), found), missing=missing)

    def refused(self, refusal: Refusal) -> Usability:
        """Return the report of a goal that is refused."""
        return replace(self, state="refused", refusal=refusal.facts())

    def body(self) -> dict[str, Any]:
        """Return the report JSON-ready."""
        moments = [
            {"as_of": time.format_instant(moment), **asdict(found)}
            for moment, found in self.snapshots
        ]
        told = sorted(self.missing.items(), key=lambda pair: (-pair[1], pair[0]))
        return {
            "goal": self.goal,
            "kind": self.kind,
            "state": self.state,
            "as_of": time.format_instant(self.as_of),
            "outcome_window": self.outcome_window,
            "gap": self.gap,
            "needed": self.needed,
            "people": asdict(self.people) if self.people else None,
            "snapshots": moments,
            "history": dict(self.history),
            "missing": {name: round(share, 4) for name, share in told if share},
            "warnings": list(self.warnings),
            "refusal": self.refusal,
        }


def headline(body: Mapping[str, Any]) -> str:
    """Say a report in a sentence."""
    people = body["people"]
    counted = (
        f"{people['with_outcome']:,} people with the outcome and {people['without']:,} without, "
        f"{body['needed']:,} of each needed"
        if people
        else "nobody could be counted"
    )
    history = body["history"]
    return (
        f"{body['goal']} is {body['state']}: {counted}; {history['days']:,.0f} days of history, "
        f"{history['days_needed']:,.0f} needed."
    )


def usability_html(body: Mapping[str, Any]) -> str:
    """Return a report, given as JSON, as one self-contained page: pictures, then words."""
    title = f"{body['goal']}: is there enough to learn from?"
    return page_html(title, f"<p>{escape(headline(body))}</p>", _charts(body), _words(body))


def _charts(body: Mapping[str, Any]) -> dict[str, Any]:
    import plotly.graph_objects as go

    colour = COLOURS.get(body["kind"], PLAIN)

    def bars(names: Sequence[str], counts: Sequence[Mapping[str, Any]], title: str) -> Any:
        pairs = (("with the outcome", "with_outcome", colour), ("without", "without", PLAIN))
        drawn = [
            go.Bar(x=names, y=[each[key] for each in counts], name=name, marker_color=shade)
            for name, key, shade in pairs
        ]
        figure = figure_of(drawn, title, "", "People")
        figure.add_hline(y=body["needed"], line_dash="dash", annotation_text="needed of each")
        return figure

    charts = {}
    if body["people"]:
        charts["people"] = bars(["all snapshots"], [body["people"]], "People in all")
    if body["snapshots"]:
        each = body["snapshots"][::-1]
        charts["snapshots"] = bars([e["as_of"][:10] for e in each], each, "People by snapshot")
    refusal = body["refusal"] or {"details": {}}
    if remedies := refusal["details"].get("remedies"):
        names = [f"{each['setting']}: {each['value']}"[:60] for each in remedies]
        charts["remedies"] = bars(names, remedies, "What a change of one setting would give")
    charts["history"] = _history_chart(body, colour)
    if body["missing"]:
        top = list(body["missing"].items())[:SHOWN][::-1]
        shares = go.Bar(x=[s for _, s in top], y=[escape(n) for n, _ in top], orientation="h",
                        marker_color=colour)  # fmt: skip
        figure = figure_of([shares], "Without a value", "Share of rows", "")
        figure.update_yaxes(automargin=True)
        charts["missing"] = figure
    return charts


def _history_chart(body: Mapping[str, Any], colour: str) -> Any:
    """Draw the time from the first event to as_of, and the snapshots in it."""
    import plotly.graph_objects as go

    span = [body["history"]["first_event"], body["as_of"]]
    line = go.Scatter(x=span, y=["history"] * 2, mode="lines+markers", name="history",
                      line={"color": PLAIN, "width": 6})  # fmt: skip
    moments = [each["as_of"] for each in body["snapshots"]]
    marks = go.Scatter(x=moments, y=["snapshots"] * len(moments), mode="markers", name="snapshots",
                       marker={"color": colour, "size": 12})  # fmt: skip
    figure = figure_of([line, marks], "History, and when people are looked at", "", "")
    figure.update_yaxes(automargin=True)
    return figure


def _words(body: Mapping[str, Any]) -> str:
    refusal, said = body["refusal"], []
    if refusal:
        said += [f"<h2>Refused: {escape(refusal['code'])}</h2>"]
        said += [f"<p>{escape(text)}</p>" for text in (refusal["message"], refusal["hint"]) if text]
    if body["warnings"]:
        said.append("<h2>Warnings</h2>")
        said += [f"<p>{escape(warning)}</p>" for warning in body["warnings"]]
    return f'<section class="warnings">{"".join(said)}</section>' if said else ""
