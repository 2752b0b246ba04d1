"""Addresses of the pages."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from dashboard import views

urlpatterns = [
    path("", views.overview, name="overview"),
    path("jobs/", views.jobs, name="jobs"),
    path("jobs/rows/", views.rows, name="rows"),
    path("jobs/<str:job_id>/", views.job, name="job"),
    path("jobs/<str:job_id>/parts/", views.job_parts, name="job_parts"),
    path("jobs/<str:job_id>/result.json", views.job_result, name="job_result"),
    path("jobs/<str:job_id>/cancel/", views.job_cancel, name="job_cancel"),
    path("jobs/<str:job_id>/retry/", views.job_retry, name="job_retry"),
    path("jobs/<str:job_id>/pause/", views.job_pause, name="job_pause"),
    path("jobs/<str:job_id>/resume/", views.job_resume, name="job_resume"),
    path("submit/", views.submit, name="submit"),
    path("sign-in/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("sign-out/", LogoutView.as_view(), name="logout"),
]
