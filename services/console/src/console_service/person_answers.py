"""Persons as operators see them, and which of them they see."""

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from console_service.person_changes import sees_person
from console_service.person_wishes import Identities
from console_service.times import Moment
from shared.domain import persons
from shared.domain.attendance import rfc3339
from shared.domain.operators import Operator
from shared.runtime.problems import Problem
from shared.stores.person_interfaces import PersonStore


class Face(BaseModel):
    """The face as terminals load it: made of what was uploaded, a JPEG without metadata."""

    sha256: str = Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])
    size: int = Field(description="Bytes.", examples=[48_211])


class Person(BaseModel):
    """A worker who is admitted to sites."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    person_id: str = Field(examples=["4508004291609636864"])
    name: str = Field(examples=["张三"])
    site_ids: list[str] = Field(description="Those that the operator sees.", examples=[["s5f1c2a90b3d4e678"]])
    idcard_no: str | None = Field(description="Masked.", examples=["110*************2X"])
    phone: str | None = Field(description="Masked.", examples=["138****1234"])
    face: Face | None
    created_at: Moment
    changed_at: Moment


class PersonView:
    """Shows persons to operators."""

    def __init__(self, store: PersonStore, identities: Identities) -> None:
        self._store = store
        self._identities = identities

    async def seen(self, operator: Operator, person_id: str) -> persons.Person:
        """The person. Raises Problem (404) where there is none at the operator's sites, Unavailable."""
        person = (await self._store.find([person_id])).get(person_id)
        if person is None or not sees_person(operator, person):
            raise Problem(404, "no such person")
        return person

    def answer(self, operator: Operator, person: persons.Person) -> Person:
        """The person for the operator's eyes. Raises Unavailable where identity data does not open."""
        idcard_no, phone = self._identities.masked(person)
        return Person(
            person_id=person.person_id,
            name=person.name,
            site_ids=[site_id for site_id in person.site_ids if operator.sees(site_id)],
            idcard_no=idcard_no,
            phone=phone,
            face=None if person.face is None else Face(sha256=person.face.sha256, size=person.face.size),
            created_at=rfc3339(person.created_at_ms),
            changed_at=rfc3339(person.changed_at_ms),
        )
