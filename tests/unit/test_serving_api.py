"""The HTTP interface: what it answers, and that whatever is wrong is said in one shape."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from features.erasures import record
from features.time import MICROS_PER_DAY
from serving.api import create_app
from serving.generations import Generations
from tests.unit.serving_shop import ANN, ANN_EMAIL, AS_OF, bundle, publish, shop

JSON = {"content-type": "application/json"}


@contextmanager
def serving(folder):
    with TestClient(create_app(shop(folder), folder), raise_server_exceptions=True) as client:
        yield client


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    publish(folder)
    with serving(folder) as client:
        yield client


def score(client, **body):
    return client.post("/score", json=body)


def test_one_person_is_scored(client):
    body = score(client, identity="cookie:c1", goals=["churn"], factors=2).json()
    churn = body["scores"]["churn"]
    assert {key: body[key] for key in ("identity", "profile_id", "known", "segments")} == {
        "identity": "cookie:c1",
        "profile_id": "customer:ann",
        "known": True,
        "segments": ["win_back"],
    }
    assert (churn["status"], churn["model_version"]) == ("scored", bundle("churn").version)
    assert len(churn["factors"]) == 2
    assert list(score(client, identity="cookie:c1").json()["scores"]) == ["churn", "buys"]


def test_a_batch_answers_in_order_with_the_same_bits_as_one_by_one(client):
    asked = [f"customer:{n}" for n in (7, 3, 3, 11)] + ["cookie:never", "cookie:c2"] * 5
    results = client.post("/score/batch", json={"identities": asked, "factors": 3}).json()
    assert [each["identity"] for each in results["results"]] == asked
    for each in results["results"]:
        assert each == score(client, identity=each["identity"], factors=3).json()


def test_an_empty_batch_has_no_results(client):
    assert client.post("/score/batch", json={"identities": []}).json() == {"results": []}


@pytest.mark.parametrize(
    "identity",
    ["email:ann@mail.example", "email: Ann@Mail.EXAMPLE ", f"email:{ANN_EMAIL}",
     f"email:{ANN_EMAIL.upper()}", "cookie:a/b?c d:e", "customer:ann"],
)  # fmt: skip
def test_a_person_is_found_however_they_are_named(client, identity):
    body = score(client, identity=identity).json()
    assert (body["profile_id"], body["identity"]) == ("customer:ann", identity)


@pytest.mark.parametrize(
    "junk",
    [
        "cookie:",
        "cookie:NULL",
        "customer:nobody",
        "email:Test@test.com",
        "email:ann at home",
        "email:ann@example.org",
        "customer:00-00",
        "customer:a\u200bb",
        "customer:[1]",
    ],
)
def test_junk_is_nobody(client, junk):
    body = score(client, identity=junk, goals=["churn"]).json()
    assert (body["profile_id"], body["known"]) == (None, False)
    assert body["scores"]["churn"]["status"] == "no_history"
    assert body["scores"]["churn"]["probability"] == bundle("churn").base_rate


@pytest.mark.parametrize("identity", [*ANN.identities, f"email:{ANN_EMAIL.upper()}"])
def test_a_profile_is_found_by_each_identity_as_one_encoded_segment(client, identity):
    path = f"/profiles/{quote(identity, safe='')}"
    assert client.get(path).json() == {
        "profile_id": "customer:ann",
        "known": True,
        "identities": list(ANN.identities),
        "attributes": {"country": "France", "birth_date": None},
        "measures": {"total_spend": 12.5, "average_order": None},
        "first_seen": "2011-01-02T00:00:00Z",
        "last_seen": "2011-09-30T12:00:00.000001Z",
        "as_of": "2011-10-01T00:00:00Z",
        "segments": ["win_back"],
    }
    assert client.get(f"{path}/segments").json() == {
        "profile_id": "customer:ann",
        "segments": [{"segment": "win_back", "since": "2011-09-30T00:00:00Z"}],
        "as_of": "2011-10-01T00:00:00Z",
    }


ONE = {"identity": "cookie:c1"}
WRONG = [
    # method, path, body (bytes or JSON), status, code, what the message or hint must say
    ("GET", "/nowhere", None, 404, "not_found", "docs.json"),
    ("GET", "/score/", None, 404, "not_found", "docs.json"),
    ("GET", "/profiles/cookie:a/b", None, 404, "not_found", "docs.json"),
    ("GET", "/", None, 404, "not_found", "docs.json"),
    ("GET", "/score", None, 405, "method_not_allowed", "POST"),
    ("DELETE", "/profiles/cookie:c1", None, 405, "method_not_allowed", "GET, HEAD"),
    ("BREW", "/metrics", None, 405, "method_not_allowed", "GET, HEAD"),
    ("POST", "/score", b'{"identity": nope}', 400, "malformed_json", "line 1, column 1"),
    ("POST", "/score", b"", 400, "malformed_json", "line 1, column 1"),
    ("POST", "/score", b'{"identity": "c:\xff"}', 400, "malformed_json", "UTF-8"),
    ("POST", "/score", b'{"identity": "c:\\ud800"}', 400, "malformed_json", "surrogate"),
    ("POST", "/score", b'{"a":' * 800, 400, "malformed_json", "line 1"),
    ("POST", "/score", b"[1]", 422, "invalid_value", "a list, expected an object"),
    ("POST", "/score", b'{"identity": "c:' + b"x" * 5_000, 413, "body_too_large", "5,000 bytes"),
    ("POST", "/score", {}, 422, "invalid_value", "identity is missing"),
    ("POST", "/score", {"identity": 7}, 422, "invalid_value", "a number, expected a text"),
    ("POST", "/score", {"identity": None}, 422, "invalid_value", "null, expected a text"),
    ("POST", "/score", ONE | {"gaols": []}, 422, "unknown_key", "Did you mean 'goals'"),
    ("POST", "/score", ONE | {"events": {}}, 422, "invalid_value", "an object, expected a list"),
    ("POST", "/score", ONE | {"events": [{}]}, 422, "no_event_id", "events[0]: The event"),
    ("POST", "/score", ONE | {"goals": "churn"}, 422, "invalid_value", "a text, expected a list"),
    ("POST", "/score", ONE | {"goals": ["churn", 1]}, 422, "invalid_value", "goals[1]"),
    ("POST", "/score", ONE | {"goals": ["chrun"]}, 422, "unknown_goal", "Did you mean 'churn'"),
    ("POST", "/score", ONE | {"factors": 11}, 422, "invalid_value", "11, expected 0 to 10"),
    ("POST", "/score", ONE | {"factors": -1}, 422, "invalid_value", "-1, expected 0 to 10"),
    ("POST", "/score", ONE | {"factors": True}, 422, "invalid_value", "a boolean"),
    ("POST", "/score", ONE | {"factors": 1.0}, 422, "invalid_value", "a whole number"),
    ("POST", "/score", {"identity": "ann@x.org"}, 422, "bad_identity", "no colon"),
    ("POST", "/score", {"identity": "cookie:" + "x" * 1_018}, 422, "bad_identity", "1,024"),
    ("POST", "/score", {"identity": "cokie:x"}, 422, "unknown_namespace", "Did you mean 'cookie'"),
    ("POST", "/score", {"identity": "a@x.org:1"}, 422, "unknown_namespace", "Known here"),
    ("POST", "/score/batch", {"identities": ["cookie:x"] * 21}, 413, "batch_too_large", "most 20"),
    ("POST", "/score/batch", {"identities": ["cookie:x", "y"]}, 422, "bad_identity",
     "identities[1]"),
    ("POST", "/score/batch", {"identities": ["cookie:x", 1]}, 422, "invalid_value",
     "identities[1]"),
    ("POST", "/score/batch", {"identity": "cookie:x"}, 422, "unknown_key", "'identities'"),
    ("POST", "/score/batch", {}, 422, "invalid_value", "identities is missing"),
    ("GET", "/profiles/cookie:never", None, 404, "unknown_identity", "No profile"),
    ("GET", "/profiles/cookie:null/segments", None, 404, "unknown_identity", "No profile"),
    ("GET", "/profiles/ann", None, 422, "bad_identity", "no colon"),
    ("GET", "/profiles/cokie:x", None, 422, "unknown_namespace", "Did you mean 'cookie'"),
    ("GET", "/profiles/cookie:%FF", None, 422, "bad_identity", "UTF-8"),
    ("GET", "/profiles/email:ann%40example.org", None, 400, "raw_identity_in_url", "SHA-256"),
    ("GET", "/profiles/email%3Aann@m.example/segments", None, 400, "raw_identity_in_url", "body"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status", "code", "says"), WRONG)
def test_whatever_is_wrong_is_said_in_one_shape(client, method, path, body, status, code, says):
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    response = client.request(method, path, content=content, headers=JSON)
    assert_one_shape(response, status, code, says)


def assert_one_shape(response, status, code, says):
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert (response.status_code, list(body), list(body["error"])) == (
        status,
        ["error"],
        ["code", "message", "hint", "details"],
    )
    error = body["error"]
    assert error["code"] == code
    assert says in f"{error['message']} {error['hint']}"
    assert error["hint"]
    assert isinstance(error["details"], dict)


def test_a_wrong_method_names_the_right_ones_in_the_header_too(client):
    assert client.get("/score/batch").headers["allow"] == "POST"


@pytest.mark.parametrize(
    "headers",
    [{}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"},
     JSON | {"content-encoding": "gzip"}],
)  # fmt: skip
def test_only_plain_json_is_read(client, headers):
    response = client.post("/score", content=b'{"identity": "cookie:c1"}', headers=headers)
    assert_one_shape(response, 415, "unsupported_media_type", "Content-Type: application/json")


def test_a_charset_beside_the_type_is_fine(client):
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    content = b'{"identity": "cookie:c1"}'
    assert client.post("/score", content=content, headers=headers).status_code == 200


def test_a_body_that_hides_its_length_is_cut_off(client):
    endless = (b"x" * 1_000 for _ in range(100))
    response = client.post("/score", content=endless, headers=JSON)
    assert_one_shape(response, 413, "body_too_large", "5,000")


def test_before_the_first_run_there_is_nothing_to_serve_and_then_there_is(tmp_path):
    with serving(tmp_path) as client:
        for response in (score(client, identity="cookie:c1"), client.get("/profiles/cookie:c1")):
            assert_one_shape(response, 503, "nothing_published", "likelier run")
        assert not client.app.state.generations.ready
        publish(tmp_path)
        wait_for(lambda: score(client, identity="cookie:c1").status_code == 200)
        assert client.app.state.generations.ready


def test_a_new_run_answers_without_a_restart(tmp_path):
    publish(tmp_path, "run-1")
    with serving(tmp_path) as client:
        before = score(client, identity="customer:ann").json()["scores"]["churn"]
        publish(tmp_path, "run-2", AS_OF + MICROS_PER_DAY, people=[ANN], seed=1)

        def swapped():
            now = score(client, identity="customer:ann").json()["scores"]["churn"]
            return now["as_of"] != before["as_of"]

        wait_for(swapped)
        after = score(client, identity="customer:ann").json()["scores"]["churn"]
        assert after["as_of"] == "2011-10-02T00:00:00Z"
        assert after["model_version"].startswith("2011-10-02-")
        assert after["probability"] != before["probability"]
        assert client.get("/profiles/cookie:c2").status_code == 404


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "It did not happen in time"
        time.sleep(0.02)


def test_a_defect_is_said_in_the_same_shape_and_its_message_stays_out_of_the_log(
    tmp_path, caplog, monkeypatch
):
    publish(tmp_path)
    with serving(tmp_path) as client:
        message = ":".join(["cookie", "secret"])

        def fails(self):
            raise RuntimeError(message)

        monkeypatch.setattr(Generations, "current", fails)
        response = score(client, identity="cookie:secret")
        monkeypatch.undo()
        assert_one_shape(response, 500, "internal_error", "log")
        assert "RuntimeError" in caplog.text
        assert "secret" not in caplog.text + response.text
        assert 'route="/score",status="500"' in client.get("/metrics").text


def test_metrics_count_by_template_and_hold_no_identity(tmp_path):
    publish(tmp_path)
    with serving(tmp_path) as client:
        client.get("/profiles/cookie%3Ac1")
        client.get("/profiles/cookie%3Asecret")
        client.get(f"/profiles/email:{ANN_EMAIL}/segments")
        client.get("/profiles/email:ann@mail.example")
        client.get("/cookie:secret")
        client.request("SECRET", "/score")
        score(client, identity="email:ann@mail.example")
        score(client, identity="cookie:secret", goals=["churn"])
        wait_for(lambda: 'served_log_total{outcome="written"} 2.0' in client.get("/metrics").text)
        text = client.get("/metrics").text
    for line in (
        'likelier_http_requests_total{method="GET",route="/profiles/{identity}",status="200"} 1.0',
        'likelier_http_requests_total{method="GET",route="/profiles/{identity}",status="404"} 1.0',
        'likelier_http_requests_total{method="GET",route="/profiles/{identity}/segments",'
        'status="200"} 1.0',
        'likelier_http_requests_total{method="GET",route="/{other:path}",status="404"} 1.0',
        'likelier_http_requests_total{method="OTHER",route="/{other:path}",status="405"} 1.0',
        'likelier_http_requests_total{method="POST",route="/score",status="200"} 2.0',
        'likelier_scores_total{goal="churn",status="scored"} 1.0',
        'likelier_scores_total{goal="churn",status="no_history"} 1.0',
        'likelier_generations_total{outcome="loaded"} 1.0',
        'likelier_served_log_total{outcome="dropped"} 0.0',
        "likelier_as_of_seconds 1.3174272e+09",
    ):
        assert line in text
    for private in ("secret", "SECRET", "cookie", "ann", ANN_EMAIL):
        assert private not in text


def test_what_was_served_is_logged_without_raw_personal_data(tmp_path):
    publish(tmp_path)
    with serving(tmp_path) as client:
        score(client, identity="email:ann@mail.example", goals=["churn"])
        client.post("/score/batch", json={"identities": ["cookie:c2"], "goals": ["buys"]})
    (file,) = (tmp_path / ".likelier" / "served").glob("*.jsonl")
    first, second = map(json.loads, file.read_text().splitlines())
    assert (first["identity"], first["status"]) == (f"email:{ANN_EMAIL}", "scored")
    assert (second["identity"], second["status"]) == ("cookie:c2", "not_eligible")
    assert "ann@mail.example" not in file.read_text()


def test_whoever_is_erased_is_nobody_at_once_and_not_after_a_run_that_knows_of_it(tmp_path):
    store = publish(tmp_path)
    with serving(tmp_path) as client:
        assert score(client, identity="customer:ann").json()["known"]
        record(store.root, 1, ["customer:ann", "cookie:c1"], {}, [])
        end = time.monotonic() + 10
        while score(client, identity="customer:ann").json()["profile_id"] is not None:
            assert time.monotonic() < end, "The erasure was not taken up"
            time.sleep(0.05)
        said = score(client, identity="cookie:c1").json()
        assert {each["status"] for each in said["scores"].values()} == {"no_history"}
        assert client.get("/profiles/customer%3Aann").status_code == 404
        assert score(client, identity="customer:3").json()["known"]
        served = (tmp_path / ".likelier" / "served").glob("*.jsonl")
        # Asking about the erased leaves no new trace of them.
        assert "cookie:c1" not in "".join(file.read_text() for file in served)
        # They acted anew, and this run was made after the erasure.
        publish(tmp_path, "run-2", as_of=AS_OF + MICROS_PER_DAY, erasures=1)
        while score(client, identity="customer:ann").json()["profile_id"] is None:
            assert time.monotonic() < end, "The new run was not taken up"
            time.sleep(0.05)


def test_no_cache_keeps_an_answer(client):
    assert score(client, identity="cookie:c1").headers["cache-control"] == "no-store"


def test_the_document_describes_every_route_and_no_other(client):
    document = client.get("/docs.json").json()
    served = {
        (route.path, method.lower())
        for route in client.app.routes[:-1]
        for method in (route.methods or ())
        if method != "HEAD"
    }
    described = {
        (path, method) for path, methods in document["paths"].items() for method in methods
    }
    assert document["openapi"].startswith("3.1")
    assert described == served | {("/healthz", "get"), ("/readyz", "get")}


def test_the_document_names_every_field_of_an_answer(client):
    schemas = client.get("/docs.json").json()["components"]["schemas"]
    body = score(client, identity="customer:ann", factors=1).json()
    churn = body["scores"]["churn"]
    profile = client.get("/profiles/customer:ann").json()
    segments = client.get("/profiles/customer:ann/segments").json()
    for answer, schema in (
        (body, schemas["Scores"]),
        (churn, schemas["Score"]),
        (churn["factors"][0], schemas["Score"]["properties"]["factors"]["items"]),
        (profile, schemas["Profile"]),
        (segments, schemas["Segments"]),
        (client.get("/nowhere").json(), schemas["Error"]),
        (client.post("/events", json={}).json(), schemas["Taken"]),
    ):
        assert set(answer) == set(schema["properties"]) == set(schema["required"])
