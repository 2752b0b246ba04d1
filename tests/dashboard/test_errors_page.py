"""The errors' page: failures that are alike as one, and what is done to them there."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from jobs import failure_groups, lifecycle
from jobs.errors import Category
from jobs.failure_groups import GroupState
from jobs.failures import Failure
from jobs.lifecycle import Usage
from jobs.models import AuditEntry, Job, ProjectAccess
from jobs.retry import GiveUp
from jobs.sight import sight_of
from tests.factories import running, submitted

pytestmark = pytest.mark.django_db

EVIL = '"><script>alert(1)</script>'


def broken(message="row 7 is bad", *, place="shop:load", project=""):
    failure = Failure(category=Category.PERMANENT, error_class="Bad", message=message, place=place)
    return lifecycle.fail(running(submitted(project=project)), failure, GiveUp(reason="no use"), Usage(), actor="t")


def body(client, address="/errors/"):
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def test_failures_that_are_alike_are_one_line_with_a_button_that_retries_all_of_them(client):
    broken("row 1 is bad")
    last = broken("row 2 is bad")
    other = broken(place="shop:save")
    page = body(client)
    assert page.count('class="failure') == 2
    assert f"/jobs/{last.id}/" in page
    group = next(g for g in failure_groups.groups() if g.place == "shop:load")
    said = client.post(f"/errors/{group.fingerprint}/retry/", follow=True).content.decode()
    assert "2 jobs are pending again." in said
    assert set(Job.objects.values_list("status", flat=True)) == {"pending", "failed"}
    assert Job.objects.get(pk=other.id).status == "failed"
    assert AuditEntry.objects.filter(action="retry").count() == 2
    assert "Retry 1" in body(client, "/")


def test_a_group_is_muted_unmuted_and_resolved_and_each_state_has_its_list(client):
    broken()
    (group,) = failure_groups.groups()
    for mark, state in (("mute", "muted"), ("unmute", "open"), ("resolve", "resolved")):
        client.post(f"/errors/{group.fingerprint}/mark/", {"as": mark})
        assert failure_groups.group(group.fingerprint).state == state
        assert 'class="failure' in body(client, f"/errors/?state={state}")
    assert "Nothing failed in this time that is still open." in body(client)
    assert client.post("/errors/none/mark/", {"as": "mute"}).status_code == 404
    assert (
        "muted, unmuted or resolved" in client.post(f"/errors/{group.fingerprint}/mark/", {"as": "x"}, follow=True).content.decode()
    )


def test_hostile_messages_are_only_ever_text(client):
    broken(EVIL, place=EVIL, project=EVIL)
    for address in ("/errors/", "/"):
        assert EVIL not in body(client, address)
        assert "&lt;script&gt;" in body(client, address)


def test_who_sees_one_project_sees_its_failures_only_and_retries_no_others():
    mine, theirs = broken("in a secret place", project="mine"), broken("in a secret place", project="theirs")
    broken(place="elsewhere", project="theirs")
    eve = User.objects.create_user("eve")
    eve.user_permissions.set(Permission.objects.filter(codename="control_job"))
    ProjectAccess.objects.create(user=eve, project="mine")
    client = Client()
    client.force_login(eve)
    page = body(client)
    assert page.count('class="failure') == 1
    assert "secret" not in page, "the newest is of another project"
    assert "elsewhere" not in page
    assert "Retry 1" in page
    (group,) = failure_groups.as_seen(failure_groups.groups(), sight_of(eve))
    client.post(f"/errors/{group.fingerprint}/retry/")
    assert Job.objects.get(pk=mine.id).status == "pending"
    assert Job.objects.get(pk=theirs.id).status == "failed"


def test_who_may_only_look_changes_nothing():
    broken()
    (group,) = failure_groups.groups()
    client = Client()
    client.force_login(User.objects.create_user("eve"))
    assert "<form" not in body(client).split('id="groups"')[1].split("</section>")[0]
    for address in ("retry/", "mark/"):
        assert client.post(f"/errors/{group.fingerprint}/{address}", {"as": "mute"}).status_code == 403
    assert failure_groups.group(group.fingerprint).state == GroupState.OPEN


@pytest.mark.parametrize("number", [1, 12])
def test_the_page_costs_the_same_queries_for_one_group_and_for_many(client, number, django_assert_max_num_queries):
    for n in range(number):
        broken(place=f"shop:part{n}")
    with django_assert_max_num_queries(9):
        body(client)
