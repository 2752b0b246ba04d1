"""Settings of the site. Every value an operator may want to change comes from the environment (docs/operations.md)."""

import os
import secrets
import sys
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import dj_database_url
from csp.constants import NONE, SELF

from jobsite.embedded import endpoints

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(os.environ.get("JOBSITE_VAR") or BASE_DIR / "var").resolve()
LOCAL = endpoints(VAR)


def _flag(name: str, default: str = "") -> bool:
    return os.environ.get(name, default).lower() in {"1", "true", "yes", "on"}


def _list(name: str, default: str = "") -> list[str]:
    return [item.strip() for item in os.environ.get(name, default).split(",") if item.strip()]


def _secret_key() -> str:
    """The key from the environment, else one made on first use and kept in var/ (0600)."""
    if key := os.environ.get("SECRET_KEY"):
        return key
    VAR.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = VAR / "secret_key"
    try:
        descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return kept.read_text()
    with os.fdopen(descriptor, "w") as file:
        key = secrets.token_urlsafe(50)
        file.write(key)
    return key


SECRET_KEY = _secret_key()
SECRET_KEY_FALLBACKS = _list("SECRET_KEY_FALLBACKS")
DEBUG = _flag("DEBUG")
ALLOWED_HOSTS = _list("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = _list("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "daphne",
    "jobsite",
    "dashboard",
    "jobs",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "channels",
    "django_htmx",
    "csp",
    "axes",
    # Django's task framework, where it is not part of Django yet.
    *([] if find_spec("django.tasks") else ["django_tasks"]),
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "jobsite.short_way.short_way",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "dashboard.visit.visit",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "jobsite.urls"
ASGI_APPLICATION = "jobsite.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "dashboard.rail.rail",
            ],
        },
    },
]

# --- the truth -------------------------------------------------------------------------------------------------------
DATABASES = {"default": dj_database_url.parse(os.environ.get("DATABASE_URL") or LOCAL.database_url, engine="jobsite.database")}
# The verbs' statements are long: planning them costs more than running them, so they are prepared.
_OPTIONS = DATABASES["default"].setdefault("OPTIONS", {})
_OPTIONS |= {"server_side_binding": True, "prepare_threshold": 3}
# Compiling such a statement costs more than any of its runs; and a plan made while a table was small must not scan it for ever.
_OPTIONS["options"] = f"{_OPTIONS.get('options', '')} -c jit=off -c random_page_cost=1.1".strip()
if _flag("JOBSITE_DB_POOL"):
    DATABASES["default"]["CONN_MAX_AGE"] = 0
    _OPTIONS["pool"] = {"min_size": 1, "max_size": 12, "timeout": 10}
else:
    DATABASES["default"]["CONN_MAX_AGE"] = None
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- messages --------------------------------------------------------------------------------------------------------
REDIS_URL = os.environ.get("REDIS_URL") or LOCAL.redis_url
REDIS_PREFIX = os.environ.get("JOBSITE_REDIS_PREFIX", "jobsite")

# redis-py and kombu spell a unix socket differently.
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=", 1)
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_SEND_TASK_EVENTS = False
# A child is replaced by a fresh one after so many doorbells (each a stay with any number of jobs), or above so much memory.
CELERY_WORKER_MAX_TASKS_PER_CHILD = int(os.environ.get("JOBSITE_CHILD_STAYS", "1000"))
CELERY_WORKER_MAX_MEMORY_PER_CHILD = int(os.environ.get("JOBSITE_CHILD_MEMORY_MB", "1024")) * 1024
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# A child plans its statements before it says that it is there: with many of them, or a database that hangs, that takes a while, and
# Celery would end those that have not said so after 4 s.
CELERY_WORKER_PROC_ALIVE_TIMEOUT = 60.0
# A child that was killed keeps its place in the pool for this long, lest a result of it be on its way. We have none to wait for,
# and with the usual 10 s no doorbell is taken in its place meanwhile.
CELERY_WORKER_LOST_WAIT = 0.5
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": f"{REDIS_PREFIX}:celery:",
    "socket_timeout": 5,
    "socket_connect_timeout": 5,
}
# Celery's Django integration closes connections around every task unless this is set: 91 jobs/s against 270.
CELERY_DB_REUSE_MAX = 1_000_000_000

# --- people ----------------------------------------------------------------------------------------------------------
# Sign-in is throttled: after so many wrong passwords for a name from one address, that pair waits.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=int(os.environ.get("JOBSITE_LOCKOUT_MINUTES", "15")))
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "dashboard.visit.address_of"
AXES_LOCKOUT_TEMPLATE = "registration/locked.html"
AXES_DISABLE_ACCESS_LOG = True
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _flag("HTTPS")
BEHIND_PROXY = _flag("BEHIND_PROXY")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_HSTS_SECONDS = 31_536_000 if _flag("HTTPS") else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_SSL_REDIRECT = _flag("HTTPS")
# A probe from inside speaks no TLS.
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz)$"]
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

# --- static files ----------------------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = VAR / "static"
_NODE = BASE_DIR / "node_modules"
STATICFILES_DIRS = [
    BASE_DIR / "static",
    *(
        (f"vendor/{name}", _NODE / folder)
        for name, folder in {
            "tabler/css": "@tabler/core/dist/css",
            "uplot": "uplot/dist",
            "dagre": "@dagrejs/dagre/dist",
            "inter": "@fontsource-variable/inter/files",
            "jetbrains-mono": "@fontsource-variable/jetbrains-mono/files",
        }.items()
        if (_NODE / folder).is_dir()
    ),
]
_COLLECTED = (STATIC_ROOT / "staticfiles.json").exists() or "collectstatic" in sys.argv
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if _COLLECTED
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
# Before the first collectstatic (tests, a developer's first minute) files are served from where they lie.
WHITENOISE_USE_FINDERS = not _COLLECTED

# --- the job manager ------------------------------------------------------------------------------------------------
JOBSITE_WORKER_PROCESSES = int(os.environ.get("JOBSITE_WORKER_PROCESSES") or max(2, os.cpu_count() or 2))
# A running attempt holds a lease that its own process renews; all seconds.
JOBSITE_LEASE = float(os.environ.get("JOBSITE_LEASE", "15"))
JOBSITE_BEAT = float(os.environ.get("JOBSITE_BEAT", "2"))
JOBSITE_SWEEP = float(os.environ.get("JOBSITE_SWEEP", "1"))
JOBSITE_SESSION_CHECK = float(os.environ.get("JOBSITE_SESSION_CHECK", "30"))
# Finished jobs are kept at least so long.
JOBSITE_RETENTION = timedelta(milliseconds=float(os.environ.get("JOB_MANAGER_MAX_RETENTION", "3600000")))
# Between two looks for what is too old to be kept.
JOBSITE_CLEANUP = float(os.environ.get("JOB_MANAGER_CLEANUP_INTERVAL", "300000")) / 1000
# An admitted attempt that nobody started is rung again after this long.
JOBSITE_START_TIMEOUT = float(os.environ.get("JOBSITE_START_TIMEOUT", "5"))
# A job whose process tree holds more than its memoryMB times this is ended; a job that names no memory is not watched.
JOBSITE_MEMORY_FACTOR = float(os.environ.get("JOBSITE_MEMORY_FACTOR", "1.5"))
# How long a tool may take to come to an end once it was told to stop, before its process is ended.
JOBSITE_GRACE = float(os.environ.get("JOBSITE_GRACE", "5"))
# A child goes on with the next admitted attempt for this long per doorbell.
JOBSITE_STAY = float(os.environ.get("JOBSITE_STAY", "3"))
# Below it are the temporary folders of running jobs.
JOBSITE_WORKDIR = Path(os.environ.get("JOBSITE_WORKDIR") or VAR / "work")
# Folders that tools may read ("path" params); params that point elsewhere are refused.
JOBSITE_ROOTS = [Path(root).resolve() for root in _list("JOBSITE_ROOTS", str(BASE_DIR))]
# `@task` functions of Django's task framework run as jobs, in any queue that a worker serves.
TASKS = {"default": {"BACKEND": "jobs.django_tasks.JobsiteBackend", "QUEUES": []}}
# Modules with @tool functions, besides those in every installed app's `jobtools.py`.
JOBSITE_TOOLS = ["jobs.builtin.codemap", "jobs.builtin.replay", "jobs.builtin.bulk", *_list("JOBSITE_TOOLS")]
MAX_PAYLOAD = int(os.environ.get("JOBSITE_MAX_PAYLOAD", str(1024 * 1024)))
# Requests a minute: of one caller of the API, and without a valid token from one address. Beyond is abuse: 429.
JOBSITE_API_RATE = int(os.environ.get("JOBSITE_API_RATE", "60000"))
JOBSITE_STRANGER_RATE = int(os.environ.get("JOBSITE_STRANGER_RATE", "120"))
# Live connections that one person may hold in one web process.
JOBSITE_SOCKETS_PER_USER = int(os.environ.get("JOBSITE_SOCKETS_PER_USER", "200"))
# Webhooks go to these hosts only, over https; none, and they are off. See jobs.outward.
JOBSITE_WEBHOOK_HOSTS = _list("JOBSITE_WEBHOOK_HOSTS")
# A file of certificates to trust in place of the system's.
JOBSITE_WEBHOOK_CA = os.environ.get("JOBSITE_WEBHOOK_CA", "")
# Tests have their receivers on this machine. Anywhere else this would let callers reach what only this machine may reach.
JOBSITE_WEBHOOK_LOOPBACK_FOR_TESTS = _flag("JOBSITE_WEBHOOK_LOOPBACK_FOR_TESTS")
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_PAYLOAD + 64 * 1024

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "filters": {"masked": {"()": "jobs.masking.MaskingFilter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["masked"]}},
    "root": {"handlers": ["console"], "level": os.environ.get("LOG_LEVEL", "INFO")},
    "loggers": {
        "celery": {"level": "INFO"},
        "daphne": {"level": "WARNING"},
        "axes": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
        "mcp": {"level": "WARNING"},
    },
}
