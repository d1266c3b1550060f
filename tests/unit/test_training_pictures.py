"""Pictures of charts: PNGs that show what plotly's figures hold, drawn without a browser."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from training.charts import figure_of
from training.pictures import png

GREEN, RED = "#008000", "#ff0000"


def pixels(figure: Any) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png(figure))).convert("RGB")).astype(int)


def coloured(picture: np.ndarray, colour: str) -> np.ndarray:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return (np.abs(picture - wanted).sum(axis=2) < 30).sum(axis=0)


def bars(y: list[float], **more: Any) -> Any:
    return figure_of([go.Bar(x=[1, 2], y=y, marker_color=GREEN, **more)], "Bars", "x", "y")


def test_a_bar_of_twice_the_value_is_twice_as_high():
    columns = coloured(pixels(bars([1.0, 2.0])), GREEN)
    left, right = columns[: len(columns) // 2].max(), columns[len(columns) // 2 :].max()
    assert right == pytest.approx(2 * left, rel=0.05)


def test_bars_may_lie_and_are_then_named():
    lying = go.Bar(x=[1.0, 3.0], y=["one", "three &amp; more"], orientation="h", marker_color=GREEN)
    rows = coloured(pixels(figure_of([lying], "Bars", "x", "")).transpose(1, 0, 2), GREEN)
    half = len(rows) // 2
    assert rows[:half].max() == pytest.approx(3 * rows[half:].max(), rel=0.05)


def test_whiskers_stand_where_the_interval_ends():
    ends = {"type": "data", "symmetric": False, "array": [0, 1.0], "arrayminus": [0, 0],
            "color": RED}  # fmt: skip
    columns = coloured(pixels(bars([2.0, 2.0], error_y=ends)), RED)
    # The whisker of the second bar is half as high as the bar below it.
    green = coloured(pixels(bars([2.0, 2.0], error_y=ends)), GREEN)
    half = len(columns) // 2
    assert columns[half:].max() == pytest.approx(green[half:].max() / 2, rel=0.1)


def test_lines_go_through_their_points():
    line = go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": RED})
    picture = pixels(figure_of([line], "Line", "x", "y"))
    wanted = (picture[:, :, 0] > 200) & (picture[:, :, 1] < 80)
    rows, columns = np.nonzero(wanted)
    assert np.corrcoef(rows, columns)[0, 1] < -0.999


def test_a_heat_map_is_darker_where_the_share_is_larger():
    cells = go.Heatmap(
        z=[[0.0, 1.0]], x=["a", "b"], y=["c"], text=[["0<br>0%", "9<br>100%"]],
        colorscale=[[0, "#ffffff"], [1, GREEN]], zmin=0, zmax=1,
    )  # fmt: skip
    columns = coloured(pixels(figure_of([cells], "Cells", "", "")), GREEN)
    half = int(len(columns) * 0.45)
    assert columns[:half].max() == 0 < columns[half:].max()


def test_the_same_figure_gives_the_same_bytes():
    assert png(bars([1.0, 2.0])) == png(bars([1.0, 2.0]))


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(NotImplementedError, match="No picture of a pie trace"):
        png(go.Figure([go.Pie(values=[1, 2])]))
