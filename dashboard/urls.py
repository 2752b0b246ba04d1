"""Addresses of the pages."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from dashboard.views import job, jobs, overview, submit

urlpatterns = [
    path("", overview.page, name="overview"),
    path("jobs/", jobs.page, name="jobs"),
    path("jobs/rows/", jobs.rows, name="rows"),
    path("jobs/<str:job_id>/", job.page, name="job"),
    path("jobs/<str:job_id>/parts/", job.parts, name="job_parts"),
    path("jobs/<str:job_id>/result.json", job.result, name="job_result"),
    path("jobs/<str:job_id>/cancel/", job.cancel, name="job_cancel"),
    path("jobs/<str:job_id>/retry/", job.retry, name="job_retry"),
    path("jobs/<str:job_id>/pause/", job.pause, name="job_pause"),
    path("jobs/<str:job_id>/resume/", job.resume, name="job_resume"),
    path("submit/", submit.page, name="submit"),
    path("sign-in/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("sign-out/", LogoutView.as_view(), name="logout"),
]
