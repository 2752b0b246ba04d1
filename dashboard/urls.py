"""Addresses of the pages."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path, re_path

from dashboard import stream
from dashboard.views import audit, bulk, errors, export, job, jobs, overview, queue, statistics, submit, tokens, workers, workflow

urlpatterns = [
    path("", overview.page, name="overview"),
    path("counts.json", overview.counts, name="counts"),
    path("charts.json", overview.charts, name="charts"),
    path("jobs/", jobs.page, name="jobs"),
    path("jobs/rows/", jobs.rows, name="rows"),
    path("jobs/complete/", jobs.complete, name="complete"),
    path("jobs/bulk/", bulk.page, name="bulk"),
    path("jobs/views/", jobs.keep_view, name="keep_view"),
    path("jobs/views/<int:view_id>/drop/", jobs.drop_view, name="drop_view"),
    re_path(r"^jobs/export\.(?P<form>csv|json)$", export.export, name="export"),
    path("jobs/<str:job_id>/", job.page, name="job"),
    path("jobs/<str:job_id>/parts/", job.parts, name="job_parts"),
    path("jobs/<str:job_id>/result.json", job.result, name="job_result"),
    path("jobs/<str:job_id>/log.txt", job.log, name="job_log"),
    path("jobs/<str:job_id>/cancel/", job.cancel, name="job_cancel"),
    path("jobs/<str:job_id>/retry/", job.retry, name="job_retry"),
    path("jobs/<str:job_id>/pause/", job.pause, name="job_pause"),
    path("jobs/<str:job_id>/resume/", job.resume, name="job_resume"),
    path("jobs/<str:job_id>/answer/", job.answer, name="job_answer"),
    path("jobs/<str:job_id>/change/", job.change, name="job_change"),
    path("queue/", queue.page, name="queue"),
    path("queue/pause/", queue.pause, name="queue_pause"),
    path("queue/resume/", queue.resume, name="queue_resume"),
    path("queue/limit/", queue.limit, name="queue_limit"),
    path("queue/configuration/", queue.configure, name="queue_configure"),
    path("errors/", errors.page, name="errors"),
    path("errors/<str:fingerprint>/retry/", errors.retry, name="errors_retry"),
    path("errors/<str:fingerprint>/mark/", errors.mark, name="errors_mark"),
    path("statistics/", statistics.page, name="statistics"),
    path("workers/", workers.page, name="workers"),
    path("workers/<path:name>/drain/", workers.drain, name="worker_drain"),
    path("jobs/<str:job_id>/release/", job.release, name="job_release"),
    path("workflows/<str:kind>/", workflow.page, name="workflow"),
    path("workflows/<str:kind>/cancel/", workflow.cancel, name="workflow_cancel"),
    path("workflows/<str:kind>/retry/", workflow.retry, name="workflow_retry"),
    path("tokens/", tokens.page, name="tokens"),
    path("tokens/revoke/", tokens.revoke, name="token_revoke"),
    path("audit/", audit.page, name="audit"),
    path("live/events/", stream.events, name="live_events"),
    path("submit/", submit.page, name="submit"),
    path("sign-in/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("sign-out/", LogoutView.as_view(), name="logout"),
]
