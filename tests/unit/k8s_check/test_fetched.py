"""Python alone is enough for the check: go and node come from PyPI where the machine has none."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tools.k8s_check import fetched


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What would have been run; pip's `--target` is given the folders that come after it."""
    told: list[list[str]] = []

    def run(command: Sequence[str], environment: Mapping[str, str]) -> None:
        told.append([*command])
        if "schemas.txt" in command[-1]:
            target = Path(command[command.index("--target") + 1])
            for version in ("v1.20.0-local", "v1.33.0-local-strict", "v1.37.0-local-strict"):
                (target / "kubernetes_validate" / "kubernetes-json-schema" / version).mkdir(parents=True)

    monkeypatch.setattr(fetched, "_run", run)
    return told


def machine_with(monkeypatch: pytest.MonkeyPatch, **programs: str) -> None:
    monkeypatch.delenv("KUSTOMIZE", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: programs.get(name))


def test_a_machine_with_python_alone_takes_go_and_node_from_pypi(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]], tmp_path: Path
) -> None:
    machine_with(monkeypatch)
    found = fetched.fetch(lambda text: None, tmp_path)
    wheels = {Path(command[-1]).name for command in commands if "--require-hashes" in command}
    assert wheels == {"go.txt", "node.txt", "schemas.txt"}
    (go,) = [command for command in commands if command[-1] == fetched.KUSTOMIZE]
    assert Path(go[0]).is_relative_to(tmp_path)
    (npm,) = [command for command in commands if "ci" in command]
    assert npm[0] == str(found.node)
    assert found.node.is_relative_to(tmp_path)


def test_a_machine_that_has_go_and_node_uses_its_own(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]], tmp_path: Path
) -> None:
    machine_with(monkeypatch, go="/opt/go", node="/opt/node", npm="/opt/npm")
    assert fetched.fetch(lambda text: None, tmp_path).node == Path("/opt/node")
    assert {command[0] for command in commands if "--require-hashes" not in command} == {"/opt/go", "/opt/npm"}


def test_node_without_npm_is_not_enough(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]], tmp_path: Path
) -> None:
    machine_with(monkeypatch, go="/opt/go", node="/opt/node")
    assert fetched.fetch(lambda text: None, tmp_path).node.is_relative_to(tmp_path)


def test_only_the_schemas_of_the_versions_checked_are_kept(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]], tmp_path: Path
) -> None:
    machine_with(monkeypatch)
    folder = fetched.fetch(lambda text: None, tmp_path).builtin_schemas
    assert {each.name for each in folder.iterdir()} == {"v1.33.0-local-strict", "v1.37.0-local-strict"}


def test_a_fetch_that_fails_leaves_nothing_that_looks_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(command: Sequence[str], environment: Mapping[str, str]) -> None:
        raise fetched.FetchError("no way to an index")

    monkeypatch.setattr(fetched, "_run", run)
    machine_with(monkeypatch)
    with pytest.raises(fetched.FetchError):
        fetched.fetch(lambda text: None, tmp_path)
    assert list(tmp_path.iterdir()) == []
