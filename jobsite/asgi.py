"""What Daphne serves: Django over HTTP, the live hub over websockets."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jobsite.settings")
# Under ASGI each request may run in another thread, so kept connections leak; a pool bounds them.
os.environ.setdefault("JOBSITE_DB_POOL", "1")

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django import setup

setup(set_prefix=False)

from dashboard.origin import SameOrigin  # noqa: E402  (needs the app registry that the line above fills)
from dashboard.routing import websocket_urlpatterns  # noqa: E402
from jobs.api.holding import Holding  # noqa: E402
from jobsite.awaited import Apart, Awaited  # noqa: E402
from jobsite.one_hop import OneHop  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": Holding(Apart({"/mcp"}, Awaited(), OneHop())),
        "websocket": SameOrigin(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
