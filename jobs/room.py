"""What is free, and who may have it: the decision of admission, without a query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from jobs.limits import Group, Resources, Rule

# A job that does not fit lets smaller ones pass for this long after it became ready; then room is kept for it. Seconds.
PATIENCE = 30.0
EVERYTHING: Group = ("all", "")


def groups_of(tool: str, operation: str, project: str, key: str, queue: str) -> tuple[Group, ...]:
    """Every group that such a job is of."""
    named = (("tool", tool), ("operation", operation), ("project", project), ("key", key), ("queue", queue))
    return (EVERYTHING, *(group for group in named if group[1]))


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A ready job; `waited` is seconds since it became ready. `key_limit` is what the caller said about its key."""

    id: str
    needs: Resources
    waited: float
    groups: tuple[Group, ...] = ()
    key: str = ""
    key_limit: int = 0


@dataclass(kw_only=True)
class Room:
    """What is still free in a round; `choose` takes from it."""

    slots: int
    resources: Resources
    rules: Mapping[Group, Rule] = field(default_factory=dict)
    running: Counter[Group] = field(default_factory=Counter)
    started: Counter[Group] = field(default_factory=Counter)  # in the last minute; groups with such a limit only

    def is_shut(self, group: Group) -> bool:
        """Is the group paused, full, or out of starts for now?"""
        rule = self.rules.get(group)
        return rule is not None and (
            rule.paused
            or (rule.max_running is not None and self.running[group] >= rule.max_running)
            or (rule.per_minute is not None and self.started[group] >= rule.per_minute)
        )

    def lets_in(self, job: Candidate) -> bool:
        """As far as groups go."""
        if job.key and self.running["key", job.key] >= job.key_limit:
            return False
        return not any(self.is_shut(group) for group in job.groups)

    def take(self, job: Candidate) -> None:
        self.slots -= 1
        self.resources = self.resources.less(job.needs)
        self.running.update(job.groups)
        self.started.update(job.groups)

    def keep_for(self, job: Candidate) -> None:
        """Room that others may not use: a slot, and all that is left of what the job is short of."""
        self.slots -= 1
        self.resources = self.resources.less(job.needs)


def with_demand(rules: Mapping[Group, Rule], demand: Mapping[str, int]) -> dict[Group, Rule]:
    """Of an external tool no more jobs are admitted than the workers that ask for them can run: others would only hold slots."""
    found = dict(rules)
    for tool, slots in demand.items():
        rule = found.get(("tool", tool), Rule())
        most = slots if rule.max_running is None else min(slots, rule.max_running)
        found["tool", tool] = replace(rule, max_running=most)
    return found


def choose(ready: Iterable[Candidate], room: Room) -> list[str]:
    """The jobs to admit, in order; takes their needs from `room`. `ready` comes in rank order."""
    chosen: list[str] = []
    for job in ready:
        if room.slots <= 0:
            break
        if not room.lets_in(job):
            continue
        if job.needs.fits(room.resources):
            chosen.append(job.id)
            room.take(job)
        elif job.waited > PATIENCE:
            room.keep_for(job)
    return chosen
