"""`make sbom` lists exactly what is locked; `make audit` fails on what is vulnerable and on what it could not ask of.
The service that it asks is one of the test's own."""

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCKED = sorted((ROOT / "requirements").glob("*.txt"))
ADVISORY = {
    "id": "PYSEC-2026-1",
    "summary": "what a test made up",
    "affected": [{"package": {"name": "aiohttp", "ecosystem": "PyPI"}, "ranges": []}],
}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The target as a person would make it, but the environment that the tests run in is not installed anew."""
    return subprocess.run(
        ["make", "--no-print-directory", "--old-file", ".venv/.installed", *arguments],
        cwd=ROOT,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


# The SBOM


@pytest.fixture(scope="module")
def sboms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sbom")
    made = make("sbom", f"SBOM_FOLDER={folder}")
    assert made.returncode == 0, made.stdout + made.stderr
    return folder


def locked_packages(text: str) -> dict[tuple[str, str], set[str]]:
    """Name and version of each package with the digests of its files."""
    entries = re.findall(r"^([\w.-]+)==([\w.+!]+)((?:.*\\\n)+.*)", text, re.MULTILINE)
    return {(name, version): set(re.findall(r"--hash=sha256:(\w{64})", rest)) for name, version, rest in entries}


def listed_packages(sbom: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    return {
        (each["name"], each["version"]): {
            digest["content"] for reference in each["externalReferences"] for digest in reference["hashes"]
        }
        for each in sbom["components"]
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("locked", LOCKED, ids=lambda file: file.stem)
def test_an_sbom_lists_exactly_the_locked_packages_with_their_hashes(locked: Path, sboms: Path) -> None:
    sbom = json.loads((sboms / f"{locked.stem}.cdx.json").read_text(encoding="utf-8"))
    text = locked.read_text(encoding="utf-8")
    expected = locked_packages(text)
    assert len(expected) == len(re.findall(r"^[^\s#]", text, re.MULTILINE)) > 0
    assert all(expected.values())
    assert listed_packages(sbom) == expected
    assert sbom["bomFormat"] == "CycloneDX"
    assert {each["purl"] for each in sbom["components"]} == {f"pkg:pypi/{name}@{version}" for name, version in expected}
    assert "timestamp" not in sbom["metadata"], "the same packages give the same file"


def test_the_sbom_of_a_program_says_whose_it_is(sboms: Path) -> None:
    named = {
        file.name.partition(".")[0]: json.loads(file.read_text(encoding="utf-8"))["metadata"]
        .get("component", {})
        .get("name")
        for file in sboms.iterdir()
    }
    alone = {"dev", "bootstrap", "release"}
    assert {name: who for name, who in named.items() if who != name} == dict.fromkeys(alone & set(named))


def test_a_package_that_is_missing_or_has_another_hash_is_found() -> None:
    text = "a==1 \\\n    --hash=sha256:" + "0" * 64 + "\nb==2 \\\n    --hash=sha256:" + "1" * 64 + "\n    # via a\n"
    listed = {
        "components": [
            {"name": "a", "version": "1", "externalReferences": [{"hashes": [{"content": "0" * 64}]}]},
            {"name": "b", "version": "2", "externalReferences": [{"hashes": [{"content": "f" * 64}]}]},
        ]
    }
    assert listed_packages(listed) != locked_packages(text)
    listed["components"][1]["externalReferences"] = [{"hashes": [{"content": "1" * 64}]}]
    assert listed_packages(listed) == locked_packages(text)
    assert listed_packages({"components": listed["components"][:1]}) != locked_packages(text)


# The audit


@contextmanager
def advisories(status: int, of_aiohttp: dict[str, Any]) -> Iterator[str]:
    """A service that knows one advisory at most, by the protocol of OSV; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(of_aiohttp if asked["package"]["name"] == "aiohttp" else {}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_of_http_server: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query"
        finally:
            server.shutdown()
            thread.join()


def test_what_is_audited_for_the_developers_holds_what_every_image_holds() -> None:
    everything = locked_packages((ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8"))
    for file in LOCKED:
        if file.stem != "release":
            assert locked_packages(file.read_text(encoding="utf-8")).keys() <= everything.keys(), file


def audit(address: str, accepted: Path) -> subprocess.CompletedProcess[str]:
    return make(
        "audit",
        f"AUDIT_ARGS=-s osv --osv-url {address}",
        f"AUDIT_ACCEPTED={accepted}",
        "AUDITED=requirements/tcp-ingress.txt",
    )


@pytest.mark.timeout(600)
def test_a_known_vulnerability_fails_the_audit_unless_it_is_accepted(tmp_path: Path) -> None:
    accepted = tmp_path / "accepted"
    accepted.write_text("# none\n", encoding="utf-8")
    with advisories(200, {"vulns": [ADVISORY]}) as address:
        found = audit(address, accepted)
        assert found.returncode != 0
        assert "PYSEC-2026-1" in found.stdout
        accepted.write_text("# one\nPYSEC-2026-1 is made up, until it is not\n", encoding="utf-8")
        passed = audit(address, accepted)
        assert passed.returncode == 0, passed.stdout + passed.stderr


@pytest.mark.timeout(600)
def test_an_audit_that_finds_nothing_passes_and_one_that_could_not_ask_does_not() -> None:
    accepted = ROOT / "requirements" / "audit-accepted"
    with advisories(200, {}) as address:
        clean = audit(address, accepted)
        assert clean.returncode == 0, clean.stdout + clean.stderr
    with advisories(503, {}) as address:
        unasked = audit(address, accepted)
        assert unasked.returncode != 0
        assert "not passed" in unasked.stdout


def test_each_accepted_vulnerability_has_its_reason() -> None:
    lines = (ROOT / "requirements" / "audit-accepted").read_text(encoding="utf-8").splitlines()
    entries = [line for line in lines if line and not line.startswith("#")]
    assert lines
    assert [entry for entry in entries if not re.fullmatch(r"(PYSEC|GHSA|CVE)-\S+ \S.{20,}", entry)] == []
