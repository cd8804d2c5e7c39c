"""What operators say of a person, by PUT or as a line of an import, and what of identity data they are shown (design
rule 8)."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Path
from msgspec import UNSET
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from shared.domain.identity import (
    IdentityHashes,
    IdentityKind,
    masked_idcard_no,
    masked_phone,
    read_idcard_no,
    read_phone,
)
from shared.domain.persons import NewPerson, Person
from shared.domain.sealing import Sealer, UnsealError
from shared.runtime.unavailable import Unavailable

PERSON_ID = StringConstraints(
    min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f/\ufffd]*[^\x00-\x20\x7f/\ufffd.][^\x00-\x1f\x7f/\ufffd]*$"
)
"""Without a slash, so that it is one piece of a path; not of dots alone, which HTTP clients take out of paths; without
the sign that stands for what was no UTF-8 in a path, or many ids would be one."""

PersonId = Annotated[str, Path(alias="personId", examples=["4508004291609636864"]), PERSON_ID]
"""Of a path."""

IdcardNo = Annotated[str, StringConstraints(max_length=64), AfterValidator(read_idcard_no)]
Phone = Annotated[str, StringConstraints(max_length=64), AfterValidator(read_phone)]
SiteId = Annotated[str, StringConstraints(min_length=1, max_length=64)]


def _without_defaults(schema: dict[str, Any]) -> None:
    """A member that is left out has no value: it is not the same as null."""
    for member in schema["properties"].values():
        member.pop("default", None)


class PersonWish(BaseModel):
    """What is to stand of a person. Of one who is there already, what is left out stays as it is; null removes."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", str_strip_whitespace=True, json_schema_extra=_without_defaults
    )

    name: str = Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$", examples=["张三"])
    site_ids: list[SiteId] = Field(
        [], max_length=100, description="All sites of the person.", examples=[["s5f1c2a90b3d4e678"]]
    )
    idcard_no: IdcardNo | None = Field(
        None,
        description="Identity number: 6 to 32 letters and digits.",
        examples=["11010519491231002X"],
    )
    phone: Phone | None = Field(
        None, description="5 to 20 digits, with a plus before them or without.", examples=["13812341234"]
    )


class PersonLine(PersonWish):
    """A line of an import."""

    person_id: Annotated[str, PERSON_ID]


class Identities:
    """Seals identity data and opens it, with the platform's sealing keys (the current one first)."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._sealer = Sealer(keys)
        self._hashes = IdentityHashes(keys)

    def new_person(self, person_id: str, wish: PersonWish, scope: frozenset[str] | None) -> NewPerson:
        """The wish as it is stored."""
        given = wish.model_fields_set
        named = ((IdentityKind.IDCARD, wish.idcard_no), (IdentityKind.PHONE, wish.phone))
        return NewPerson(
            person_id=person_id,
            name=wish.name,
            site_ids=tuple(wish.site_ids) if "site_ids" in given else UNSET,
            idcard_no=self._sealed(wish.idcard_no, person_id) if "idcard_no" in given else UNSET,
            phone=self._sealed(wish.phone, person_id) if "phone" in given else UNSET,
            hashes=tuple(self._hashes.stored(kind, value) for kind, value in named if value is not None),
            scope=scope,
        )

    def hashes(self, kind: IdentityKind, value: str) -> tuple[str, ...]:
        """What a person who has this value may be stored under."""
        return self._hashes.all(kind, value)

    def masked(self, person: Person) -> tuple[str | None, str | None]:
        """Identity number and phone as operators see them. Raises Unavailable where they do not open."""
        idcard_no, phone = self._open(person.idcard_no, person), self._open(person.phone, person)
        return idcard_no and masked_idcard_no(idcard_no), phone and masked_phone(phone)

    def changed_members(self, before: Person | None, after: Person) -> list[str]:
        """The members in which a person differs, as the API names them; of a new one those that are not empty. Raises
        Unavailable."""
        if before is None:
            values = {"name": True, "siteIds": after.site_ids, "idcardNo": after.idcard_no, "phone": after.phone}
            return [member for member, value in values.items() if value]
        differs = {
            "name": before.name != after.name,
            "siteIds": before.site_ids != after.site_ids,
            "idcardNo": self._differ(before.idcard_no, after.idcard_no, after),
            "phone": self._differ(before.phone, after.phone, after),
        }
        return [member for member, is_another in differs.items() if is_another]

    def _differ(self, before: bytes | None, after: bytes | None, person: Person) -> bool:
        # One text sealed twice is different bytes.
        return before != after and self._open(before, person) != self._open(after, person)

    def _sealed(self, text: str | None, person_id: str) -> bytes | None:
        return None if text is None else self._sealer.seal(text, person_id)

    def _open(self, sealed: bytes | None, person: Person) -> str | None:
        if sealed is None:
            return None
        try:
            return self._sealer.open(sealed, person.person_id)
        except UnsealError as error:
            raise Unavailable(f"identity data does not open, are all SEALING_KEYS there? {error}") from error
