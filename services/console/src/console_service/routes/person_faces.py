"""Faces of workers, as operators put them and terminals load them."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from starlette.requests import ClientDisconnect

from console_service.audit import Auditor
from console_service.operators import Operating, Viewing
from console_service.person_answers import Person, PersonView
from console_service.person_changes import PersonChanges
from console_service.person_faces import FaceImages, FaceRefused
from console_service.person_wishes import Identities, PersonId
from shared.runtime.clock import Clock
from shared.runtime.problems import Problem
from shared.stores.person_interfaces import FaceStore, PersonStore

_BYTES = {"schema": {"type": "string", "format": "binary"}}
_FACE_BODY = {"requestBody": {"required": True, "content": {"image/jpeg": _BYTES, "image/png": _BYTES}}}


def face_routes(
    store: PersonStore,
    faces: FaceStore,
    changes: PersonChanges,
    identities: Identities,
    auditor: Auditor,
    clock: Clock,
) -> APIRouter:
    """The routes under /persons/{personId}/face."""
    router = APIRouter(prefix="/persons/{personId}/face", tags=["persons"])
    view = PersonView(store, identities)
    images = FaceImages()

    @router.put(
        "",
        summary="Put a person's face",
        openapi_extra=_FACE_BODY,
        responses={400: {"description": "The body was cut off"}},
    )
    async def put_face(operator: Operating, person_id: PersonId, request: Request) -> Person:
        """A JPEG or PNG of at most 8 MiB and 25 megapixels. It is stored as a JPEG without metadata, upright, of at
        most 1080 pixels a side and 400 kB, so size and sha256 are not those of the body. The same face again changes
        nothing."""
        person = await view.seen(operator, person_id)
        try:
            face = await images.read(await request.body())
        except ClientDisconnect as error:
            raise Problem(400, "the upload was cut off") from error
        except FaceRefused as error:
            raise Problem(422, str(error)) from error
        async with auditor.change(operator.who, "person.face.put", person_id, {"size": len(face)}):
            await changes.mark(person.site_ids)
            digest = hashlib.sha256(face).hexdigest()
            # The bytes first: what the person refers to is then always there.
            await faces.put(person_id, face, digest)
            changed = await store.set_face(person_id, digest, len(face), clock.now_ms())
            if changed is None:
                await faces.delete(person_id)
                raise Problem(404, "no such person")
        if changed.face_version != person.face_version:
            await changes.plan(changed.site_ids)
        return view.answer(operator, changed)

    @router.get(
        "",
        summary="Show a person's face",
        response_class=Response,
        responses={
            200: {"description": "The face as terminals load it", "content": {"image/jpeg": _BYTES}},
            304: {"description": "It is the one that the caller has (If-None-Match)"},
        },
    )
    async def show_face(
        operator: Viewing, person_id: PersonId, if_none_match: Annotated[str | None, Header()] = None
    ) -> Response:
        """ETag is its SHA-256."""
        person = await view.seen(operator, person_id)
        found = await faces.find(person_id) if person.face is not None else None
        if found is None:
            raise Problem(404, "the person has no face")
        data, digest = found
        headers = {"ETag": f'"{digest}"', "Cache-Control": "private"}
        if if_none_match is not None and f'"{digest}"' in if_none_match:
            return Response(status_code=304, headers=headers)
        return Response(data, headers=headers, media_type="image/jpeg")

    @router.delete("", status_code=204, summary="Delete a person's face")
    async def delete_face(operator: Operating, person_id: PersonId) -> Response:
        """Its terminals know the person by other means from then on, where they have any."""
        person = await view.seen(operator, person_id)
        async with auditor.change(operator.who, "person.face.delete", person_id, {}):
            if person.face is None:
                raise Problem(404, "the person has no face")
            await changes.mark(person.site_ids)
            changed = await store.set_face(person_id, None, 0, clock.now_ms())
            await faces.delete(person_id)
        await changes.plan(person.site_ids if changed is None else changed.site_ids)
        return Response(status_code=204)

    return router
