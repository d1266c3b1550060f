"""What an erasure takes from rows, and that a purged part is the part of a fresh reading."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest

from features import erasures as ledger
from features.engine import Engine
from features.erasures import Erasures
from features.identity.namespaces import identity_of
from features.sources.errors import NoRows
from features.sources.files import discover
from features.sources.ingest import TABLE as PARTS
from features.sources.ingest import ingest_file, part_key
from features.sources.purge import lags, purge_part
from features.sources.unite import gather
from features.time import parse_instant
from tests.unit.source_files import CUSTOMER, EMAIL, Folder, records, source

COOKIE = {"name": "cookie", "type": "cookie"}
SPACES = [CUSTOMER, EMAIL, COOKIE]
WHEN = parse_instant("2024-06-01T00:00:00Z")
HEADER = "at,what,who,mail,cookie\n"
TOM, TABLET = "customer:tom", "cookie:tablet"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=1, temporary=tmp_path_factory.mktemp("engine")) as engine:
        yield engine


class Shop(Folder):
    """A folder with one source of events, read before or after people are erased."""

    def read(self, erasures: Erasures | None = None) -> str:
        known = erasures or Erasures.read(self.store.root)
        (file,) = discover(self.project.sources[0], self.path)
        key = part_key(self.project, file)
        if not self.store.has(PARTS, key):
            ingest_file(self.engine, self.store, self.project, file, key, known)
        elif lags(self.store, key, known):
            purge_part(self.engine, self.store, self.project, key, known)
        return key

    def rows(self, key: str, name: str = "accepted"):
        found = pq.read_table(self.store.folder(PARTS, key) / f"{name}.parquet").to_pylist()
        return sorted(found, key=lambda row: str(sorted(row.items(), key=str)))

    def erase(self, *identities: str, at: int = WHEN) -> None:
        ledger.record(self.store.root, at, identities, {}, [])

    def mail(self, address: str) -> str:
        settings = self.project.identity
        return str(identity_of(settings, settings.namespace("email"), address))


def shop(folder, engine, lines: str) -> Shop:
    who = {"customer": "who", "email": "mail", "cookie": "cookie"}
    return Shop(folder, engine, [source(identities=who)], SPACES).put({"log.csv": HEADER + lines})


def who(rows) -> list[tuple[str | None, str | None]]:
    return [(row["id_customer"], row["id_cookie"]) for row in rows]


LINES = """\
2024-05-01,visit,tom,tom@x.org,tablet
2024-05-02,visit,,,tablet
2024-05-03,visit,nora,,tablet
2024-05-04,visit,nora,,phone
2024-06-02,visit,tom,,tablet
"""


def test_rows_of_the_person_go_and_those_of_others_lose_the_shared_device(tmp_path, engine):
    folder = shop(tmp_path, engine, LINES)
    folder.erase(TOM, TABLET, folder.mail("tom@x.org"))
    key = folder.read()
    # The tablet of Nora's row is nobody; what Tom did after his erasure counts.
    assert sorted(who(folder.rows(key)), key=str) == [
        ("customer:nora", "cookie:phone"), ("customer:nora", None), (TOM, TABLET),
    ]  # fmt: skip
    facts = folder.store.facts(PARTS, key)
    assert (facts["rows"], facts["accepted"], facts["erased"]) == (5, 3, 2)
    assert folder.rows(key, "contacts") == []


@pytest.mark.parametrize("earlier", [[], ["customer:nora"], [TOM]])
def test_a_purged_part_is_what_a_fresh_reading_makes(tmp_path, engine, earlier):
    lines = LINES + "2024-05-05,,tom,tom@x.org,\nbroken\n2024-05-06,visit,,ann@x.org,\n"
    purged = shop(tmp_path / "purged", engine, lines)
    fresh = shop(tmp_path / "fresh", engine, lines)
    purged.read()
    for number, erased in enumerate([*([earlier] if earlier else []), [TOM, TABLET]]):
        for folder in (purged, fresh):
            folder.erase(*erased, folder.mail("tom@x.org"), at=WHEN + number)
        purged.read()
    fresh.read()
    for name in ("accepted", "quarantine", "contacts"):
        assert purged.rows(purged.read(), name) == fresh.rows(fresh.read(), name), name
    known = [each.store.facts(PARTS, each.read()) for each in (purged, fresh)]
    assert known[0] == known[1]
    assert len(purged.rows(purged.read(), "contacts")) == 1


def test_a_part_without_the_person_stays_as_it_is_and_so_does_what_is_made_of_it(tmp_path, engine):
    folder = shop(tmp_path, engine, LINES)
    key = folder.read()
    before = gather(folder.store, folder.project, {"log": [key]})[0].versions
    folder.erase("customer:bob")
    folder.read()
    assert gather(folder.store, folder.project, {"log": [key]})[0].versions == before
    folder.erase(TOM)
    folder.read()
    assert gather(folder.store, folder.project, {"log": [key]})[0].versions == [(key, 2, "")]


def test_an_undated_record_is_taken_as_old(tmp_path, engine):
    crm = records(known_from=None, profile={"city": "city"})
    folder = Shop(tmp_path, engine, [crm], [CUSTOMER]).put(
        {"crm.csv": "who,city\ntom,Rome\nann,Bonn\n"}
    )
    folder.erase(TOM, at=1)
    assert [row["profile_city"] for row in folder.rows(folder.read())] == ["Bonn"]


def test_a_row_dated_at_the_moment_of_the_erasure_counts(tmp_path, engine):
    folder = shop(
        tmp_path, engine, "2024-06-01,visit,tom,,\n2024-05-31T23:59:59.999999Z,visit,tom,,\n"
    )
    folder.erase(TOM)
    assert [row["event_time"] for row in folder.rows(folder.read())] == [WHEN]


def test_refused_rows_show_nothing_that_may_be_the_persons(tmp_path, engine):
    lines = "tom@x.org,visit,ann,,\n13/13,visit,bob,,\n2024-05-01,visit,tom\n"
    folder = shop(tmp_path, engine, lines)
    key = folder.read()
    assert [row["value"] for row in folder.rows(key, "quarantine")][:2] == ["tom@x.org", "13/13"]
    folder.erase(folder.mail("tom@x.org"))
    folder.read()
    found = {row["row"]: (row["code"], row["value"]) for row in folder.rows(key, "quarantine")}
    assert found == {
        1: ("bad_event_time", None), 2: ("bad_event_time", "13/13"), 3: ("malformed_row", None),
    }  # fmt: skip
    assert folder.store.facts(PARTS, key)["examples"]["bad_event_time"]["value"] is None


def test_a_source_may_be_left_empty_but_not_all_of_them(tmp_path, engine):
    folder = shop(tmp_path, engine, "2024-05-01,visit,tom,,\n")
    folder.erase(TOM)
    with pytest.raises(NoRows, match="of a person who was erased since"):
        gather(folder.store, folder.project, {"log": [folder.read()]})
