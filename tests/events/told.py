"""A receiver in a process of its own, for tests of the real courier: writes down what it is told, and dies when it is told to."""

import os
from pathlib import Path

from jobs.receivers import Happened, on


@on("job.completed", name="tests.told")
def told(event: Happened) -> None:
    folder = Path(os.environ["TOLD_IN"])
    with (folder / "told").open("a") as log:
        log.write(f"{event.id} {event.job_id}\n")
    if (folder / "die").exists():
        (folder / "die").unlink()
        os._exit(9)
