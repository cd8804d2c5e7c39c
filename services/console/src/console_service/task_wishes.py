"""What operators ask terminals to do, as the REST API takes it."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from console_service.times import Time
from shared.protocol.apicodes import Apicode

TaskApicode = Literal[
    Apicode.T_SEND_PERSON,
    Apicode.T_UPDATE_DEVICE_PERSON,
    Apicode.T_DEL_DEVICE_PERSON,
    Apicode.T_CLEAR_DEVICE_PERSON,
    Apicode.T_UPDATE_DEVICE_VERSION,
    Apicode.T_POST_DEVICE_PERSON,
]
"""The interfaces that are tasks; T_GET_TASKS and T_UPDATE_TASKS_STATUS are how terminals deal with them."""

OF_PERSONS = (Apicode.T_SEND_PERSON, Apicode.T_UPDATE_DEVICE_PERSON, Apicode.T_DEL_DEVICE_PERSON)

Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]
ExcludedField = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]


def _each_once(values: list[str] | None) -> list[str] | None:
    return None if values is None else list(dict.fromkeys(values))


class NewTasks(BaseModel):
    """What one terminal, or every terminal of a site, is to do."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    apicode: TaskApicode = Field(examples=[Apicode.T_SEND_PERSON])
    sn: Id | None = Field(None, description="The terminal; either it or siteId is given.", examples=["84E0F42C5D1A"])
    site_id: Id | None = Field(None, description="Every terminal that stands at this site now.", examples=[None])
    person_ids: Annotated[list[Id] | None, AfterValidator(_each_once)] = Field(
        None,
        min_length=1,
        max_length=10_000,
        description="The workers; left out: those of the terminal's site. T_DEL_DEVICE_PERSON always names them.",
        examples=[["4508004291609636864"]],
    )
    firmware_id: Id | None = Field(None, description="The package of T_UPDATE_DEVICE_VERSION.", examples=[None])
    exclude_fields: Annotated[list[ExcludedField] | None, AfterValidator(_each_once)] = Field(
        None,
        max_length=20,
        description="T_POST_DEVICE_PERSON: members that the terminal leaves out of its report.",
        examples=[None],
    )
    push: bool = Field(False, strict=True, description="Also pushed over TCP at once, where the terminal is connected.")
    expires_at: Time = Field(
        None,
        description="From then on it is not given any more; it ends as expired.",
        examples=["2099-12-31T00:00:00+08:00"],
    )

    @model_validator(mode="after")
    def _is_coherent(self) -> Self:
        if (self.sn is None) == (self.site_id is None):
            raise ValueError("exactly one of sn and siteId is needed")
        if self.apicode is Apicode.T_DEL_DEVICE_PERSON and self.person_ids is None:
            raise ValueError("T_DEL_DEVICE_PERSON needs personIds")
        if self.apicode not in OF_PERSONS and self.person_ids is not None:
            raise ValueError(f"{self.apicode} takes no personIds")
        if (self.apicode is Apicode.T_UPDATE_DEVICE_VERSION) != (self.firmware_id is not None):
            raise ValueError("firmwareId is needed for T_UPDATE_DEVICE_VERSION, and for nothing else")
        if self.apicode is not Apicode.T_POST_DEVICE_PERSON and self.exclude_fields is not None:
            raise ValueError(f"{self.apicode} takes no excludeFields")
        if "personId" in (self.exclude_fields or ()):
            raise ValueError("excludeFields cannot name personId: a report without it says nothing")
        return self
