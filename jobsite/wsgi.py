"""What a WSGI server serves: pages, admin and short API calls. Sockets, long polls and streams need jobsite.asgi."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jobsite.settings")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
