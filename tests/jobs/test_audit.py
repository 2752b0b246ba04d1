import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import DatabaseError, connection, transaction

from jobs import audit, lifecycle, roles, steering, tokens
from jobs.errors import IllegalMove, NotFound
from jobs.limits import GroupKind
from jobs.models import AuditEntry, ProjectAccess
from jobs.sight import EVERYTHING, Sight, find, sight_of, sights_of
from tests.factories import completed, failed, submitted

pytestmark = pytest.mark.django_db


def test_an_action_on_a_job_is_noted_with_who_what_from_where_before_and_after():
    job = failed(submitted(project="PRJ-1"))
    with audit.origin("192.0.2.7"):
        audit.act("retry", lifecycle.retry, job.id, by="ada")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.subject, entry.origin) == ("ada", "retry", f"job {job.id}", "192.0.2.7")
    assert (entry.before, entry.after) == ({"status": "failed"}, {"status": "pending"})


def test_what_changed_nothing_or_was_refused_is_not_noted():
    done = completed()
    audit.act("cancel", lifecycle.cancel, done.id, by="ada")
    with pytest.raises(IllegalMove):
        audit.act("retry", lifecycle.retry, done.id, by="ada")
    with pytest.raises(NotFound):
        audit.act("cancel", lifecycle.cancel, "no\x00body", by="ada")
    assert not AuditEntry.objects.exists()


def test_secrets_are_masked_at_any_depth():
    audit.note("configure", "x", by="ada", after={"apiKey": "k", "deep": [{"db_password": "p", "name": "n"}], "token": ""})
    assert AuditEntry.objects.get().after == {"apiKey": "[masked]", "deep": [{"db_password": "[masked]", "name": "n"}], "token": ""}


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE jobs_auditentry SET actor = 'eve'",
        "DELETE FROM jobs_auditentry",
        "SET LOCAL jobsite.audit_may_be_emptied = 'off'; TRUNCATE jobs_auditentry",
    ],
)
def test_the_database_refuses_to_change_the_log(sql):
    steering.pause(GroupKind.TOOL, "codemap", by="ada")
    *before, refused = sql.split("; ")
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in before:
            cursor.execute(statement)
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            cursor.execute(refused)
    assert AuditEntry.objects.get().actor == "ada"


def test_tokens_leave_their_making_and_their_end_in_the_log_but_never_their_secret():
    _, secret = tokens.make("ci", by="ada", scopes=["jobs:read"])
    assert tokens.revoke("ci", by="bob")
    assert not tokens.revoke("ci", by="bob")
    noted = list(AuditEntry.objects.order_by("id"))
    assert [(e.action, e.subject, e.actor) for e in noted] == [
        ("make token", "token ci", "ada"),
        ("revoke token", "token ci", "bob"),
    ]
    assert secret not in str([(e.before, e.after) for e in noted])


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("viewer", ["jobs.view_job"], ["jobs.submit_job", "jobs.control_job", "jobs.administer", "jobs.view_auditentry"]),
        ("operator", ["jobs.view_job", "jobs.submit_job", "jobs.control_job"], ["jobs.administer", "jobs.view_auditentry"]),
        ("administrator", ["jobs.submit_job", "jobs.control_job", "jobs.administer", "jobs.view_auditentry"], ["auth.add_user"]),
    ],
)
def test_the_three_roles(role, may, may_not):
    roles.make(Group.objects, Permission.objects)  # the migration made them; another test may have emptied the tables
    user = User.objects.create_user("eve")
    user.groups.add(Group.objects.get(name=role))
    assert all(map(user.has_perm, may))
    assert not any(map(user.has_perm, may_not))


def test_who_is_given_projects_sees_only_their_jobs_and_the_rest_is_not_there(django_assert_num_queries):
    seen, other, bare = submitted(project="A"), submitted(project="B"), submitted()
    ada, eve, root = User.objects.create_user("ada"), User.objects.create_user("eve"), User.objects.create_superuser("root")
    team = Group.objects.create(name="team a")
    eve.groups.add(team)
    ProjectAccess.objects.create(group=team, project="A")
    ProjectAccess.objects.create(user=root, project="B")
    with django_assert_num_queries(1):
        assert sights_of([ada.pk, eve.pk]) == {ada.pk: EVERYTHING, eve.pk: Sight(projects=frozenset("A"))}
    assert sight_of(root) == EVERYTHING
    assert find(seen.id, sight_of(eve)).id == seen.id
    for hidden in (other.id, bare.id, "nobody", "\x00"):
        with pytest.raises(NotFound):
            find(hidden, sight_of(eve))
    assert find(bare.id, sight_of(ada)).id == bare.id
