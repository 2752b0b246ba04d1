"""A recorded workflow replayed, against its lower bound."""

from __future__ import annotations

import json

from benchmarks.form import Goal, Report
from benchmarks.stack import ROOT, Stack

GRAPH = ROOT.parent / "shared" / "data" / "workflows" / "seismology-chameleon-100p-001.json.gz"


def measure(*, short: bool) -> Report:
    """`manage.py replay` of seismology at scale 0.1 with 5 slots and 5 worker processes."""
    if not GRAPH.exists():
        return Report(name="replay", figures={"skipped": True}, notes=[f"skipped: the recorded workflow {GRAPH.name} is not here"])
    scale = "0.01" if short else "0.1"
    with Stack(worker_processes=5, slots=5) as stack:
        figures = json.loads(stack.manage("replay", str(GRAPH), "--scale", scale, "--json"))
    return Report(
        name="replay",
        figures={"graph": GRAPH.name.split(".")[0], **figures},
        goals=[Goal(figure="ratio", at_most=1.25), Goal(figure="order_violations", at_most=0), Goal(figure="failed", at_most=0)],
    )
