"""One run's people as another run's model reads them."""

import numpy as np
import pyarrow as pa
import pytest

from features.behavior.catalogue import to_json
from features.behavior.definitions import CategoryIs, Count, ValueShare
from features.store import Manifest
from features.time import Window
from pipelines.changing import Scored
from training.booster import BoosterParams, Trees
from training.bundle import Bundle
from training.calibration import Calibrator
from training.reference import Reference


def attribute(*values):
    listed = [CategoryIs("country", value, place) for place, value in enumerate(values, 1)]
    return [*listed, CategoryIs("country", None, 0)]


WINDOW = Window.parse("30d")


def run(values, definitions, columns, listing="country"):
    """A run that lists `values`, whose model has `definitions`, with a table of `columns`."""
    matrix = np.arange(len(definitions) * 60.0).reshape(60, -1) % 7
    label = (np.arange(60) % 2).astype(np.int8)
    names = [each.feature.name for each in definitions]
    trees = Trees.fit(matrix, label, names, BoosterParams(num_threads=1), 1)
    margin = trees.margin(matrix)
    calibrator = Calibrator.of(margin, label)
    bundle = Bundle(
        goal="buy", kind="conversion", basis="calendar", as_of=0, outcome_window="30d", gap="",
        trees=trees, calibrator=calibrator, features=tuple(d.feature for d in definitions),
        definitions=[to_json(each) for each in definitions], categories={listing: values},
        reference=Reference.of(margin, calibrator.probability(margin)), base_rate=0.5,
        serves="model", metrics={}, data_fingerprint="",
    )  # fmt: skip
    return Scored(Manifest("run", 0, {}), bundle, pa.table({}), pa.table(columns))


COUNT = Count("purchase", Window.parse("30d"))
OLD = run(
    ["France", "Spain"],
    [*attribute("France", "Spain"), COUNT],
    # In France, in Spain, elsewhere, nobody knows.
    {
        "profile_country_is_1": [1.0, 0, 0, 0],
        "profile_country_is_2": [0, 1.0, 0, 0],
        "profile_country_is_other": [0, 0, 1.0, 0],
        "purchase_count_30d": [4, 3, 2, 1],
    },
)
NEW = run(
    ["Spain", "Italy"],
    attribute("Spain", "Italy"),
    # In Spain, in Italy, elsewhere, nobody knows.
    {
        "profile_country_is_1": [1.0, 0, 0, 0],
        "profile_country_is_2": [0, 1.0, 0, 0],
        "profile_country_is_other": [0, 0, 1.0, 0],
    },
)


@pytest.mark.parametrize(
    ("data", "model", "wanted", "missing"),
    [
        # By place the old France would be read where Spain stands now.
        (NEW, OLD, [[0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]], ["purchase_count_30d"]),
        (OLD, NEW, [[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]], []),
        (OLD, OLD, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], []),
    ],
)
def test_values_of_an_attribute_are_found_by_value(data, model, wanted, missing):
    matrix, lacking = data.matrix(model.bundle)
    assert matrix[:, :3].tolist() == wanted
    assert lacking == missing


def test_shares_of_an_events_values_are_found_by_value_too():
    def shares(*values):
        listed = [*((value, at) for at, value in enumerate(values, 1)), (None, 0)]
        return [ValueShare("search", "term", value, at, WINDOW) for value, at in listed]

    def searches(values, *found):
        columns = {each.feature.name: [n] for each, n in zip(shares(*values), found, strict=True)}
        return run(values, shares(*values), columns, listing="search.term")

    old = searches(["shoe", "hat"], 0.5, 0.2, 0.3)
    new = searches(["hat", "sock"], 0.1, 0.6, 0.3)
    assert new.matrix(old.bundle)[0].tolist() == [[0.0, 0.1, pytest.approx(0.9)]]
    assert old.matrix(new.bundle)[0].tolist() == [[0.2, 0.0, pytest.approx(0.8)]]


def test_what_a_run_does_not_measure_is_unknown():
    matrix, _ = NEW.matrix(OLD.bundle)
    assert np.isnan(matrix[:, 3]).all()
    matrix, _ = OLD.matrix(OLD.bundle)
    assert matrix[:, 3].tolist() == [4, 3, 2, 1]
