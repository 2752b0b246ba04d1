"""The only writer of job and attempt state, through named verbs.

Each verb is one conditional write and its Events in one transaction; what it returns says whether the condition held. Zero
rows means that somebody else was first, which is normal. Locks are always taken job first, then attempt, so verbs cannot
deadlock among themselves.

submitting  submit submit_many retry          from outside
admitting   admit ring start start_next beat  towards and through a run
claiming    claim begin held                  the same for runs outside
checkpointing  keep_checkpoint                 what is left for the next attempt
ending      finish fail stop interrupt lose (which may quarantine)
cancelling  cancel cancel_family
ends        how one or many ends are written, with the starts that follow
holding     withdraw pause resume release     keep waiting jobs back
ranking     reprioritise rerank               move them in line
asking      answer                            what only the caller can tell
depending   depend                            change what a job waits for
locking                                       what verbs about several jobs lock
changing    change                            what it needs, how long, how often and when it may run
settling    open_due expire settle                   what time and finished parents change
deleting    delete                            take a job away
mending     mend regate resettle recount put_in_line bury     the doctor's
removing    lock_removable remove                    finished jobs, for good
"""

from jobs.lifecycle.admitting import Beat, Child, Next, Running, admit, beat, note_rung, running_of_child, start, start_next
from jobs.lifecycle.asking import answer
from jobs.lifecycle.cancelling import Cancelled, cancel, cancel_family
from jobs.lifecycle.changing import change
from jobs.lifecycle.checkpointing import keep_checkpoint
from jobs.lifecycle.claiming import begin, claim, held
from jobs.lifecycle.deleting import delete
from jobs.lifecycle.depending import depend
from jobs.lifecycle.ending import (
    asking,
    error_result_failure,
    fail,
    finish,
    finished,
    gone_wrong,
    interrupt,
    interrupted,
    lose,
    note_refused,
    stop,
    stopped,
)
from jobs.lifecycle.ends import End, Usage, write
from jobs.lifecycle.holding import (
    lock_configuration,
    pause,
    release,
    resume,
    withdraw,
    withdraw_unanswered,
    withdraw_unclaimed,
)
from jobs.lifecycle.mending import ORPHANS, bury, mend, orphans, put_in_line, recount, regate, resettle
from jobs.lifecycle.ranking import reprioritise, rerank
from jobs.lifecycle.removing import lock_removable, remove
from jobs.lifecycle.settling import Settled, expire, open_due, settle
from jobs.lifecycle.submitting import retry, submit, submit_many, submit_once
from jobs.submission import Submission

__all__ = [
    "ORPHANS",
    "Beat",
    "Cancelled",
    "Child",
    "End",
    "Next",
    "Running",
    "Settled",
    "Submission",
    "Usage",
    "admit",
    "answer",
    "asking",
    "beat",
    "begin",
    "bury",
    "cancel",
    "cancel_family",
    "change",
    "claim",
    "delete",
    "depend",
    "error_result_failure",
    "expire",
    "fail",
    "finish",
    "finished",
    "gone_wrong",
    "held",
    "interrupt",
    "interrupted",
    "keep_checkpoint",
    "lock_configuration",
    "lock_removable",
    "lose",
    "mend",
    "note_refused",
    "note_rung",
    "open_due",
    "orphans",
    "pause",
    "put_in_line",
    "recount",
    "regate",
    "release",
    "remove",
    "reprioritise",
    "rerank",
    "resettle",
    "resume",
    "retry",
    "running_of_child",
    "settle",
    "start",
    "start_next",
    "stop",
    "stopped",
    "submit",
    "submit_many",
    "submit_once",
    "withdraw",
    "withdraw_unanswered",
    "withdraw_unclaimed",
    "write",
]
