"""Charts of a training, and the one-file report that carries them.

The report is a single HTML file that opens without a network: plotly's JavaScript is in it once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation import OF_CURVE, Curve, Evaluation
from training.grade import Grade
from training.intervals import Interval

Floats = NDArray[np.float64]

COLOURS = {"churn": "#b3462c", "conversion": "#1f6f5c"}
PLAIN = "#9aa0a6"
SERVED = "#3c6fb4"
WHISKERS = "#3c4043"
MOST_POINTS = 500
MOST_REASONS = 15


@dataclass(frozen=True)
class Report:
    """What the report says. `summary` and `warnings` are plain sentences, one each.

    `served` is the evaluation of the curve that serves, on people left out of it; `grade` holds the
    counts of people at the cut. `scores` are
    those of the reference population; `importance` the shares by reason label; `more` charts come
    last, by a short name.
    """

    title: str
    kind: str
    summary: Sequence[str]
    warnings: Sequence[str]
    evaluation: Evaluation
    served: Evaluation
    grade: Grade
    scores: Floats
    importance: Mapping[str, float]
    more: Mapping[str, Any] = field(default_factory=dict)


def roc_chart(evaluation: Evaluation, colour: str) -> Any:
    """Outcomes caught against false alarms, with the line of chance."""
    found = _line(evaluation.roc, colour, f"model, AUC {evaluation.auc:.3f}")
    chance = _reference([0, 1], [0, 1], "chance")
    return figure_of([found, chance], "ROC", "False alarms", "Outcomes caught")


def precision_recall_chart(evaluation: Evaluation, colour: str) -> Any:
    """Share of the chosen who had the outcome, against the share of outcomes caught."""
    name = f"model, average {evaluation.average_precision:.3f}"
    found = _line(evaluation.precision_recall, colour, name)
    rate = evaluation.positive_rate
    chance = _reference([0, 1], [rate, rate], "chance")
    figure = figure_of([found, chance], "Precision and recall", "Recall", "Precision")
    return figure.update_yaxes(range=[0, 1.02])


def lift_chart(evaluation: Evaluation, colour: str) -> Any:
    """How many times the average rate each tenth of the people has, likeliest first."""
    import plotly.graph_objects as go

    lift = [each.lift for each in evaluation.deciles]
    bars = go.Bar(
        x=[each.decile for each in evaluation.deciles],
        y=lift,
        marker_color=colour,
        name="model, 95% interval",
        error_y=_whiskers(lift, evaluation.intervals.lift, WHISKERS),
    )
    average = _reference([0.5, 10.5], [1, 1], "average")
    figure = figure_of([bars, average], "Lift by decile", "Decile, 1 = likeliest", "Times average")
    return figure.update_xaxes(dtick=1, range=[0.4, 10.6])


def gains_chart(evaluation: Evaluation, colour: str) -> Any:
    """Share of all outcomes found by contacting the likeliest people first."""
    reached = np.arange(len(evaluation.deciles) + 1) / len(evaluation.deciles)
    caught = np.array([0.0, *(each.gain for each in evaluation.deciles)])
    found = _line(Curve(reached, caught), colour, "model, 95% interval")
    found.mode = "lines+markers"
    found.error_y = _whiskers(caught, (Interval(0.0, 0.0), *evaluation.intervals.gain), WHISKERS)
    chance = _reference([0, 1], [0, 1], "in any order")
    figure = figure_of([found, chance], "Cumulative gains", "People contacted", "Outcomes found")
    return _in_percent(figure)


def calibration_chart(evaluation: Evaluation, served: Evaluation, colour: str) -> Any:
    """Predicted probability against what happened, by tenth of the people, for both curves."""
    older = _reliability(evaluation, colour, "evaluation, 95% interval")
    later = _reliability(served, SERVED, "curve that serves")
    later.line.dash = "dot"
    most = float(max(max(each.x.max(), each.y.max()) for each in (older, later)))
    perfect = _reference([0, most], [0, most], "perfect")
    figure = figure_of([older, later, perfect], "Calibration", "Predicted", "Happened")
    return _in_percent(figure)


def _reliability(evaluation: Evaluation, colour: str, name: str) -> Any:
    predicted = np.array([each.mean_predicted for each in evaluation.bins])
    happened = np.array([each.positive_rate for each in evaluation.bins])
    found = _line(Curve(predicted, happened), colour, name)
    found.mode = "lines+markers"
    found.error_y = _whiskers(happened, evaluation.intervals.happened, colour)
    return found


def confusion_chart(grade: Grade, colour: str) -> Any:
    """People by what was predicted at the cut and what happened, with shares of what happened."""
    import plotly.graph_objects as go

    counts = np.array(
        [[grade.caught, grade.missed], [grade.false_alarms, grade.rightly_left]], dtype=np.float64
    )
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    pairs = zip(counts.ravel(), shares.ravel(), strict=True)
    text = np.array([f"{count:,.0f}<br>{share:.0%}" for count, share in pairs]).reshape(2, 2)
    cells = go.Heatmap(
        z=shares,
        x=["predicted", "not predicted"],
        y=["happened", "did not happen"],
        text=text,
        texttemplate="%{text}",
        colorscale=[[0, "#ffffff"], [1, colour]],
        zmin=0,
        zmax=1,
        showscale=False,
    )
    title = f"Predicted from a probability of {grade.cut:.1%} (grade {grade.letter})"
    figure = figure_of([cells], title, "", "")
    return figure.update_yaxes(autorange="reversed", automargin=True)


def score_chart(scores: Floats, colour: str) -> Any:
    """How many people have which score."""
    import plotly.graph_objects as go

    counts, edges = np.histogram(scores, bins=40, range=(0, 100))
    bars = go.Bar(x=(edges[:-1] + edges[1:]) / 2, y=counts, marker_color=colour, width=2.5)
    return figure_of([bars], "Scores", "Score, 50 = average odds", "People")


def importance_chart(importance: Mapping[str, float], colour: str) -> Any:
    """Reasons that move margins most, by mean absolute contribution."""
    import plotly.graph_objects as go

    top = list(importance.items())[:MOST_REASONS][::-1]
    bars = go.Bar(
        x=[share for _, share in top],
        y=[escape(label) for label, _ in top],
        orientation="h",
        marker_color=colour,
    )
    figure = figure_of([bars], "What matters", "Share of all contributions", "")
    figure.update_yaxes(automargin=True)
    return figure


def figures(report: Report) -> dict[str, Any]:
    """Return every chart of a report by a short name, in the order they are shown."""
    colour = COLOURS.get(report.kind, COLOURS["conversion"])
    found = report.evaluation
    return {
        "lift": lift_chart(found, colour),
        "gains": gains_chart(found, colour),
        "calibration": calibration_chart(found, report.served, colour),
        "importance": importance_chart(report.importance, colour),
        "scores": score_chart(report.scores, colour),
        "roc": roc_chart(found, colour),
        "precision_recall": precision_recall_chart(found, colour),
        "confusion": confusion_chart(report.grade, colour),
        **report.more,
    }


def report_html(report: Report) -> str:
    """Return the report as one self-contained page: warnings, summary, figures, charts."""
    said = _warnings(report.warnings) + _paragraphs(report.summary)
    return page_html(report.title, said + _table(report.evaluation, report.served), figures(report))


def page_html(title: str, body: str, charts: Mapping[str, Any], after: str = "") -> str:
    """Return one self-contained page: a title, HTML, charts by a short name, and more HTML."""
    from plotly.offline import get_plotlyjs

    drawn = "".join(
        figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            div_id=f"chart-{name}",
            config={"displayModeBar": False, "responsive": True},
        )
        for name, figure in charts.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<script>{get_plotlyjs()}</script></head><body><main>"
        f"<h1>{escape(title)}</h1>{body}"
        f'<div class="charts">{drawn}</div>{after}</main></body></html>'
    )


# auto-fill, not auto-fit: a chart measures its cell when only those before it are there.
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;color:#202124;margin:0}"
    "main{max-width:72rem;margin:2rem auto;padding:0 1rem}"
    ".warnings{border-left:4px solid #b3462c;background:#fbeeea;padding:.5rem 1rem;margin:1rem 0}"
    "table{border-collapse:collapse}th,td{text-align:left;padding:.2rem 1.5rem .2rem 0}"
    "td{font-variant-numeric:tabular-nums}"
    ".charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(22rem,1fr));gap:1rem}"
)

_WORDS = {
    "population": "People evaluated",
    "positives": "With the outcome",
    "auc": "AUC",
    "average_precision": "Average precision",
    "log_loss": "Log-loss",
    "brier": "Brier score",
    "lift_at_10": "Lift of the likeliest tenth",
    "ece": "Mean calibration error",
    "predicted_minus_rate": "Mean probability minus outcome rate",
    "mean_predicted": "Mean probability",
    "positive_rate": "Outcome rate",
    "baseline_auc": "AUC of the simple rule",
    "auc_over_baseline": "AUC above the simple rule",
}


def _warnings(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    return f'<section class="warnings"><h2>Read this first</h2>{_paragraphs(sentences)}</section>'


def _paragraphs(sentences: Sequence[str]) -> str:
    return "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)


def _table(found: Evaluation, served: Evaluation) -> str:
    """Return the figures with their intervals, beside those of the curve that serves."""
    stated, later = found.metrics(), served.metrics()
    rows = "".join(
        f"<tr><th>{_WORDS[name]}</th><td>{_with_interval(name, stated)}</td>"
        f"<td>{_with_interval(name, later) if name in OF_CURVE else ''}</td></tr>"
        for name in _WORDS
        if name in stated
    )
    head = "<tr><td></td><th>Evaluation</th><th>Curve that serves</th></tr>"
    return f"<table>{head}{rows}</table>"


def _with_interval(name: str, metrics: Mapping[str, float]) -> str:
    shown = _number(metrics[name])
    if f"{name}_low" not in metrics:
        return shown
    low, high = metrics[f"{name}_low"], metrics[f"{name}_high"]
    return f"{shown} ({_number(low)} to {_number(high)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) > 1 else f"{value:.4f}"


def _line(curve: Curve, colour: str, name: str) -> Any:
    import plotly.graph_objects as go

    kept = np.unique(np.linspace(0, len(curve.x) - 1, MOST_POINTS).astype(np.int64))
    line = {"color": colour}
    return go.Scatter(x=curve.x[kept], y=curve.y[kept], mode="lines", name=name, line=line)


def _whiskers(
    values: Sequence[float] | Floats, found: Sequence[Interval], colour: str
) -> dict[str, Any]:
    """Return the error bars of values; an interval of draws need not hold the value it is of."""
    pairs = list(zip(values, found, strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, high - value) for value, (_, high) in pairs],
        "arrayminus": [max(0.0, value - low) for value, (low, _) in pairs],
        "color": colour,
        "thickness": 1.2,
        "width": 3,
    }


def _in_percent(figure: Any) -> Any:
    return figure.update_layout(xaxis_tickformat=".0%", yaxis_tickformat=".0%")


def _reference(x: Sequence[float], y: Sequence[float], name: str) -> Any:
    import plotly.graph_objects as go

    line = {"color": PLAIN, "dash": "dash"}
    return go.Scatter(x=list(x), y=list(y), mode="lines", name=name, line=line)


def figure_of(traces: Sequence[Any], title: str, x: str, y: str) -> Any:
    """Return a chart in the style of the house: traces under a title, with names of the axes."""
    import plotly.graph_objects as go

    figure = go.Figure(list(traces))
    figure.update_layout(
        title=title,
        xaxis_title=x,
        yaxis_title=y,
        template="plotly_white",
        height=380,
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
        legend={"orientation": "h", "y": -0.25},
        showlegend=len(traces) > 1,
    )
    return figure
