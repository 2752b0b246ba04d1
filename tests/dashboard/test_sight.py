"""Who sees one project sees no figures, names or errors of another."""

import json
import re

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from jobs import briefly, configuration, lifecycle, steering
from jobs.errors import Category
from jobs.failures import Failure
from jobs.lifecycle import Usage
from jobs.limits import GroupKind
from jobs.models import ProjectAccess
from jobs.retry import GiveUp
from tests.dashboard.test_operators import body, counted, worker
from tests.factories import completed, running, submitted

pytestmark = pytest.mark.django_db(transaction=True)

PAGES = (
    *("/", "/?range=week", "/charts.json", "/jobs/", "/queue/", "/errors/", "/errors/?window=week", "/workers/"),
    *("/statistics/", "/statistics/?by=tool&period=hour", "/statistics/?by=operation", "/statistics/?by=project&period=hour"),
)
# Of the other project: its name, its tools, its batch, what its failures say, who calls, its keys.
HIDDEN = ("Hidden", "test.walk", "hidden-batch", "secret message", "HiddenError", "hidden-key")


def broken(project, tool, message, error):
    failure = Failure(category=Category.PERMANENT, error_class=error, message=message, place=f"{project}:load")
    job = submitted(tool, project=project, batch=f"{project.lower()}-batch")
    lifecycle.fail(running(job), failure, GiveUp(reason="no use"), Usage(), actor="t")


@pytest.fixture
def eve():
    """May see the project Mine, and operate."""
    user = User.objects.create_user("eve")
    user.user_permissions.set(Permission.objects.filter(codename__in=["control_job", "submit_job", "administer"]))
    ProjectAccess.objects.create(user=user, project="Mine")
    signed_in = Client()
    signed_in.force_login(user)
    return signed_in


@pytest.fixture
def two_projects(monkeypatch):
    """Of Mine one job in each state; of Hidden three that completed, two that failed, and more that waits and runs."""
    monkeypatch.setattr("jobs.workers.dispatcher_alive", lambda: True)
    configuration.row()
    worker(name="tests:1")
    for project, tool, times in (("Mine", "test.add", 1), ("Hidden", "test.walk", 3)):
        for n in range(times):
            completed(submitted(tool, project=project))
            submitted(tool, project=project, batch=f"{project.lower()}-batch", concurrency_key=f"{project.lower()}-key")
            running(submitted(tool, project=project))
            if n < 2:
                broken(project, tool, f"{'secret' if project == 'Hidden' else 'my'} message", f"{project}Error")
        steering.pause(GroupKind.PROJECT, project, by="ann")
        steering.limit(GroupKind.KEY, f"{project.lower()}-key", max_running=2, per_minute=None, by="ann")
    counted()
    briefly.forget()


@pytest.mark.parametrize("address", PAGES)
def test_nothing_of_another_project_is_on_a_page(eve, two_projects, address):
    text = body(eve, address)
    # Tools are named in forms, for they belong to nobody; figures and jobs of them are told elsewhere.
    text = re.sub(r'<datalist id="names">.*?</datalist>', "", text, flags=re.DOTALL)
    if address == "/jobs/":
        # So are they in its rail, without numbers.
        assert "test.walk" not in text.split("data-list-rows")[1].split("</tbody>")[0]
        text = text.replace("test.walk", "")
    assert [word for word in HIDDEN if word in text] == []


@pytest.mark.parametrize("address", PAGES)
def test_what_is_hidden_there_is_told_to_who_sees_everything(two_projects, address):
    boss = Client()
    boss.force_login(User.objects.create_superuser("ada"))
    seen = body(boss, address)
    if address not in ("/charts.json", "/statistics/?by=operation"):
        assert any(word in seen for word in HIDDEN)


def test_figures_are_of_the_projects_that_one_sees(eve, two_projects):
    charts = json.loads(body(eve, "/charts.json"))
    assert "queue" not in charts
    assert "use" not in charts
    shown = {line["key"]: line["shown"] for line in charts["outcomes"]["lines"]}
    assert (shown["completed"], shown["failed"]) == (1, 1)
    overview = body(eve, "/")
    assert 'data-failures="1"' in overview
    assert "1 job failed in the last hour: 1 worker, 1 running, 1 waiting" in overview
    statistics = body(eve, "/statistics/?by=tool&period=hour")
    assert "50.0 %" in statistics
    assert statistics.count('<th scope="row">') == 1
    assert "1 ready and waiting, 1 running, 0 held back" in body(eve, "/queue/")


def test_a_failure_that_others_share_is_told_by_ones_own_jobs(eve):
    configuration.row()
    for project, tool in (("Mine", "test.add"), ("Hidden", "test.walk")):
        failure = Failure(category=Category.PERMANENT, error_class="Shared", message="it broke", place="shop:load")
        lifecycle.fail(running(submitted(tool, project=project)), failure, GiveUp(reason="no use"), Usage(), actor="t")
    text = body(eve, "/errors/")
    assert "Shared" in text
    assert "test.add" in text
    assert "test.walk" not in text
