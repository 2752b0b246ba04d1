from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_out


class DashboardConfig(AppConfig):
    name = "dashboard"

    def ready(self) -> None:
        from dashboard.access import tell_hubs  # noqa: PLC0415  (needs the models)

        user_logged_out.connect(tell_hubs, dispatch_uid="dashboard.tell_hubs")
