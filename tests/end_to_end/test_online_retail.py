"""Online Retail (UCI 352): one real run, counted again by other means."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest

from features.time import parse_instant
from tests.end_to_end.shops import environment, exports_by_file, likelier, serving, store_of, table

pytestmark = pytest.mark.slow
ROWS = 541_909
PEAK_MB = 4_000
MLFLOW = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mlflow, pandas
mlflow.set_tracking_uri("sqlite:///" + sys.argv[1])
client = mlflow.MlflowClient()
version = client.get_model_version_by_alias("online_retail.churn", "champion")
run = client.get_run(version.run_id)
model = mlflow.pyfunc.load_model("models:/online_retail.churn@champion")
rows = pandas.read_parquet(sys.argv[2])[model.metadata.get_input_schema().input_names()]
print(json.dumps({
    "bundle": version.tags["bundle"],
    "metrics": run.data.metrics,
    "artifacts": [each.path for each in client.list_artifacts(version.run_id)],
    "report": mlflow.artifacts.load_text(run.info.artifact_uri + "/report.html")[:1000],
    "predicted": pandas.DataFrame(model.predict(rows)).to_dict("list"),
}))
"""


@pytest.fixture(scope="module")
def invoices(data_dir) -> pd.DataFrame:
    rows = pd.read_csv(data_dir / "online_retail" / "online_retail.csv.gz", dtype=str)
    local = pd.to_datetime(rows["InvoiceDate"]).dt.tz_localize("Europe/London")
    return rows.assign(at=local.dt.tz_convert("UTC"))


def test_every_row_is_read_and_accepted(retail):
    _, ended = retail
    found = ended.json["sources"]["invoices"]
    assert (found["rows"], found["accepted"]) == (ROWS, ROWS)
    assert (found["duplicates"], found["quarantined"]) == (0, {})
    assert ended.peak_mb < PEAK_MB


def test_every_customer_and_every_nameless_basket_is_a_profile(retail, invoices):
    _, ended = retail
    found = ended.json["profiles"]
    assert found["known"] == invoices["CustomerID"].nunique() == 4_372
    named = set(invoices.loc[invoices["CustomerID"].notna(), "InvoiceNo"])
    assert found["anonymous"] == len(set(invoices["InvoiceNo"]) - named) == 3_710
    assert found["profiles"] == 8_082


def test_everyone_eligible_is_scored_with_reasons(retail, invoices):
    folder, ended = retail
    as_of = pd.Timestamp(parse_instant(ended.json["as_of"]), unit="us", tz="UTC")
    bought = invoices[
        ~invoices["InvoiceNo"].str.startswith("C")
        & invoices["CustomerID"].notna()
        & (invoices["at"] >= as_of - pd.Timedelta(days=365))
        & (invoices["at"] < as_of)
    ]
    scores, factors = table(folder, "scores", "scores"), table(folder, "scores", "factors")
    eligible = {f"customer:{each}" for each in bought["CustomerID"]}
    assert set(scores["profile_id"]) == eligible
    assert scores["profile_id"].is_unique
    assert set(factors["profile_id"]) == eligible
    assert scores["probability"].between(0, 1).all()
    assert scores["percentile"].between(1, 100).all()
    buckets = scores["score"].map(lambda s: "low" if s < 25 else "medium" if s < 75 else "high")
    assert (buckets == scores["bucket"]).all()


def test_the_win_back_file_is_its_members_less_those_left_out(retail):
    folder, _ = retail
    (name, facts), *_ = exports_by_file(folder).items()
    written = pd.read_csv(folder / "exports" / name, dtype=str)
    members = table(folder, "lists", "memberships")
    assert (facts["segment"], facts["destination"]) == ("win_back", "crm_file")
    assert len(written) == facts["members"] - sum(facts["left_out"].values()) > 0
    assert facts["members"] == (members["segment"] == "win_back").sum()
    high = table(folder, "scores", "scores").query("bucket == 'high'")["profile_id"]
    assert set("customer:" + written["customer"]) <= set(high)
    assert list(written) == ["customer", "score", "reason_1"]


def test_the_model_is_in_mlflow_and_predicts_what_the_table_holds(retail):
    folder, ended = retail
    store = store_of(folder)
    scores = table(folder, "scores", "scores").set_index("profile_id")
    index = table(folder, "united", "identity_index").set_index("identity_key")["identity"]
    as_of = store.require_current().as_of
    (file,) = [
        path
        for key in store.require_current().tables["features"].split("+")
        for path in store.files("features", key)
        if (pd.read_parquet(path, columns=["as_of"])["as_of"] == as_of).all()
    ]
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MLFLOW, folder / ".likelier" / "mlflow.db", file],
        capture_output=True, text=True, check=True, env=environment(), cwd=folder,
    )  # fmt: skip
    said = json.loads(found.stdout.splitlines()[-1])
    metrics = ended.json["goals"]["churn"]["metrics"]
    assert said["metrics"]["auc"] == metrics["auc"] > metrics["baseline_auc"]
    assert "report.html" in said["artifacts"]
    assert "<html" in said["report"].lower()
    people = pd.read_parquet(file, columns=["profile_key", "eligible_churn"])
    names = people["profile_key"].map(index)[people["eligible_churn"]]
    predicted = pd.DataFrame(said["predicted"])[people["eligible_churn"].to_numpy()]
    assert (predicted["probability"].to_numpy() == scores.loc[names, "probability"]).all()


def test_the_service_answers_for_customers_baskets_and_strangers(retail, data_dir, free_port):
    folder, _ = retail
    people = table(folder, "profiles", "profiles")
    basket = people.loc[~people["known"], "profile_id"].iloc[0]
    with serving(folder, free_port, DATA=str(data_dir)) as client:

        def ask(who):
            response = client.post("/score", json={"identity": who, "factors": 3})
            assert response.status_code == 200, response.text
            return response.json()

        # 17841 bought in every month; 17850 for the last time on 2010-12-02, 372 days before.
        customer = ask("customer:17841")
        assert customer["known"] is True
        assert customer["scores"]["churn"]["status"] == "scored"
        assert len(customer["scores"]["churn"]["factors"]) == 3
        lapsed = ask("customer:17850")
        assert lapsed["known"] is True
        assert lapsed["scores"]["churn"]["status"] == "not_eligible"
        assert "365 days" in lapsed["scores"]["churn"]["why"]
        nameless = ask(basket)
        assert basket.startswith("basket:")
        assert nameless["profile_id"] == basket
        assert nameless["known"] is False
        assert nameless["segments"] == []
        assert nameless["scores"]["churn"]["status"] == "not_eligible"
        stranger = ask("customer:nobody")
        assert stranger["profile_id"] is None
        assert stranger["scores"]["churn"]["status"] == "no_history"


def test_a_customer_is_shown_by_the_command_line(retail, data_dir):
    folder, _ = retail
    ended = likelier("-p", folder, "profile", "customer:17850", "--json", DATA=str(data_dir))
    assert ended.code == 0, ended.err
    assert ended.json["attributes"]["country"] == "United Kingdom"
    assert any(i.startswith("basket:") for i in ended.json["identities"])
