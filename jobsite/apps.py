from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "jobsite"
    verbose_name = "Jobsite"
