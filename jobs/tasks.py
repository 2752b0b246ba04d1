"""The door to Celery: a doorbell comes in, a worker says that it is there."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from celery import Task, shared_task
from celery.signals import worker_process_init, worker_ready, worker_shutting_down
from django.db import DatabaseError, InterfaceError, connection

from jobs import doorbell, execution, pulse, resources, workdirs, workers

log = logging.getLogger(__name__)


@shared_task(name=doorbell.TASK, bind=True, ignore_result=True)
def run_attempt(self: Task[..., None], attempt_id: object = None, *_: object, **__: object) -> None:
    """Answer a doorbell. What is not a doorbell of ours is dropped."""
    if not isinstance(attempt_id, int) or isinstance(attempt_id, bool):
        log.warning("dropped a doorbell that names no attempt")
        return
    delivery = self.request.delivery_info or {}
    limits = self.request.timelimit or (None, None)
    limit = limits[0] or doorbell.stay_limit(0)
    # One look a doorbell whether the kept connection still serves. Celery keeps the child, so without it one restart of the
    # database would make the child fail at every doorbell from then on.
    connection.close_if_unusable_or_obsolete()
    try:
        execution.answer(attempt_id, str(delivery.get("routing_key") or "default"), float(limit))
    except (DatabaseError, InterfaceError) as error:
        # What was admitted is rung again; what was begun is found by its lease.
        log.warning("a doorbell was left unanswered, the database does not answer: %s", error)
        connection.close()


class _Presence(threading.Thread):
    """Beats for the worker as a whole, from its main process."""

    def __init__(self, consumer: Any) -> None:
        super().__init__(name="presence", daemon=True)
        self.leaving = threading.Event()
        self._consumer, self._drained = consumer, False
        self._slots = consumer.controller.concurrency
        self._queues = [queue.name for queue in consumer.task_consumer.queues]
        self._strays = resources.Strays()

    def run(self) -> None:
        while not self.leaving.is_set():
            self._say(self._beat)
            self._end_strays()
            self._say(workdirs.sweep)
            self.leaving.wait(workers.BEAT)
        self._say(lambda: workers.leave(os.getpid()))

    def _end_strays(self) -> None:
        # Celery's pool has a pool of billiard's, which is gone when the worker goes down. Pools of other kinds have no processes,
        # they run jobs in this one: then its children are those of a job that runs.
        processes = getattr(getattr(self._consumer.pool, "_pool", None), "_pool", None)
        if processes is not None:
            self._strays.end({process.pid for process in processes})

    def _beat(self) -> None:
        draining = workers.appear(os.getpid(), slots=self._slots, queues=self._queues)
        if draining == self._drained:
            return
        self._drained = draining
        pulse.announce_drain(draining=draining)
        # Doorbells are left to other workers. Queues are changed by the consumer's own thread.
        change = self._consumer.cancel_task_queue if draining else self._consumer.add_task_queue
        for queue in self._queues:
            self._consumer.call_soon(change, queue)

    def _say(self, what: Any) -> None:
        try:
            what()
        except (DatabaseError, InterfaceError) as error:
            log.warning("worker could not say that it is there: %s", error)
        finally:
            # Children forked later must not inherit an open connection.
            connection.close()


_presence: _Presence | None = None


@worker_process_init.connect
def _begin_child(**_: Any) -> None:
    resources.adopt_orphans()
    try:
        execution.warm_up()
    except (DatabaseError, InterfaceError) as error:
        log.info("not warmed up, the first jobs will take longer: %s", error)
        connection.close()


@worker_ready.connect
def _appear(sender: Any, **_: Any) -> None:
    global _presence
    _presence = _Presence(sender)
    _presence.start()


@worker_shutting_down.connect
def _leave(**_: Any) -> None:
    pulse.announce_shutdown()
    if _presence is not None:
        _presence.leaving.set()
