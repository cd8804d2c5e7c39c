"""Puts persons, one or many: what an operator may put where, and which rosters the planner must look at then."""

import logging
from collections.abc import Collection, Mapping

import msgspec

from console_service.person_wishes import Identities, PersonWish
from shared.domain.operators import Operator
from shared.domain.persons import NewPerson, Person, put_person
from shared.runtime.clock import Clock
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import SiteStore
from shared.stores.person_interfaces import PersonStore, RosterMarks

log = logging.getLogger(__name__)

MARK_AFTER_MS = 60_000
"""Before a change its sites are marked for so long after: where the process dies in between, they are planned then."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a person was not put."""

    status: int
    detail: str


class Put(msgspec.Struct, frozen=True):
    """A person who was put."""

    before: Person | None
    after: Person
    changed: list[str]
    """Members, as the API names them."""

    @property
    def planned_sites(self) -> frozenset[str]:
        """Those whose terminals hold something of the person that is different now."""
        before = frozenset() if self.before is None else frozenset(self.before.site_ids)
        if self.before is None or "name" in self.changed:
            return before.union(self.after.site_ids)
        return before.symmetric_difference(self.after.site_ids)


def sees_person(operator: Operator, person: Person) -> bool:
    """Whether the person is at a site of the operator's."""
    return operator.site_ids is None or not operator.site_ids.isdisjoint(person.site_ids)


class PersonChanges:
    """Puts persons for an operator."""

    def __init__(
        self, persons: PersonStore, sites: SiteStore, marks: RosterMarks, identities: Identities, clock: Clock
    ) -> None:
        self._persons = persons
        self._sites = sites
        self._marks = marks
        self._identities = identities
        self._clock = clock

    async def put_many(self, operator: Operator, wishes: Mapping[str, PersonWish]) -> dict[str, Put | Refusal]:
        """Puts whom it may, and says what became of each, by person id. The caller then calls `plan`. Raises
        Unavailable: any of them may be put."""
        found = await self._persons.find(list(wishes))
        named = {site_id for wish in wishes.values() for site_id in wish.site_ids}
        known = {site_id for site_id in await self._sites.find(sorted(named)) if operator.sees(site_id)}
        outcome: dict[str, Put | Refusal] = {}
        accepted: list[NewPerson] = []
        for person_id, wish in wishes.items():
            refusal = _refusal(operator, found.get(person_id), wish, known)
            if refusal is not None:
                outcome[person_id] = refusal
            else:
                accepted.append(self._identities.new_person(person_id, wish, operator.site_ids))
        touched = {site_id for new in accepted for site_id in new.sites_after(())}
        touched.update(site_id for person in found.values() for site_id in person.site_ids)
        await self.mark(touched)
        now_ms = self._clock.now_ms()
        before = await self._persons.put_many(accepted, now_ms)
        for new in accepted:
            earlier = before[new.person_id]
            after = put_person(earlier, 0, new, now_ms)
            outcome[new.person_id] = Put(earlier, after, self._identities.changed_members(earlier, after))
        return outcome

    async def mark(self, site_ids: Collection[str]) -> None:
        """Before a change that the sites' terminals must learn of. Raises Unavailable: then it must not be made."""
        if site_ids:
            await self._marks.mark_sites(site_ids, after_ms=MARK_AFTER_MS)

    async def plan(self, site_ids: Collection[str]) -> None:
        """After the change: the sites' terminals are planned for at once."""
        if not site_ids:
            return
        try:
            await self._marks.mark_sites(site_ids)
        except Unavailable as error:
            # The change is made, and the mark of before it holds.
            log.warning("%d sites are planned for within a minute only: %s", len(site_ids), error)


def _refusal(operator: Operator, person: Person | None, wish: PersonWish, known: Collection[str]) -> Refusal | None:
    if person is not None and not sees_person(operator, person):
        return Refusal(404, "no such person")
    if not set(wish.site_ids).issubset(known):
        return Refusal(422, "there is no such site")
    if person is None and operator.site_ids is not None and not wish.site_ids:
        return Refusal(422, "siteIds must name a site of yours")
    return None
