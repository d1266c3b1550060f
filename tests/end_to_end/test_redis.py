"""A run publishes to Redis what it publishes to LMDB, and again where the server has lost it."""

from __future__ import annotations

from features.store import Manifest
from pipelines.workspace import Workspace
from serving.online.places import Place
from serving.scorer import Scorer
from tests.end_to_end.shops import run, store_of, table
from tests.redis_server import redis_server


def test_a_run_publishes_to_redis_and_again_where_it_was_lost(a_copy, shop, tmp_path):
    with redis_server(tmp_path) as server:
        project = a_copy / "likelier.yaml"
        project.write_text(f"{project.read_text()}\nserving: {{online: '{server.url}'}}\n")
        said = run(a_copy)
        scorer, place = opened(a_copy)
        assert scorer.online.meta["goals"]
        assert_as_in_lmdb(scorer, shop)
        server.kill()
        server.start()
        assert not place.has(manifest_of(a_copy).tables["online"])
        again = run(a_copy)
        assert again["run_id"] == said["run_id"]
        assert place.has(manifest_of(a_copy).tables["online"])
        assert_as_in_lmdb(opened(a_copy)[0], shop)


def manifest_of(folder) -> Manifest:
    return store_of(folder).require_current()


def opened(folder) -> tuple[Scorer, Place]:
    workspace = Workspace.open(folder)
    place = Place.of(workspace.project, workspace.store)
    return Scorer.load(workspace.store, manifest_of(folder), place), place


def assert_as_in_lmdb(scorer: Scorer, shop) -> None:
    """Compare with the generation of the same shop, kept in its store."""
    other = Scorer.load(store_of(shop), manifest_of(shop))
    people = table(shop, "profiles", "profiles")["profile_id"].tolist()[::7]
    for who in people:
        assert scorer.score(who, factors=3) == other.score(who, factors=3)
        assert scorer.online.profile(who) == other.online.profile(who)
    assert len(people) > 50
