"""Construction sites: what terminals are assigned to."""

import secrets
from collections.abc import Sequence

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from console_service.audit import Auditor
from console_service.cursors import Cursor, Limit, decode_cursor, encode_cursor
from console_service.operators import Operating, Viewing, check_unbound
from shared.domain import sites
from shared.domain.operators import Operator
from shared.runtime.clock import Clock
from shared.stores.interfaces import SiteStore

LISTED = "sites"


class NewSite(BaseModel):
    """A site to be entered."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", str_strip_whitespace=True)

    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$", examples=["West Lake Tower"])


class Site(BaseModel):
    """A site that the operators have entered."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    site_id: str = Field(examples=["s5f1c2a90b3d4e678"])
    name: str = Field(examples=["West Lake Tower"])


class SitePage(BaseModel):
    """Sites in order of siteId."""

    items: list[Site]
    next: str | None = Field(description="Cursor of the next page; null on the last one.", examples=[None])


def site_routes(store: SiteStore, auditor: Auditor, clock: Clock) -> APIRouter:
    """The routes under /sites."""
    router = APIRouter(prefix="/sites", tags=["sites"])

    @router.post("", status_code=201, summary="Enter a site")
    async def create_site(operator: Operating, wish: NewSite) -> Site:
        """Two sites may have one name. Where the answer is 503 it is not known whether the site was made: look for it
        among the sites before trying again."""
        check_unbound(operator)
        site = sites.Site(site_id=f"s{secrets.token_hex(8)}", name=wish.name, created_at_ms=clock.now_ms())
        async with auditor.change(operator.who, "site.create", site.site_id, {"name": wish.name}) as change:
            await store.add(site)
            change.after = {"name": site.name}
        return _answer(site)

    @router.get("", summary="List sites")
    async def list_sites(operator: Viewing, cursor: Cursor = None, limit: Limit = 50) -> SitePage:
        """In order of siteId."""
        after = None if cursor is None else decode_cursor(LISTED, cursor, tuple[str])[0]
        found = await page(operator, after, limit + 1)
        following = encode_cursor(LISTED, (found[limit - 1].site_id,)) if len(found) > limit else None
        return SitePage(items=[_answer(site) for site in found[:limit]], next=following)

    async def page(operator: Operator, after: str | None, limit: int) -> Sequence[sites.Site]:
        if operator.site_ids is None:
            return await store.page(after, limit)
        its_own = await store.find(sorted(site_id for site_id in operator.site_ids if site_id > (after or ""))[:limit])
        return [its_own[site_id] for site_id in sorted(its_own)]

    return router


def _answer(site: sites.Site) -> Site:
    return Site(site_id=site.site_id, name=site.name)
