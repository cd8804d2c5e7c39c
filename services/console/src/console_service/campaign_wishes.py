"""A campaign as operators ask for it."""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

MAX_SNS = 10_000
MAX_SITES = 1_000

Sn = Annotated[str, StringConstraints(min_length=1, max_length=64)]
SiteId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Percent = Annotated[int, Field(strict=True, ge=1, le=100)]


def _each_once(values: list[str] | None) -> list[str] | None:
    return None if values is None else list(dict.fromkeys(values))


def _ascending_to_100(stages: list[int]) -> list[int]:
    if any(earlier >= later for earlier, later in pairwise(stages)) or stages[-1] != 100:
        raise ValueError("stages must ascend and end at 100")
    return stages


class NewCampaign(BaseModel):
    """A campaign to be made."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    firmware_id: str = Field(max_length=64, examples=["f019ab4d2f30c8d5e6f70"])
    sns: Annotated[list[Sn] | None, AfterValidator(_each_once)] = Field(
        None,
        min_length=1,
        max_length=MAX_SNS,
        description="The terminals; either they or siteIds are given.",
        examples=[None],
    )
    site_ids: Annotated[list[SiteId] | None, AfterValidator(_each_once)] = Field(
        None,
        min_length=1,
        max_length=MAX_SITES,
        description="Every terminal that stands at one of these sites now.",
        examples=[["s5f1c2a90b3d4e678"]],
    )
    stages: Annotated[list[Percent], AfterValidator(_ascending_to_100)] = Field(
        [100],
        min_length=1,
        max_length=20,
        description="How much of all terminals is open in each stage, in percent: ascending to 100.",
        examples=[[5, 25, 100]],
    )
    success_threshold: Percent = Field(
        90,
        description="The next stage opens when so many percent of a stage's terminals are done; those that are skipped "
        "do not count.",
        examples=[90],
    )
    error_threshold: Percent = Field(
        10,
        description="The campaign pauses by itself when so many percent of a stage's terminals have failed.",
        examples=[10],
    )

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if (self.sns is None) == (self.site_ids is None):
            raise ValueError("exactly one of sns and siteIds is needed")
        return self
