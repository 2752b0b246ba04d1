"""The command `jobsite`. A command parses, asks the client, and shows; the exit codes stand in `endings`."""

from __future__ import annotations

import sys

from rich.console import Console

from jobsite_client.cli import endings
from jobsite_client.cli.app import app
from jobsite_client.errors import JobsiteError


def main() -> None:
    try:
        app(prog_name="jobsite")
    except JobsiteError as error:
        endings.tell(error, Console(stderr=True))
        sys.exit(endings.code_of(error))
