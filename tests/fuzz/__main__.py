"""`make fuzz`: every target, or those named, for so many seconds each; findings with the command that repeats them."""

import argparse
import sys
from pathlib import Path

from tests.fuzz.atheris_files import CACHE, NoAtheris, atheris_folder
from tests.fuzz.campaign import Outcome, fuzz, reason
from tests.fuzz.minimize import minimize
from tests.fuzz.targets import ROOT, TARGETS, check_of, run_bounded


def main(arguments: list[str]) -> int:
    """The exit code: 1 where something was found, 2 where nothing could be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of libFuzzer's mutations; 0: another each time")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="run the one target with this input, and no fuzzer")
    parser.add_argument("--minimize", action="store_true", help="make the committed corpus of what was learned")
    wanted = parser.parse_args(arguments)
    targets = wanted.targets or list(TARGETS)
    if unknown := set(targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    if wanted.repeat is not None:
        if len(targets) != 1:
            parser.error("--repeat needs one target")
        run_bounded(check_of(targets[0]), wanted.repeat.read_bytes())
        print("nothing is wrong with this input")
        return 0
    if wanted.minimize:
        for target in targets:
            print(f"{target}: {minimize(target, CACHE / target / 'corpus')} inputs", flush=True)
        return 0
    try:
        atheris = atheris_folder()
    except NoAtheris as error:
        print(f"nothing is fuzzed: {error}", file=sys.stderr)
        return 2
    print(f"{len(targets)} targets, {wanted.seconds} s each, one after the other")
    return max([_show(fuzz(target, wanted.seconds, atheris, CACHE, seed=wanted.seed)) for target in targets])


def _show(outcome: Outcome) -> int:
    print(
        f"{outcome.target:15} {outcome.executions:9} executions {outcome.edges:6} edges {outcome.corpus:5} inputs"
        f" {len(outcome.findings)} findings",
        flush=True,
    )
    if outcome.ended_well:
        return 0
    print(f"  {reason(outcome)}\n  the whole log: {outcome.log.relative_to(ROOT)}")
    for finding in outcome.findings:
        print(f"  repeat: python -m tests.fuzz {outcome.target} --repeat {finding.relative_to(ROOT)}", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
