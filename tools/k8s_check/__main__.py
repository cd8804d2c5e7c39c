"""Entry: fetches, builds, checks, prints what each kustomization renders and every fault; exit code 1 where any."""

import sys
import time
from collections import Counter

from tools.k8s_check.fetched import FetchError, fetch
from tools.k8s_check.rendering import BuildError, Object, build, kustomizations
from tools.k8s_check.rules import faults_by_rules
from tools.k8s_check.schemas import faults_by_schema


def main() -> int:
    """Returns the exit code."""
    began = time.monotonic()
    try:
        fetched = fetch(lambda text: print(text, flush=True))
    except FetchError as error:
        print(error, file=sys.stderr)
        return 1
    faults: list[str] = []
    entries: list[tuple[str, Object]] = []
    for folder in kustomizations():
        where = f"{folder.parent.name}/{folder.name}"
        try:
            objects = build(fetched.kustomize, folder)
        except BuildError as error:
            faults.append(str(error))
            continue
        kinds = Counter(each["kind"] for each in objects)
        print(
            f"{where}: {len(objects)} objects: {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}"
        )
        entries += [(where, each) for each in objects]
        faults += [f"{where}: {fault}" for fault in faults_by_rules(objects)]
    faults += faults_by_schema(entries, fetched)
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(entries)} objects, {len(faults)} faults, {time.monotonic() - began:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
