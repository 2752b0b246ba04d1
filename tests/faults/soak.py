"""`python -m tests.faults.soak --hours 8`: mixed load with random faults, a line each ten seconds, a judgement at the end."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from tests import services  # a PostgreSQL and Redis of its own, before Django reads its settings
from tests.faults.figures import PATH, percentile
from tests.faults.site import Site

TELL_EVERY, BREAK_EVERY = 10.0, (5.0, 20.0)
# What a process loads and caches in its first minutes is no growth; fewer samples of its life than this say nothing.
WARM, ENOUGH = 300.0, 60
# Every other spell of so many seconds spares the processes that are measured: broken all the time, none would live long enough.
SPELL = 1500.0
ENDS_THE_MEASURED = frozenset({"worker group killed", "worker replaced", "dispatcher killed"})
MB = 1024 * 1024
Sample = tuple[int, float, float]  # pid, seconds since the begin, MB


class Soak:
    """One run. `recoveries` are the seconds from a fault to the next job that began."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.chance = random.Random(seed)
        self.broken: Counter[str] = Counter()
        self.recoveries: list[float] = []
        self.memory: dict[str, list[Sample]] = {"dispatcher": [], "worker": []}
        self.batch = 0
        self.faults: dict[str, Callable[[], None]] = {
            "child killed": self.kill_child,
            "worker group killed": self.kill_worker,
            "worker replaced": self.replace_worker,
            "dispatcher killed": self.kill_dispatcher,
            "child stopped past its lease": self.stop_child,
            "Redis killed": self.kill_redis,
            "Redis flushed": self.flush_redis,
            "PostgreSQL restarted": self.restart_postgres,
        }

    # --- what breaks ---------------------------------------------------------------------------------------------------
    def kill_child(self) -> None:
        if running := self.site.running():
            attempt, job, pid = self.chance.choice(running)
            self.site.kill(pid, job=job, attempt=attempt)

    def stop_child(self) -> None:
        if running := self.site.running():
            pid = self.chance.choice(running)[2]
            self.site.kill(pid, signal.SIGSTOP)
            time.sleep(9)
            self.site.kill(pid, signal.SIGCONT)

    def kill_worker(self) -> None:
        self.site.kill_group("worker")
        self.site.start_worker()

    def replace_worker(self) -> None:
        old = self.site.processes.pop("worker")
        self.site.start_worker()
        os.kill(old.pid, signal.SIGTERM)
        old.wait(60)

    def kill_dispatcher(self) -> None:
        self.site.kill_group("dispatcher")
        self.site.start_dispatcher()

    def kill_redis(self) -> None:
        self.site.servers.kill_redis()
        time.sleep(self.chance.uniform(0, 3))
        self.site.servers.start_redis()

    def flush_redis(self) -> None:
        self.site.servers.redis_cli("FLUSHALL")

    def restart_postgres(self) -> None:
        self.site.servers.kill_postgres()
        time.sleep(self.chance.uniform(0, 2))
        self.site.servers.start_postgres()

    # --- what is seen --------------------------------------------------------------------------------------------------
    def load(self, seconds: float) -> None:
        """Clients of several kinds, for so long."""
        self.batch += 1
        for kind, tool, rate, params in (
            ("short", "fault.work", 6.0, {"seconds": 0.05}),
            ("longer", "fault.work", 0.5, {"seconds": 3.0}),
            ("failing", "fault.fails", 0.5, {}),
        ):
            count = max(1, round(seconds * rate))
            self.site.submitting(count, tool=tool, rate=rate, prefix=f"{kind}{self.batch}", params=params)

    def breaking(self, elapsed: float) -> None:
        spared = ENDS_THE_MEASURED if elapsed // SPELL % 2 else frozenset()
        name = self.chance.choice([fault for fault in self.faults if fault not in spared])
        before, at = self.site.history.count("started"), time.monotonic()
        self.site.say(f"fault: {name}")
        self.faults[name]()
        self.broken[name] += 1
        while self.site.history.count("started") == before and time.monotonic() - at < 60:
            time.sleep(0.1)
        self.recoveries.append(time.monotonic() - at)

    def measure(self, began: float) -> None:
        for name, seen in self.memory.items():
            try:
                process = psutil.Process(self.site.processes[name].pid)
                if time.time() - process.create_time() >= WARM:
                    seen.append((process.pid, time.monotonic() - began, process.memory_info().rss / MB))
            except (KeyError, psutil.Error):
                continue  # it was just killed

    def run(self, seconds: float) -> dict[str, object]:
        began = time.monotonic()
        end, fault_at, tell_at, load_until = began + seconds, began + 5, began, began
        while (now := time.monotonic()) < end:
            if now >= load_until:
                self.site.await_clients(600)
                span = min(300.0, end - now)
                self.load(span)
                load_until = now + span
            if now >= fault_at:
                self.breaking(now - began)
                fault_at = time.monotonic() + self.chance.uniform(*BREAK_EVERY)
            if now >= tell_at:
                self.measure(began)
                self.site.say(f"{(end - now) / 3600:.2f} h to go; {self.site.states()}; faults {self.broken.total()}")
                tell_at = now + TELL_EVERY
            time.sleep(0.2)
        self.site.await_clients(600)
        self.site.await_ends(self.site.history.count("acknowledged"), 600)
        return self.figures()

    def figures(self) -> dict[str, object]:
        return self.site.judge() | {
            "faults": dict(self.broken),
            "fenced_writes": int(str(self.site.one("SELECT COALESCE(sum(refused_writes), 0) FROM jobs_attempt"))),
            "recovery_p50_s": percentile(self.recoveries, 50),
            "recovery_max_s": percentile(self.recoveries, 100),
            **{f"{name}_memory_slope_mb_an_hour": slope(seen) for name, seen in self.memory.items()},
        }


def slope(seen: list[Sample]) -> float | None:
    """Least squares, MB an hour, within the life of each process: one that was started anew begins low again.

    None where no process lived long enough to say.
    """
    lives: dict[int, list[Sample]] = {}
    for sample in seen:
        lives.setdefault(sample[0], []).append(sample)
    above = below = 0.0
    for life in lives.values():
        if len(life) < ENOUGH:
            continue
        mean_at, mean_mb = (sum(values) / len(life) for values in list(zip(*life, strict=True))[1:])
        above += sum((at - mean_at) * (mb - mean_mb) for _, at, mb in life)
        below += sum((at - mean_at) ** 2 for _, at, _ in life)
    return round(3600 * above / below, 2) if below else None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak")
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the choice of faults")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    try:
        with Site(postgres=True, worker_processes=4, slots=8, JOBSITE_GRACE="2") as site:
            figures = {"hours": options.hours, "seed": options.seed} | Soak(site, options.seed).run(3600 * options.hours)
    finally:
        services.pytest_unconfigure()
    table = Table(title="soak", title_justify="left")
    table.add_column("figure")
    table.add_column("seen", justify="right")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), "too short a run to say" if value is None else str(value))
    Console().print(table)
    kept = Path(PATH).with_name("soak.json")
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if figures["lost"] == figures["stuck"] == figures["twice"] == 0 else 1


if __name__ == "__main__":
    raise SystemExit(main())
