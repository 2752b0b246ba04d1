"""A backend for Django's tasks (DEP 14): `@task` functions run as TaskJobs.

backend   what Django's framework calls; importable before the apps are ready, as tasks are
results   jobs as task results, and back
framework django.tasks, or its backport where Django is older than 6.0
"""

from jobs.django_tasks.backend import JobsiteBackend, JobTask, TaskContext

__all__ = ["JobTask", "JobsiteBackend", "TaskContext"]
