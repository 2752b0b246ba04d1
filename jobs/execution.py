"""Run one attempt, and go on with the next: what a Celery child does with a doorbell."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import random
import signal
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from django.conf import settings
from django.utils import timezone
from pydantic import BaseModel

from jobs import doorbell, fallbacks, lifecycle, sealing, tools, workers
from jobs.bundle import MOST, Bundle, Habits
from jobs.classification import classify, wanted_wait
from jobs.errors import Cancelled, Category, Interrupted, OverDisk, OverMemory, Stopped, Superseded, TimedOut
from jobs.failpoints import failpoint
from jobs.failures import Failure, place_of
from jobs.lifecycle import End, Next, Running, Usage
from jobs.lifecycle.rows import UNTIL_PLANNED
from jobs.masking import secret_for_now
from jobs.payloads import Json, clean_text, shown
from jobs.pulse import WAKE_SIGNAL, Pulse, going_down, signalled, takes_more
from jobs.questions import InputNeeded
from jobs.resources import end_descendants, has_children
from jobs.results import CHANGED, call_result
from jobs.retry import Again, ContinueAs, GiveUp, Retry, decide
from jobs.run_context import RunContext, known

log = logging.getLogger(__name__)

# How long a child waits for its next attempt before it leaves; seconds. Less than a connection's time-out.
LINGER = 0.2
MAX_TRACEBACK = 20_000

_pulse = Pulse()
_habits = Habits()


def answer(attempt_id: int, queue: str, limit: float) -> int:
    """Run the attempt that the doorbell names, then others of the queue for a while; returns how many were run.

    `limit` is the seconds after which Celery ends this process.

    The price of a Celery message is paid once for many short jobs. A stale doorbell is as good as any to begin with.
    """
    began = time.monotonic()
    child = _this_child()
    failpoint("start.before")
    first = lifecycle.start(attempt_id, child) if takes_more() else None
    given = [first] if first is not None else []
    if not given and (wish := _wish(child, queue, limit)):
        given = lifecycle.start_next(wish)
    count = 0
    while given:
        bundle = Bundle(given, child)
        count += run_all(bundle)
        staying = time.monotonic() - began < settings.JOBSITE_STAY
        wish = _wish(child, queue, limit - (time.monotonic() - began)) if staying else None
        bundle.close(wish)
        given = (wish.given or _called_back(wish)) if wish else []
    if count and time.monotonic() - began >= settings.JOBSITE_STAY and not going_down():
        doorbell.pass_on(queue)
    if signalled():
        # The signal's own SystemExit ended the job (see _call), whose end is written: now the process goes.
        raise SystemExit
    return count


def warm_up() -> None:
    """Have the statements that this process will live by planned before its first job waits for them: forty milliseconds in all.

    PostgreSQL plans a prepared statement anew for its first executions, and psycopg prepares what it has seen a few times.
    """
    child = _this_child()
    nothing = Next(child=child, queue="", longest_ms=0)
    for _ in range(UNTIL_PLANNED):
        lifecycle.start(0, child)
        lifecycle.start_next(nothing)
        lifecycle.write([], nothing)


def _called_back(wish: Next) -> list[Running]:
    """The slot that was just freed is mostly given away within milliseconds: wait for that rather than for a doorbell."""
    return lifecycle.start_next(wish) if doorbell.linger(wish.queue, LINGER) and takes_more() else []


def _this_child() -> lifecycle.Child:
    return lifecycle.Child(worker=workers.name_of_this(os.getppid()), pid=os.getpid(), lease=settings.JOBSITE_LEASE)


def _wish(child: lifecycle.Child, queue: str, seconds_left: float) -> Next | None:
    """Celery would end this process at its hard limit, so only what surely fits in before is taken."""
    longest_ms = round((seconds_left - 4 * settings.JOBSITE_GRACE) * 1000)
    return Next(child=child, queue=queue, longest_ms=longest_ms, brief=_habits.brief(), most=MOST) if takes_more() else None


def run_all(bundle: Bundle) -> int:
    """Run what the bundle holds, one after the other; how many were run."""
    count = 0
    while (running := bundle.next()) is not None:
        bundle.add(run(running, bundle))
        count += 1
        if bundle.is_full():
            bundle.close(None)
    return count


def run(running: Running, bundle: Bundle) -> End | None:
    """Call the tool; returns what to write about how it came to its end. None: nothing, it was superseded."""
    failpoint("start.after")
    context = RunContext(running, _pulse.wake)
    _pulse.watch(context, bundle, _ended_by_force)
    try:
        with known(context):
            outcome = _call(context)
    finally:
        _habits.note(running.job.tool, time.monotonic() - context.began)
        _pulse.release()
        _end_what_was_left()
        context.folder.remove()
    return outcome


def _end_what_was_left() -> None:
    if has_children():
        end_descendants()


def _call(context: RunContext) -> End | None:
    # What was sealed among the params is covered in everything the tool says, until its end is put into words.
    with ExitStack() as secrets:
        return _called(context, secrets)


def _called(context: RunContext, secrets: ExitStack) -> End | None:
    meanings: Mapping[type[BaseException], Category] = {}
    try:
        tool = tools.get_to_run(context.running.job.tool, context.running.params)
        meanings = tool.errors
        values, hidden = sealing.open_all(context.running.params)
        secrets.enter_context(secret_for_now(hidden))
        params = tool.validate(values)
        positional, named = tool.arguments(params, context)
        with _Armed(context):
            value = tool.run(*positional, **named)
            if inspect.isawaitable(value):
                value = asyncio.run(_awaited(value))
        return _finished(context, _result_of(tool, value, context))
    except Stopped as stop:
        return _stopped(context, stop)
    except SystemExit as error:
        if going_down():
            return _stopped(context, Interrupted())
        return _failed(context, error, Category.PERMANENT)
    except BaseException as error:
        return _failed(context, error, classify(error, meanings))


async def _awaited(value: Any) -> Any:
    return await value


class _Armed:
    """While a tool runs, WAKE_SIGNAL raises in it what the pulse has told it."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(WAKE_SIGNAL, self._raise)
            self._context.in_tool = True

    def __exit__(self, *_: object) -> None:
        self._context.in_tool = False

    def _raise(self, *_: object) -> None:
        if self._context.in_tool and self._context.told_to_stop is not None:
            raise self._context.told_to_stop


def _usage(context: RunContext, *, progress: float | None = None) -> Usage:
    context.meter.sample(final=True)
    news = context.news(context.take_lines())
    return Usage(
        peak_memory_mb=news.peak_memory_mb,
        cpu_percent=news.cpu_percent,
        diagnostics=news.diagnostics,
        metadata=news.metadata,
        progress=news.progress if progress is None else progress,
        message=news.message,
        stage=news.stage,
    )


def _actor() -> str:
    return _this_child().name


def _finished(context: RunContext, result: Json) -> End:
    if result["isError"] and (end := _errors_fallback(context, result)):
        return end
    usage = _usage(context, progress=None if result["isError"] else 100.0)
    return lifecycle.finished(context.running, result, usage, actor=_actor(), span=(context.began, time.monotonic()))


def _errors_fallback(context: RunContext, result: Json) -> End | None:
    """The end of a run that returned an error result, where another tool goes on."""
    running, said_so = context.running, GiveUp(reason="the tool returned an error result")
    decision = fallbacks.instead(running.job.tool, running.params, Category.PERMANENT, said_so)
    if isinstance(decision, GiveUp):
        return None
    failure = lifecycle.error_result_failure(running.job, result)
    return lifecycle.gone_wrong(running, failure, decision, _usage(context), actor=_actor())


def _failed(context: RunContext, error: BaseException, category: Category) -> End:
    failure = Failure(
        category=category,
        error_class=type(error).__name__[:200],
        message=shown(error, 2000),
        traceback=_traceback_of(error),
        place=place_of(error),
    )
    return _fail(context, failure, wanted_wait(error, timezone.now()))


def _fail(context: RunContext, failure: Failure, retry_after: float | None) -> End:
    context.checkpoints.keep()
    job = context.running.job
    decision: Again | GiveUp | ContinueAs = decide(
        Retry(
            max=job.max_retries,
            first=job.retry_first_ms / 1000,
            factor=job.retry_factor,
            cap=job.retry_cap_ms / 1000,
        ),
        failure.category,
        retries=job.retry_count,
        jitter=random.random(),  # noqa: S311  (spreads load, guards nothing)
        retry_after=retry_after,
    )
    if isinstance(decision, GiveUp):
        decision = fallbacks.instead(job.tool, context.running.params, failure.category, decision)
    return lifecycle.gone_wrong(context.running, failure, decision, _usage(context), actor=_actor())


def _stopped(context: RunContext, stop: Stopped) -> End | None:
    """The end of a run that was told to stop, whether it obeyed or was ended by force."""
    match stop:
        case TimedOut() | OverMemory() | OverDisk():
            category = Category.TIMEOUT if isinstance(stop, TimedOut) else Category.RESOURCE
            place = context.running.job.tool
            failure = Failure(category=category, error_class=type(stop).__name__, message=str(stop), place=place)
            return _fail(context, failure, None)
        case Interrupted():
            failpoint("interrupt.before")
            context.checkpoints.keep()
            return lifecycle.interrupted(context.running, _usage(context), actor=_actor())
        case InputNeeded(questions=asked):
            context.checkpoints.keep()
            return lifecycle.asking(context.running, asked, _usage(context), actor=_actor())
        case Superseded():
            return None
        case Cancelled():
            return lifecycle.stopped(context.running, _usage(context), actor=_actor())
    return _failed(context, stop, Category.PERMANENT)


def _ended_by_force(context: RunContext, bundle: Bundle, stop: Stopped) -> None:
    bundle.hand_back()
    bundle.add(_stopped(context, stop))
    bundle.close(None)
    context.folder.remove()


def _traceback_of(error: BaseException) -> str:
    """Without locals, and also when the exception cannot be shown."""
    try:
        return clean_text("".join(traceback.format_exception(error))[-MAX_TRACEBACK:])
    except Exception:
        return clean_text("".join(traceback.format_tb(error.__traceback__))[-MAX_TRACEBACK:])


def _result_of(tool: tools.Tool, value: Any, context: RunContext) -> Json:
    """The CallToolResult shape around what the tool returned."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", by_alias=True)
    elif tool.result is not None:
        value = tool.result.dump_python(value, mode="json", warnings=False, fallback=shown)
    result, changed = call_result(value)
    if changed:
        context.diagnostic(CHANGED)
    return result
