"""Hand jobs to Jobsite and follow them.

errors     what goes wrong
shapes     what the server sends and takes
plans      conversations with the server, without a network
retrying   whether to send a request again
link       one call with its retries
submitting asking following    the operations, as plans; listening reads streams for them
client     Client and AsyncClient, which drive them
cli        the command `jobsite`
"""

from jobsite_client.client import AsyncClient, Client
from jobsite_client.errors import (
    Conflict,
    JobCancelled,
    JobFailed,
    JobsiteError,
    NotFound,
    Refused,
    ServerFault,
    TooManyRequests,
    Unauthorised,
    UnexpectedAnswer,
    Unreachable,
    WaitedTooLong,
)
from jobsite_client.retrying import Backoff
from jobsite_client.shapes import Group, Job, JobStatus, JobSummary, ResourceRequirements, Result, Tool, Worker
from jobsite_client.submitting import NewJob

__all__ = [
    "AsyncClient",
    "Backoff",
    "Client",
    "Conflict",
    "Group",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobStatus",
    "JobSummary",
    "JobsiteError",
    "NewJob",
    "NotFound",
    "Refused",
    "ResourceRequirements",
    "Result",
    "ServerFault",
    "TooManyRequests",
    "Tool",
    "Unauthorised",
    "UnexpectedAnswer",
    "Unreachable",
    "WaitedTooLong",
    "Worker",
]
