"""What README.md tells a reader to do in one minute does what it says."""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from tests.fixtures.stack import RunningStack

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)


def commands(readme: str) -> str:
    (block,) = BLOCK.findall((ROOT / readme).read_text(encoding="utf-8"))
    return str(block)


def test_both_languages_have_the_same_commands() -> None:
    def without_comments(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith("#")]

    assert without_comments(commands("README.md")) == without_comments(commands("README.zh-CN.md"))


async def test_an_operator_assigns_workers_and_sees_what_a_terminal_holds(platform_stack: RunningStack) -> None:
    script = commands("README.md")
    for told, here in ((".run/stack.json", str(platform_stack.stack_file)), (".venv/bin/python", sys.executable)):
        assert told in script
        script = script.replace(told, here)
    process = await asyncio.create_subprocess_exec(
        "bash", "-euc", script, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    if process.returncode != 0:
        pytest.fail(err.decode())
    answers = [json.loads(line) for line in out.decode().splitlines()]
    device, imported, person, before, report, found, repair, after = answers
    assert device["siteId"] == person["siteIds"][0]
    assert (imported["created"] + imported["changed"], imported["failed"]) == (3, 0)
    assert person["face"]["size"] > 0
    differences = ("missing", "extra", "different", "failed", "openTasks")
    assert [before[name] for name in differences] == [[], [], [], [], []]
    assert report["items"][0]["apicode"] == "T_POST_DEVICE_PERSON"
    assert [len(found[name]) for name in differences] == [1, 1, 1, 0, 0]
    assert repair["items"][0]["apicode"] == "T_DEL_DEVICE_PERSON"
    assert [after[name] for name in differences] == [[], [], [], [], []]
