"""Tool `codemap.merge`: several code maps as one report."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from jobs.errors import Permanent
from jobs.tools import JobContext, tool

LARGEST = 20


class MergeParams(BaseModel):
    """It has none: what it merges are the jobs it depends on."""

    model_config = ConfigDict(extra="forbid")


class Report(BaseModel):
    """Counts of all, counts of each, who uses whom, the largest modules, and every cycle."""

    counts: dict[str, int]
    packages: dict[str, dict[str, int]]
    uses: dict[str, list[str]]
    largest: list[dict[str, Any]]
    cycles: list[list[str]]


@tool("codemap.merge", operation="analysis", params=MergeParams)
def merge(params: MergeParams, job: JobContext) -> Report:
    """Merge the code maps that this job depends on into one report."""
    maps = [p.result["structuredContent"] for p in job.parents if p.tool == "codemap" and p.status == "completed"]
    if not maps:
        raise Permanent("there is nothing to merge: make the job depend on completed codemap jobs")
    names = {found["name"] for found in maps}
    counts: dict[str, int] = {}
    modules: list[dict[str, Any]] = []
    for place, found in enumerate(maps):
        job.progress(100 * place / len(maps), found["name"], stage="merge")
        for what, number in found["counts"].items():
            counts[what] = counts.get(what, 0) + number
        modules += found["modules"]
    modules.sort(key=lambda module: (-module["lines"], module["name"]))
    return Report(
        counts=counts,
        packages={found["name"]: found["counts"] for found in maps},
        uses={found["name"]: sorted((names & found["external"].keys()) - {found["name"]}) for found in maps},
        largest=[{"name": m["name"], "lines": m["lines"], "classes": len(m["classes"])} for m in modules[:LARGEST]],
        cycles=[cycle for found in maps for cycle in found["cycles"]],
    )
