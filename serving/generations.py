"""Following the store: which generation answers, and how a newer one takes its place.

A thread looks at `CURRENT`. It loads a new run beside the one that serves, lets it catch up with
the journal, then rebinds one reference, so requests under way finish on the generation they began
with. A run that cannot be loaded changes nothing; it is counted, logged, and tried again later.

No event is lost by a change: what was written to the journal before the lock is taken is read there
by the new generation, and what is told after it, is told to the new one. What both see counts once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from features.erasures import Erasures, ledger_state
from features.errors import LikelierError
from features.store import Store
from serving.journal.event import LiveEvent
from serving.journal.files import FOLDER, Position, read_from, read_past
from serving.online import OnlineStoreAway
from serving.online.places import Place
from serving.scorer import Asked, Scorer

log = logging.getLogger(__name__)

EVERY_SECONDS = 0.25
RETRY_SECONDS = 5.0
EVENTS_AT_ONCE = 1_000


class NothingPublished(LikelierError):
    """Asked for scores before the first run was published, or before it was loaded."""

    code = "nothing_published"
    status = 503


class Generations:
    """The scorer that serves now. Call `start` once, and `stop` at the end.

    `loaded` and `failed` count the generations taken up and refused since the start. `before_ready`
    is called when the first is loaded, before it serves.
    """

    def __init__(
        self,
        store: Store,
        every_seconds: float = EVERY_SECONDS,
        place: Place | None = None,
        before_ready: Callable[[], None] | None = None,
    ) -> None:
        self.store, self.place = store, place or Place(store)
        self._before_ready = before_ready
        self.loaded = 0
        self.failed = 0
        self._scorer: Scorer | None = None
        self._telling = threading.Lock()
        self._behind = False
        self._epoch = ""
        self._erasures = Erasures()
        self._ledger: tuple[int, int] = (0, 0)
        self._refused: tuple[str, float] = ("", 0.0)
        self._every = every_seconds
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="generations", daemon=True)

    @property
    def ready(self) -> bool:
        """Whether a generation is loaded and has made a prediction."""
        return self._scorer is not None

    def current(self) -> Scorer:
        """Return the scorer to answer one request with; raise `NothingPublished` without one."""
        scorer = self._scorer
        if scorer is None:
            raise NothingPublished(
                "There are no scores to serve yet.",
                hint="Publish them with `likelier run`; the service takes them up by itself.",
            )
        return scorer

    def known(self, asked: Asked, scorer: Scorer) -> Asked:
        """Return who is asked about: nobody, while a generation made before their erasure serves.

        The next generation no longer has them, or has what they did since.
        """
        if asked.identity is None or not len(self._erasures):
            return asked
        if self._erasures.place(asked.identity) > scorer.erasures:
            return Asked(asked.said, None)
        return asked

    @property
    def erased(self) -> Erasures:
        """Who was erased, as far as this process has heard."""
        return self._erasures

    def received(self, events: Sequence[LiveEvent]) -> None:
        """Count these events, which are in the journal, from now on.

        Where the store is away, they are read from the journal once it is back.
        """
        with self._telling:
            if self._scorer is None or self._behind:
                return
            try:
                self._scorer.recent.add(events)
            except OnlineStoreAway:
                self._behind = True
                raise

    def start(self) -> None:
        """Load what is published now, then follow the store."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """Stop following and let go of the generation."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        self._scorer = None

    def look(self) -> None:
        """Take up the published run if it is not the one that serves, and new erasures."""
        self._read_erasures()
        self._mend()
        run_id = self._published()
        refused, when = self._refused
        recently = run_id == refused and time.monotonic() - when < RETRY_SECONDS
        if not run_id or recently or (self._scorer and self._scorer.run_id == run_id):
            return
        try:
            scorer = Scorer.load(self.store, self.store.manifest(run_id), self.place)
            if self._scorer is None and self._before_ready:
                self._before_ready()
            self._take_up(scorer)
        # Whatever is wrong with a new generation, the one that serves must go on.
        except Exception as error:
            self._refused = (run_id, time.monotonic())
            self.failed += 1
            log.error("Run %s cannot be served: %s: %s", run_id, type(error).__name__, error)
        else:
            self.loaded += 1
            log.info("Serving run %s", run_id)

    def _take_up(self, scorer: Scorer) -> None:
        """Let a generation catch up with the journal, and answer from then on."""
        folder, epoch = self.store.root / FOLDER, scorer.online.epoch()
        offsets: dict[str, int] = dict(scorer.online.meta.get("journal", {}))
        told = _tell(scorer, read_from(folder, offsets, scorer.as_of), offsets)
        with self._telling:
            _tell(scorer, read_past(folder, told), told)
            self._scorer, self._epoch, self._behind = scorer, epoch, False

    def _mend(self) -> None:
        """Let the generation that serves catch up anew where its store may have lost events."""
        scorer = self._scorer
        if scorer is None:
            return
        try:
            if self._behind or scorer.online.epoch() != self._epoch:
                self._take_up(scorer)
                log.info("The online store is back")
        except (LikelierError, OSError) as error:
            # Said once: until it is back, every answer says so.
            if not self._behind:
                log.error("The online store is away: %s", error)
            self._behind = True

    def _read_erasures(self) -> None:
        ledger = ledger_state(self.store.root)
        if ledger == self._ledger:
            return
        try:
            self._erasures, self._ledger = Erasures.read(self.store.root), ledger
        except (LikelierError, OSError, ValueError) as error:
            log.error("The erasure ledger cannot be read: %s", error)

    def _published(self) -> str:
        try:
            return (self.store.root / "CURRENT").read_text().strip()
        except OSError:
            return ""

    def _follow(self) -> None:
        while not self._ending.wait(self._every):
            self.look()


def _tell(
    scorer: Scorer, events: Iterator[tuple[LiveEvent, Position]], offsets: Mapping[str, int]
) -> dict[str, int]:
    """Tell a generation of events in the journal; return how far each file was told."""
    told = dict(offsets)
    while some := list(islice(events, EVENTS_AT_ONCE)):
        scorer.recent.add([event for event, _ in some])
        for _, place in some:
            told[place.file] = max(place.offset, told.get(place.file, 0))
    return told
