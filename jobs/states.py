"""The states of jobs and attempts, and every legal move between them (drawn in docs/lifecycle.md)."""

from django.db.models import TextChoices


class Status(TextChoices):
    """Where a job is."""

    PENDING = "pending", "Pending"
    RUNNING = "running", "Running"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class AttemptState(TextChoices):
    """Where one try at a job is."""

    ADMITTED = "admitted", "Admitted"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    TIMED_OUT = "timed_out", "Timed out"
    LOST = "lost", "Lost"
    INTERRUPTED = "interrupted", "Interrupted"
    QUARANTINED = "quarantined", "Lost, and its job quarantined"
    CANCELLED = "cancelled", "Cancelled"


class Gate(TextChoices):
    """What keeps a pending job from being admitted, apart from limits. Only an open gate is on the ready index."""

    OPEN = "open", "Ready"
    DEPENDENCIES = "dependencies", "Waits for dependencies"
    TIME = "time", "Waits for its time"
    PAUSED = "paused", "Paused"
    QUARANTINED = "quarantined", "Quarantined"
    INPUT = "input", "Waits for an answer"


class DependencyPolicy(TextChoices):
    """What a waiting job does when one of its parents fails or is cancelled."""

    FAIL = "fail", "Fail too"
    CANCEL = "cancel", "Be cancelled"
    RUN_ANYWAY = "run_anyway", "Run anyway"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
ACTIVE = frozenset({Status.PENDING, Status.RUNNING})
LIVE_ATTEMPT = frozenset({AttemptState.ADMITTED, AttemptState.RUNNING})

# verb -> {from: possible results}. A verb called on any other state does nothing and says so.
JOB_MOVES: dict[str, dict[Status | None, frozenset[Status]]] = {
    "submit": {None: frozenset({Status.PENDING})},
    "admit": {Status.PENDING: frozenset({Status.PENDING})},
    "start": {Status.PENDING: frozenset({Status.RUNNING})},
    "finish": {Status.RUNNING: frozenset({Status.COMPLETED})},
    "fail": {Status.RUNNING: frozenset({Status.PENDING, Status.FAILED}), Status.PENDING: frozenset({Status.FAILED})},
    "fall_back": {Status.RUNNING: frozenset({Status.PENDING})},
    "lose": {Status.RUNNING: frozenset({Status.PENDING, Status.CANCELLED})},
    "quarantine": {Status.RUNNING: frozenset({Status.PENDING})},
    "release": {Status.PENDING: frozenset({Status.PENDING})},
    "interrupt": {Status.RUNNING: frozenset({Status.PENDING})},
    "ask": {Status.RUNNING: frozenset({Status.PENDING})},
    "answer": {Status.PENDING: frozenset({Status.PENDING})},
    "withdraw": {Status.PENDING: frozenset({Status.PENDING})},
    "pause": {Status.PENDING: frozenset({Status.PENDING})},
    "resume": {Status.PENDING: frozenset({Status.PENDING})},
    "reprioritise": {Status.PENDING: frozenset({Status.PENDING})},
    "change": {Status.PENDING: frozenset({Status.PENDING})},
    "expire": {Status.PENDING: frozenset({Status.FAILED})},
    "depend": {Status.PENDING: frozenset({Status.PENDING})},
    "cancel_requested": {Status.RUNNING: frozenset({Status.RUNNING})},
    "cancel": {Status.PENDING: frozenset({Status.CANCELLED}), Status.RUNNING: frozenset({Status.CANCELLED})},
    "mend": {Status.PENDING: frozenset({Status.PENDING}), Status.RUNNING: frozenset({Status.PENDING, Status.RUNNING})},
    "retry": {Status.FAILED: frozenset({Status.PENDING}), Status.CANCELLED: frozenset({Status.PENDING})},
}

ATTEMPT_MOVES: dict[str, dict[AttemptState | None, frozenset[AttemptState]]] = {
    "admit": {None: frozenset({AttemptState.ADMITTED})},
    "start": {AttemptState.ADMITTED: frozenset({AttemptState.RUNNING}), None: frozenset({AttemptState.RUNNING})},
    "finish": {AttemptState.RUNNING: frozenset({AttemptState.SUCCEEDED})},
    "fail": {AttemptState.RUNNING: frozenset({AttemptState.FAILED, AttemptState.TIMED_OUT})},
    "fall_back": {AttemptState.RUNNING: frozenset({AttemptState.FAILED, AttemptState.TIMED_OUT})},
    "lose": {AttemptState.RUNNING: frozenset({AttemptState.LOST})},
    "quarantine": {AttemptState.RUNNING: frozenset({AttemptState.QUARANTINED})},
    "interrupt": {AttemptState.RUNNING: frozenset({AttemptState.INTERRUPTED})},
    "ask": {AttemptState.RUNNING: frozenset({AttemptState.INTERRUPTED})},
    "withdraw": {AttemptState.ADMITTED: frozenset({AttemptState.CANCELLED})},
    "mend": {AttemptState.ADMITTED: frozenset({AttemptState.CANCELLED}), AttemptState.RUNNING: frozenset({AttemptState.LOST})},
    "cancel": {
        AttemptState.ADMITTED: frozenset({AttemptState.CANCELLED}),
        AttemptState.RUNNING: frozenset({AttemptState.CANCELLED}),
    },
}


class Priority(TextChoices):
    LOW = "low", "Low"
    MEDIUM = "medium", "Medium"
    HIGH = "high", "High"
    CRITICAL = "critical", "Critical"


class Operation(TextChoices):
    """What kind of work a TaskJob is; time-outs are set by it."""

    DECOMPOSITION = "decomposition", "Decomposition"
    EXECUTION = "execution", "Execution"
    VALIDATION = "validation", "Validation"
    ANALYSIS = "analysis", "Analysis"
    CODEMAP = "codemap", "Code map"
    CONTEXT_ENRICHMENT = "context_enrichment", "Context enrichment"


def outcomes(verb: str, state: Status | None) -> frozenset[Status]:
    """The statuses that `verb` may lead to from `state`; empty where the move is not legal."""
    return JOB_MOVES[verb].get(state, frozenset())
