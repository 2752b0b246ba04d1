"""The admin: everything can be read, state moves by lifecycle verbs only, the queue is changed through jobs.steering."""

from jobs.admin import jobs as jobs
from jobs.admin import queue as queue
from jobs.admin import tools as tools
from jobs.admin import webhooks as webhooks
