"""Shapes as people read them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from jobsite_client.cli.bars import STYLES
from jobsite_client.cli.plain import one_line, plain
from jobsite_client.shapes import RUNNING, Job, JobAttempt, JobEvent, JobSummary, Json, Token, Tool, WhyWaiting


def span(ms: float) -> str:
    """Milliseconds as people say them: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min, 3 d."""
    seconds = max(0.0, ms / 1000)
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 1:
        return f"{minutes} min {rest} s"
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d"


def ago(ms: int | None) -> str:
    return "" if ms is None else f"{span(time.time() * 1000 - ms)} ago"


def at(ms: int | None) -> str:
    return "" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def bar(percent: float | None, width: int = 12) -> Text:
    done = round(width * min(100.0, max(0.0, percent or 0)) / 100)
    return Text.assemble(("━" * done, "blue"), ("─" * (width - done), "dim"), f" {percent or 0:3.0f} %")


def status(name: str) -> Text:
    return Text(plain(name), style=STYLES.get(name, ""))


def _took(job: JobSummary) -> str:
    if job.started_at is None:
        return ""
    return span((job.finished_at or time.time() * 1000) - job.started_at)


def jobs(found: Iterable[JobSummary], *, title: str | None = None, bars: bool = False) -> Table:
    """`bars` draws how far running jobs are."""
    table = _table("job", "status", *(["progress"] if bars else []), "made", "took", "says", title=title)
    for one in found:
        drawn = [bar(one.progress_percentage)] if bars else []
        said = Text(one_line(one.reason or one.progress_message or ""))
        table.add_row(Text(plain(one.id)), _standing(one), *drawn, ago(one.created_at), _took(one), said)
    return table


def _standing(job: JobSummary) -> Text:
    how_far = f" {job.progress_percentage or 0:.0f} %" if job.status == RUNNING else ""
    return status(job.status) + how_far


def _table(*names: str, title: str | None = None) -> Table:
    """Every column is as wide as it must be, and the last takes what is left of the line."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", expand=True)
    for name in names:
        if name == names[-1]:
            table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=1)
        else:
            table.add_column(name, no_wrap=True, overflow="fold")
    return table


def job(found: Job) -> Table:
    """Everything about a job."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(found):
        if value not in ("", None):
            table.add_row(name, value if isinstance(value, Text) else Text(plain(value)))
    return table


def _facts(found: Job) -> Iterable[tuple[str, str | Text | None]]:
    needs = found.resource_requirements
    yield "job", found.id
    yield "tool", found.tool_name
    yield "status", status(found.status)
    yield "progress", bar(found.progress_percentage)
    yield "stage", found.details.current_stage
    yield "says", found.progress_message
    yield "reason", found.reason
    yield "priority", found.priority
    yield "operation", found.operation_type
    yield "project", found.project_id
    yield "batch", found.batch_id
    yield "after", ", ".join(found.dependencies)
    yield "needs", f"{needs.memory_mb} MB memory, cpu weight {needs.cpu_weight:g}, {needs.disk_space_mb} MB disk"
    yield "time-out", span(found.timeout_ms)
    yield "made", f"{at(found.created_at)} by {found.submitted_by or 'somebody'}"
    yield "started", at(found.started_at)
    yield "finished", at(found.finished_at)
    yield "took", _took(found)
    yield "params", _pretty(found.params)
    yield "result", found.result.text if found.result else None


def _pretty(value: Json) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def attempts(found: Iterable[JobAttempt]) -> Table:
    table = _table("try", "state", "started", "took", "worker", "peak", "error", title="attempts")
    for one in found:
        took = span((one.finished_at or time.time() * 1000) - one.started_at) if one.started_at else ""
        error = one_line(": ".join(part for part in (one.error_class, one.error_message) if part))
        peak = f"{one.resource_usage.peak_memory_mb:.0f} MB"
        table.add_row(str(one.number), one.state, at(one.started_at), took, Text(plain(one.worker or "")), peak, Text(error))
    return table


def events(found: Iterable[JobEvent]) -> Table:
    table = _table("when", "move", "to", "by", "why", title="history")
    for one in found:
        table.add_row(at(one.at), one.verb, status(one.after), Text(one_line(one.actor or "")), Text(one_line(one.reason or "")))
    return table


def tools(found: Iterable[Tool]) -> Table:
    table = _table("tool", "params", "does")
    for one in found:
        table.add_row(Text(one.name), Text(_signature(one)), Text(one_line(one.description)))
    return table


def _signature(tool: Tool) -> str:
    required = set(tool.params.get("required", []))
    return " ".join(name if name in required else f"[{name}]" for name in tool.params.get("properties", {}))


def tokens(found: Iterable[Token]) -> Table:
    table = _table("token", "begins", "state", "last used", "may", "sees")
    for one in found:
        state = "revoked" if one.revoked_at else f"until {at(one.expires_at)}" if one.expires_at else "valid"
        sees = " ".join([*(f"tool={name}" for name in one.tools or ()), *(f"project={name}" for name in one.projects or ())])
        row = (one.name, f"{one.prefix}…", state, ago(one.last_used_at) or "never", " ".join(one.scopes), sees or "all")
        table.add_row(*(Text(plain(cell)) for cell in row))
    return table


def tool(found: Tool) -> Table:
    """One tool, a line a param."""
    table = _table("param", "type", "default", "means", title=plain(f"{found.name}: {found.description}"))
    required = set(found.params.get("required", []))
    for name, schema in found.params.get("properties", {}).items():
        default = "required" if name in required else json.dumps(schema.get("default"))
        table.add_row(Text(name), Text(_type(schema)), Text(one_line(default)), Text(one_line(schema.get("description", ""))))
    return table


def _type(schema: Json) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(_type(one) for one in schema["anyOf"])
    return str(schema.get("type") or schema.get("$ref", "any").rpartition("/")[2])


def why(found: WhyWaiting | None) -> Text:
    if found is None:
        return Text("It does not wait.")
    lines = [found.text]
    if found.place is not None:
        lines.append(f"Place in line: {found.place}")
    if found.until is not None:
        lines.append(f"Not before {at(found.until)}")
    lines += [f"- {blocker.job_id} ({blocker.tool_name}, {blocker.status})" for blocker in found.blockers]
    return Text(plain("\n".join(lines)))
