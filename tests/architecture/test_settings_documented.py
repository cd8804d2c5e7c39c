"""docs/settings.md names every setting with its default and description.

`.venv/bin/python -m tests.architecture.test_settings_documented` writes the tables anew.
"""

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "settings.md"
SHARED = "shared.runtime.settings"
HEAD = """# Settings

Every process reads its settings from the environment. A refused value ends the process at once, and is named without
being repeated. Units stand in the names.

Written by `.venv/bin/python -m tests.architecture.test_settings_documented` from the settings classes; a test compares
the two.

| process | reads |
|---|---|
| tcp-ingress | `TCP_INGRESS_`, `PRESENCE_`, `KAFKA_`, `REDIS_`, `SEALING_`, `LOG_`, `OTEL_` |
| session | `SESSION_`, `PRESENCE_`, `KAFKA_`, `MONGO_`, `REDIS_`, `SEALING_`, `LOG_`, `OTEL_` |
| attendance-writer | `ATTENDANCE_WRITER_`, `KAFKA_`, `MONGO_`, `LOG_`, `OTEL_` |
| task-api | `TASK_API_`, `KAFKA_`, `MONGO_`, `REDIS_`, `SEALING_`, `LOG_`, `OTEL_` |
| console | `CONSOLE_`, `KAFKA_`, `MONGO_`, `REDIS_`, `SEALING_`, `LOG_`, `OTEL_` |
| synthetic-terminal | `SYNTHETIC_TERMINAL_`, `LOG_` |
| `python -m shared.kafka.topics` | `KAFKA_` |
| `python -m shared.stores.mongo.indexes` | `MONGO_`, `LOG_` |
"""


def settings_classes(module_name: str) -> list[type[BaseSettings]]:
    module = importlib.import_module(module_name)
    return [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, BaseSettings) and member.__module__ == module_name and prefix(member)
    ]


def prefix(settings: type[BaseSettings]) -> str:
    return settings.model_config.get("env_prefix", "")


def all_settings() -> Iterator[type[BaseSettings]]:
    for file in sorted([*ROOT.glob("services/*/src/*/settings.py"), *ROOT.glob("tools/*/src/*/settings.py")]):
        yield from settings_classes(f"{file.parent.name}.settings")
    yield from settings_classes(SHARED)


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    return "" if value is None else f"`{value}`"


def table(settings: type[BaseSettings]) -> str:
    rows = [
        f"| `{prefix(settings)}{name.upper()}` | {default_of(field)} | {(field.description or '').replace('|', '∣')} |"
        for name, field in settings.model_fields.items()
    ]
    return "\n".join([f"## {prefix(settings)}", "", "| setting | default | what |", "|---|---|---|", *rows])


def document() -> str:
    return "\n\n".join([HEAD.rstrip(), *map(table, all_settings())]) + "\n"


def test_every_setting_is_documented_as_it_is() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), (
        "docs/settings.md differs: run .venv/bin/python -m tests.architecture.test_settings_documented and commit"
    )


def test_every_setting_has_a_description_and_every_service_its_settings() -> None:
    found = list(all_settings())
    assert {prefix(one) for one in found} >= {"TCP_INGRESS_", "SESSION_", "ATTENDANCE_WRITER_", "TASK_API_", "CONSOLE_"}
    assert "SYNTHETIC_TERMINAL_" in {prefix(one) for one in found}
    assert {prefix(one) for one in found} >= {"KAFKA_", "REDIS_", "MONGO_", "SEALING_", "LOG_"}
    undescribed = [f"{prefix(one)}{name}" for one in found for name, f in one.model_fields.items() if not f.description]
    assert undescribed == []


def test_a_setting_that_is_not_documented_is_found() -> None:
    class Added(BaseSettings):
        model_config = SettingsConfigDict(env_prefix="ADDED_")

        pause_seconds: float = 1.5

    assert "| `ADDED_PAUSE_SECONDS` | `1.5` |  |" in table(Added)
    assert "ADDED_" not in DOCUMENT.read_text(encoding="utf-8")


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
