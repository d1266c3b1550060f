"""Charts as PNG, drawn by matplotlib from the figures that plotly shows: no browser is needed.

Only what our charts are made of is drawn: lines with markers and error bars, bars lying or
standing, and heat maps with text. Labels on hover are left out; the page has them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from io import BytesIO
from typing import Any

import numpy as np

INCHES, DOTS = (7.2, 4.4), 150
INK, FAINT = "#202124", "#dadce0"
DASHES = {"dash": (0, (5, 3)), "dot": (0, (1.5, 2))}
FONT = 10


def png(figure: Any) -> bytes:
    """Return a plotly figure as a PNG; raise `NotImplementedError` for a trace of another kind.

    The same figure gives the same bytes under one release of matplotlib.
    """
    # Figure and not pyplot: no global state, so threads may draw at once.
    from matplotlib.figure import Figure

    height = float(figure.layout.height or 380) / 380
    page = Figure(figsize=(INCHES[0], INCHES[1] * height), dpi=DOTS, layout="constrained")
    axes = page.add_subplot()
    for trace in figure.data:
        _draw(axes, trace)
    _dress(axes, figure)
    sink = BytesIO()
    page.savefig(sink, format="png", facecolor="white", metadata={"Software": None})
    return sink.getvalue()


def pngs(figures: Mapping[str, Any]) -> dict[str, bytes]:
    """Return every figure as a PNG, by its name."""
    return {name: png(figure) for name, figure in figures.items()}


def _draw(axes: Any, trace: Any) -> None:
    drawn = {"scatter": _scatter, "bar": _bar, "heatmap": _heatmap}.get(trace.type)
    if drawn is None:
        raise NotImplementedError(f"No picture of a {trace.type} trace.")
    drawn(axes, trace)


def _scatter(axes: Any, trace: Any) -> None:
    mode = trace.mode or "lines"
    x, y = _values(trace.x), _values(trace.y)
    look = {
        "color": trace.line.color,
        "linestyle": DASHES.get(trace.line.dash, "-") if "lines" in mode else "",
        "linewidth": 2,
        "marker": "o" if "markers" in mode else None,
        "markersize": 5,
        "label": _plain(trace.name),
    }
    whiskers = _error(trace)
    axes.plot(x, y, **look, zorder=3)
    if whiskers is not None:
        axes.errorbar(x, y, whiskers, fmt="none", **_whisker_look(trace), zorder=2.5)


def _bar(axes: Any, trace: Any) -> None:
    look = {"color": trace.marker.color, "label": _plain(trace.name), "zorder": 2}
    if trace.orientation == "h":
        axes.barh([_plain(each) for each in trace.y], _values(trace.x), height=0.7, **look)
        return
    x, y = _values(trace.x), _values(trace.y)
    axes.bar(x, y, width=0.92 * float(trace.width) if trace.width else 0.8, **look)
    whiskers = _error(trace)
    if whiskers is not None:
        axes.errorbar(x, y, whiskers, fmt="none", **_whisker_look(trace), zorder=3)


def _heatmap(axes: Any, trace: Any) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    z = np.asarray(trace.z, dtype=np.float64)
    shades = LinearSegmentedColormap.from_list("shades", [each[1] for each in trace.colorscale])
    axes.imshow(z, cmap=shades, vmin=trace.zmin, vmax=trace.zmax, aspect="auto")
    axes.set_xticks(range(z.shape[1]), [_plain(each) for each in trace.x])
    axes.set_yticks(range(z.shape[0]), [_plain(each) for each in trace.y])
    for place, text in np.ndenumerate(np.asarray(trace.text)):
        dark = z[place] > 0.6
        axes.text(place[1], place[0], _plain(text), ha="center", va="center", fontsize=FONT + 3,
                  color="white" if dark else INK)  # fmt: skip


def _dress(axes: Any, figure: Any) -> None:
    """Give the axes their names, grid, percent signs and legend."""
    layout, kinds = figure.layout, {trace.type for trace in figure.data}
    axes.set_title(_plain(layout.title.text), loc="left", fontsize=FONT + 3, color=INK, pad=10)
    axes.set_xlabel(_plain(layout.xaxis.title.text), fontsize=FONT, color=INK)
    axes.set_ylabel(_plain(layout.yaxis.title.text), fontsize=FONT, color=INK)
    axes.tick_params(labelsize=FONT, colors=INK, length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    lying = any(getattr(trace, "orientation", None) == "h" for trace in figure.data)
    if kinds != {"heatmap"}:
        axes.grid(visible=True, axis="x" if lying else "both", color=FAINT, linewidth=0.8, zorder=0)
        axes.set_axisbelow(True)
    for axis, asked in ((axes.xaxis, layout.xaxis), (axes.yaxis, layout.yaxis)):
        _tick(axis, asked)
    if layout.showlegend:
        axes.legend(loc="best", frameon=False, fontsize=FONT)


def _tick(axis: Any, asked: Any) -> None:
    from matplotlib.ticker import MultipleLocator, PercentFormatter

    if (asked.tickformat or "").endswith("%"):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if isinstance(asked.dtick, (int, float)):
        axis.set_major_locator(MultipleLocator(asked.dtick))
    if asked.range is not None:
        axis.axes.set(**{f"{axis.axis_name}lim": tuple(asked.range)})


def _error(trace: Any) -> Any:
    found = trace.error_y
    if found is None or found.array is None:
        return None
    return np.array([_values(found.arrayminus), _values(found.array)])


def _whisker_look(trace: Any) -> dict[str, Any]:
    return {"ecolor": trace.error_y.color or INK, "elinewidth": 1.1, "capsize": 3}


def _values(values: Any) -> Any:
    return np.asarray(values, dtype=np.float64)


def _plain(text: Any) -> str:
    """Return what a label says, without the marks that HTML needs."""
    return unescape(re.sub(r"<[^>]*>", "", re.sub(r"<br ?/?>", "\n", str(text or ""))))
