"""What the simulator says of itself: a line for people, a JSON line for programs, and a summary at the end."""

import json
import math
from collections.abc import Sequence

from terminal_simulator.tally import Tally


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile; None of nothing."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def json_line(tally: Tally) -> str:
    """Cumulative counts and the latencies since the last line, as one JSON object."""
    latencies, tally.latencies_ms = tally.latencies_ms, []
    return json.dumps(
        {
            "online": tally.online,
            "heartbeats": tally.heartbeats,
            "signInsSent": tally.sign_ins_sent,
            "acknowledged": tally.acknowledged,
            "refused": tally.refused,
            "unanswered": tally.unanswered,
            "reconnects": tally.reconnects,
            "latencyMsP50": _rounded(percentile(latencies, 0.5)),
            "latencyMsP99": _rounded(percentile(latencies, 0.99)),
            "buffered": tally.buffered,
            "dropped": tally.dropped,
            "resent": tally.resent,
            "authentications": tally.authentications,
            "tasks": tally.tasks,
            "commands": tally.commands,
            "tasksFetched": tally.tasks_fetched,
            "tasksReported": dict(tally.tasks_reported),
            "personsTaken": tally.persons_taken,
            "personsFailed": tally.persons_failed,
            "facesTaken": tally.faces_taken,
            "facesFailed": tally.faces_failed,
            "personsDeleted": tally.persons_deleted,
            "rostersReported": tally.rosters_reported,
            "packagesInstalled": tally.packages_installed,
            "strayed": tally.strayed,
            "answersLost": tally.answers_lost,
            "wrongSignatures": tally.wrong_signatures,
            "errors": dict(tally.errors),
        }
    )


def readable_line(tally: Tally, terminals: int, seconds: float) -> str:
    """The same for people, on one line."""
    latencies, tally.latencies_ms = tally.latencies_ms, []
    p50, p99 = percentile(latencies, 0.5), percentile(latencies, 0.99)
    latency = "no answers" if p50 is None or p99 is None else f"p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    fault = "" if tally.online == terminals or not tally.last_fault else f" · {tally.last_fault}"
    return (
        f"{seconds:6.0f} s  online {tally.online}/{terminals} · heartbeats {tally.heartbeats} · "
        f"sign-ins {tally.acknowledged}/{tally.sign_ins_sent} acknowledged, {tally.buffered} waiting · {latency}{fault}"
    )


def summary(tally: Tally, terminals: int, seconds: float) -> str:
    """What happened in the whole run."""
    errors = ", ".join(f"{code or 'without code'} {count}×" for code, count in sorted(tally.errors.items()))
    reported = ", ".join(f"{outcome} {count}" for outcome, count in sorted(tally.tasks_reported.items()))
    lines = [
        f"{terminals} terminals, {seconds:.0f} s",
        f"  C_AUTH accepted     {tally.authentications}",
        f"  heartbeats          {tally.heartbeats}",
        f"  sign-ins            {tally.sign_ins_sent} sent, {tally.acknowledged} acknowledged, "
        f"{tally.refused} refused, {tally.buffered} not yet acknowledged, {tally.dropped} dropped (buffer full)",
        f"  resent              {tally.resent} after {tally.unanswered} unanswered",
        f"  connections lost    {tally.reconnects}",
        f"  tasks announced     {tally.tasks}, commands pushed {tally.commands}, fetched {tally.tasks_fetched}, "
        f"reported {reported or 'none'}",
        f"  workers             {tally.persons_taken} taken ({tally.persons_failed} failed), {tally.faces_taken} faces "
        f"({tally.faces_failed} failed), {tally.persons_deleted} deleted",
        f"  rosters reported    {tally.rosters_reported}, terminals that strayed {tally.strayed}",
        f"  firmware installed  {tally.packages_installed}",
        f"  error answers       {errors or 'none'}",
        f"  wrong signatures    {tally.wrong_signatures}; answers lost on purpose {tally.answers_lost}",
    ]
    if tally.last_fault:
        lines.append(f"  last fault          {tally.last_fault}")
    return "\n".join(lines)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
