"""Who is asked about: the person as a run published them, and what they did since.

Where no event since says more, the published profile is the person. Where one has several
identities on it, who is who is worked out anew (`features.identity.live`): published profiles are
joined whole, and of one that a login parts, the parts are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from features.behavior.arriving import Arrived
from features.behavior.history import History, Stated
from features.identity.live import Component, Linking, Person, person_of
from features.settings import Identity
from serving.journal.event import LiveEvent
from serving.live import LiveGoals
from serving.online import OnlineStore, ProfileRecord, Recent


@dataclass(frozen=True, eq=False)
class Found:
    """A person: the published profile, if any, and what is known of them by now.

    `profile_id` is None where nothing is known of them. `history` is what live features are made
    of, with `arrived`, the events since, at `as_of`: just after the newest event that says anything
    of them became known. It is None where nothing says more than the run did, or where what the run
    knew is not kept. `known`: somebody is named. `provisional`: the next run may say they are
    somebody else.
    """

    profile: ProfileRecord | None
    profile_id: str | None
    as_of: int
    known: bool = False
    history: History | None = None
    arrived: Sequence[Arrived] = ()
    provisional: bool = False


@dataclass(frozen=True, eq=False)
class Finder:
    """Finds people in one generation and its recent events."""

    online: OnlineStore
    recent: Recent
    live: LiveGoals
    linking: Linking

    @classmethod
    def of(cls, online: OnlineStore, recent: Recent, live: LiveGoals) -> Finder:
        """Return what finds people by the linking rules that the generation was made by."""
        rules = Identity.model_validate(online.meta["live"]["linking"])
        return cls(online, recent, live, Linking.of(rules))

    def profile(self, identity: str | None) -> ProfileRecord | None:
        """Return the published profile that holds an identity, or None."""
        profile_id = self.online.profile_id_of(identity) if identity is not None else None
        return self.online.profile(profile_id) if profile_id is not None else None

    def find(self, identity: str | None, events: Sequence[LiveEvent] = ()) -> Found:
        """Return the person who holds an identity; `events` are theirs, for this answer alone."""
        profile = self.profile(identity)
        identities = profile.identities if profile else (identity,) if identity else ()
        looking = _Looking(self, [self.live.read(event) for event in events])
        seen = looking.around(identities)
        if not seen:
            return self._published(profile)
        if identity is not None and any(len(each.identities) > 1 for each in seen):
            person = person_of(identity, self._component, looking.with_identity, self.linking)
            if person is not None:
                return self._joined(profile, person, looking)
        as_of = self.live.moment(seen)
        if profile is None:
            newcomer = self.live.newcomer(identities)
            named = self.live.names_somebody(identities)
            return Found(None, identity, as_of, named, newcomer, seen)
        history = self.online.history(profile.profile_id)
        if history is None:
            return self._published(profile)
        return Found(profile, profile.profile_id, as_of, profile.known, history, seen)

    def _published(self, profile: ProfileRecord | None) -> Found:
        if profile is None:
            return Found(None, None, self.live.as_of)
        return Found(profile, profile.profile_id, self.live.as_of, profile.known)

    def _joined(self, before: ProfileRecord | None, person: Person, looking: _Looking) -> Found:
        """Return the person that events since have made of published profiles, or of none."""
        arrived = looking.of(person.identities)
        if not arrived and before is not None and {*before.identities} == {*person.identities}:
            return self._published(before)
        ids = dict.fromkeys(map(self.online.profile_id_of, person.identities))
        found = (self.online.profile(each) for each in ids if each is not None)
        profiles = {each.profile_id: each for each in found if each is not None}
        leading = profiles.get(person.profile_id) or next(iter(profiles.values()), None)
        own = frozenset(person.identities)
        parts: list[History] = []
        for profile in sorted(profiles.values(), key=lambda each: each is not leading):
            whole = self.online.history(profile.profile_id)
            if whole is None:
                return self._published(before)
            if own.issuperset(profile.identities):
                parts.append(whole)
            else:
                some = [self.online.part(each) for each in profile.identities if each in own]
                parts += [each for each in some if each is not None]
        attributes, agree = _merged(parts)
        spelt = [each for each in person.identities if each not in person.aliases]
        counts = self.live.newcomer(spelt).identities
        return Found(
            leading,
            person.profile_id,
            self.live.moment(looking.everything()),
            self.live.names_somebody(person.identities),
            History({}, attributes, counts).joined(*(each.events for each in parts)),
            arrived,
            person.provisional or not agree,
        )

    def _component(self, identity: str) -> Component | None:
        component = self.online.component(identity)
        if component is None and (profile := self.profile(identity)) is not None:
            first = profile.first_seen if profile.first_seen is not None else self.live.as_of
            return Component((identity,), (first,), (True,))
        return component


def _merged(parts: Iterable[History]) -> tuple[dict[str, Stated], bool]:
    """Return the attributes of all parts, the first one's leading; and whether they agree.

    Where they do not, the merge rules of the next run say which value stays.
    """
    found: dict[str, Stated] = {}
    agree = True
    for part in parts:
        for name, value in part.attributes.items():
            agree &= found.setdefault(name, value) == value
    return found, agree


@dataclass(eq=False)
class _Looking:
    """Recent events by identity, each looked up once, with the events of the question."""

    finder: Finder
    asked: Sequence[Arrived]
    found: dict[str, list[Arrived]] = field(default_factory=dict)

    def with_identity(self, identity: str) -> list[Arrived]:
        """Return the events that have an identity on them."""
        self._look_up([identity])
        return self.found[identity]

    def _look_up(self, identities: Iterable[str]) -> None:
        """Fetch together what was not asked for before: a store may be a network away."""
        anew = [each for each in identities if each not in self.found]
        if anew:
            listed = [*self.finder.recent.of(anew), *self.asked]
            events = {each.id: each for each in reversed(listed)}.values()
            for identity in anew:
                self.found[identity] = [each for each in events if identity in each.identities]

    def around(self, identities: Sequence[str]) -> list[Arrived]:
        """Return the events that have one of these identities on them, and those of the question.

        One that was received already counts as it was received.
        """
        self._look_up(identities)
        listed = [each for identity in identities for each in self.found[identity]]
        return [*{each.id: each for each in reversed([*listed, *self.asked])}.values()]

    def of(self, identities: Sequence[str]) -> list[Arrived]:
        """Return the events of a person: those that one of the identities owns, and the asked."""
        asked = {each.id for each in self.asked}
        return [
            each
            for each in self.around(identities)
            if each.identities[0] in identities or each.id in asked
        ]

    def everything(self) -> list[Arrived]:
        """Return all events that were looked up, and those of the question."""
        return [*self.asked, *(each for some in self.found.values() for each in some)]
