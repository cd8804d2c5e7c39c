"""Workers: who they are, at which sites. Identity numbers and phones are taken in and never given out whole
(design rule 8); nor do they stand in an address, which proxies and logs keep, so that a search is a POST."""

from typing import Annotated, Self

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from console_service.audit import Auditor
from console_service.cursors import Cursor, Limit, decode_cursor, encode_cursor
from console_service.erasure import Eraser
from console_service.operators import SITE_CHECKED, Operating, Viewing, check_site
from console_service.person_answers import Person, PersonView
from console_service.person_changes import PersonChanges, Refusal, sees_person
from console_service.person_import import MAX_ERRORS, PersonImport
from console_service.person_wishes import IdcardNo, Identities, PersonId, PersonWish, Phone
from shared.domain.identity import IdentityKind
from shared.runtime.clock import Clock
from shared.runtime.problems import Problem
from shared.stores.person_interfaces import PersonQuery, PersonStore

LISTED = "persons"
MAX_FOUND = 50

CSV, NDJSON = "text/csv", "application/x-ndjson"

_IMPORT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            CSV: {
                "schema": {"type": "string"},
                "example": "personId,name,siteIds,phone\n4508004291609636864,张三,s5f1c2a90b3d4e678,13812341234\n",
            },
            NDJSON: {"schema": {"type": "string"}, "example": '{"personId":"1","name":"张三","phone":null}\n'},
        },
    }
}


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class Persons(_Answer):
    """Persons in order of personId."""

    items: list[Person]


class PersonPage(Persons):
    """Persons in order of personId."""

    next: str | None = Field(description="Cursor of the next page; null on the last one.", examples=[None])


class PersonSearch(BaseModel):
    """Exactly one of the two."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    idcard_no: IdcardNo | None = Field(None, examples=["11010519491231002X"])
    phone: Phone | None = Field(None, examples=[None])

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.idcard_no is None) == (self.phone is None):
            raise ValueError("exactly one of idcardNo and phone is needed")
        return self


class LineError(_Answer):
    """Why a line was not taken over."""

    line: int = Field(description="From 1; of a CSV that is the header.", examples=[17])
    message: str = Field(examples=["there is no such site"])


class ImportResult(_Answer):
    """What became of an import."""

    imported: int = Field(description="Lines that were taken over.", examples=[9998])
    created: int = Field(description="Of them, persons who were new.", examples=[9000])
    changed: int = Field(description="Of them, persons of whom something was changed.", examples=[500])
    failed: int = Field(description="Lines that were not taken over.", examples=[2])
    errors: list[LineError] = Field(description=f"Why, of the first {MAX_ERRORS}.")


def person_routes(
    store: PersonStore,
    changes: PersonChanges,
    identities: Identities,
    eraser: Eraser,
    auditor: Auditor,
    clock: Clock,
) -> APIRouter:
    """The routes under /persons, but for faces."""
    router = APIRouter(prefix="/persons", tags=["persons"])
    view = PersonView(store, identities)

    @router.get("", summary="List persons", responses=SITE_CHECKED)
    async def list_persons(
        operator: Viewing,
        site_id: Annotated[str | None, Query(alias="siteId", description="Who is at this site")] = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> PersonPage:
        """In order of personId."""
        if site_id is not None:
            check_site(operator, site_id)
        listed = f"{LISTED} {site_id!r}"
        after = None if cursor is None else decode_cursor(listed, cursor, tuple[str])[0]
        site_ids = None if operator.site_ids is None else tuple(sorted(operator.site_ids))
        query = PersonQuery(site_ids=site_ids if site_id is None else (site_id,), after=after, limit=limit + 1)
        found = await store.page(query)
        following = encode_cursor(listed, (found[limit - 1].person_id,)) if len(found) > limit else None
        return PersonPage(items=[view.answer(operator, person) for person in found[:limit]], next=following)

    @router.post("/search", summary="Find persons by identity number or phone")
    async def search_persons(operator: Viewing, wish: PersonSearch) -> Persons:
        """At most 50, in order of personId. Only the whole number is found."""
        named = ((IdentityKind.IDCARD, wish.idcard_no), (IdentityKind.PHONE, wish.phone))
        hashes = [one for kind, value in named if value is not None for one in identities.hashes(kind, value)]
        found = await store.find_by_hash(hashes, MAX_FOUND)
        return Persons(items=[view.answer(operator, person) for person in found if sees_person(operator, person)])

    @router.post(
        "/import",
        summary="Import persons",
        openapi_extra=_IMPORT_BODY,
        responses={
            400: {"description": "The body was cut off; detail says how many lines are taken over"},
            408: {"description": "The body took too long; detail says how many lines are taken over"},
            415: {"description": "The body is neither text/csv nor application/x-ndjson, or it is compressed"},
        },
    )
    async def import_persons(operator: Operating, request: Request) -> ImportResult:
        """UTF-8, a person a line, as PUT takes one with personId beside it; of any number, up to 64 MiB, a line up to
        64 KiB. In a CSV the first line names the columns, siteIds are separated by semicolons, an empty cell leaves as
        it is what there is, and a quoted field ends in its line.

        A line is taken over whole or not at all, and a bad one keeps no other from being taken over. Of several lines
        of one person the last counts. Harmless when repeated: where the answer is 503 or the body was cut off, the
        lines that the answer counts are taken over, and of the others some may be."""
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in (CSV, NDJSON):
            raise Problem(415, f"an import is {CSV} or {NDJSON}")
        if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise Problem(415, "an import is not compressed")
        async with auditor.change(operator.who, "person.import", None, {"contentType": content_type}) as change:
            result = await PersonImport(changes, operator).run(request.stream(), is_csv=content_type == CSV)
            counts = {"imported": result.imported, "created": result.created, "changed": result.changed}
            change.after = {**counts, "failed": result.failed, "whole": result.fault is None}
        if result.fault is not None:
            raise result.fault
        errors = [LineError(line=number, message=message) for number, message in sorted(result.errors)]
        return ImportResult(**counts, failed=result.failed, errors=errors)

    @router.get("/{personId}", summary="Show a person")
    async def show_person(operator: Viewing, person_id: PersonId) -> Person:
        """One person."""
        return view.answer(operator, await view.seen(operator, person_id))

    @router.put("/{personId}", summary="Put a person", responses={201: {"model": Person, "description": "It is new"}})
    async def put_person(operator: Operating, person_id: PersonId, wish: PersonWish, response: Response) -> Person:
        """Makes the person, or changes one that is there; 201 where it is new. What is left out stays as it is, null
        removes. The terminals of its sites learn of it. An operator bound to sites puts a person on these, and takes
        it off no other."""
        what = {"members": sorted(wish.model_dump(by_alias=True, exclude_unset=True))}
        async with auditor.change(operator.who, "person.put", person_id, what) as change:
            put = (await changes.put_many(operator, {person_id: wish}))[person_id]
            if isinstance(put, Refusal):
                raise Problem(put.status, put.detail)
            change.before = None if put.before is None else {"siteIds": list(put.before.site_ids)}
            change.after = {"siteIds": list(put.after.site_ids), "changed": put.changed}
        await changes.plan(put.planned_sites)
        response.status_code = 201 if put.before is None else 200
        return view.answer(operator, put.after)

    @router.delete("/{personId}", status_code=204, summary="Delete a person")
    async def delete_person(operator: Operating, person_id: PersonId) -> Response:
        """Its terminals delete it, and everything that the platform has of it is erased: name, identity data and face
        at once, pictures, health data and QR codes of its attendances within seconds. That it passed where and when
        stays, since wages are computed from it."""
        person = await view.seen(operator, person_id)
        async with auditor.change(operator.who, "person.delete", person_id, {}) as change:
            if operator.site_ids is not None and not operator.site_ids.issuperset(person.site_ids):
                raise Problem(403, "the person is at other sites, too: take it off yours by PUT instead")
            await changes.mark(person.site_ids)
            deleted = await store.delete(person_id, clock.now_ms())
            if deleted is None:
                raise Problem(404, "no such person")
            change.before = {"siteIds": list(deleted.site_ids)}
        await changes.plan(deleted.site_ids)
        await eraser.erase_at_once(person_id)
        return Response(status_code=204)

    return router
