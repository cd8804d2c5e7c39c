"""The protocol core and the domain do no I/O: importing all of them loads nothing that could."""

import json
import subprocess
import sys

# Two that one might expect here are loaded, and do no I/O: protobuf's descriptor.py takes a lock from `threading`, and
# sealing's nonces come from `secrets`, which imports `random`.
FORBIDDEN = {"asyncio", "socket", "ssl", "logging", "selectors", "select", "http", "subprocess", "tempfile", "shutil"}

IMPORT_ALL = """
import importlib, json, pkgutil, sys
names = []
for package in map(importlib.import_module, sys.argv[1:]):
    names.append(package.__name__)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
        names.append(module.name)
print(json.dumps({"imported": names, "loaded": sorted(sys.modules)}))
"""


def imported_and_loaded(*packages: str) -> tuple[list[str], set[str]]:
    output = subprocess.run([sys.executable, "-c", IMPORT_ALL, *packages], check=True, capture_output=True, text=True)
    answer = json.loads(output.stdout)
    return answer["imported"], set(answer["loaded"])


def test_every_module_of_protocol_and_domain_loads_nothing_that_does_io() -> None:
    imported, loaded = imported_and_loaded("shared.protocol", "shared.domain")

    assert {"shared.protocol.frames", "shared.protocol.verification", "shared.domain.events"} <= set(imported)
    assert sorted(loaded & FORBIDDEN) == []


def test_the_check_sees_io_where_it_is() -> None:
    _, loaded = imported_and_loaded("shared.runtime")

    assert {"asyncio", "logging"} <= loaded & FORBIDDEN
