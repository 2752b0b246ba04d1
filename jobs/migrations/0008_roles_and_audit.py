"""Roles as groups, access by project, and an audit log that the database keeps append-only."""

import django.db.models.deletion
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

from jobs import roles

APPEND_ONLY = """
CREATE FUNCTION jobs_audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A test database is emptied between tests; it says so by this setting.
    IF TG_OP = 'TRUNCATE' AND current_setting('jobsite.audit_may_be_emptied', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER jobs_audit_no_change BEFORE UPDATE OR DELETE ON jobs_auditentry
    FOR EACH ROW EXECUTE FUNCTION jobs_audit_append_only();
CREATE TRIGGER jobs_audit_no_truncate BEFORE TRUNCATE ON jobs_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION jobs_audit_append_only();
"""
BACK = "DROP FUNCTION jobs_audit_append_only() CASCADE"


def make_roles(apps, schema_editor):
    # Permissions are otherwise made after all migrations, which is too late for the groups that hold them.
    config = apps.get_app_config("jobs")
    config.models_module = True
    create_permissions(config, apps=apps, verbosity=0)
    config.models_module = None
    roles.make(apps.get_model("auth", "Group").objects, apps.get_model("auth", "Permission").objects)


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0007_failures"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ProjectAccess',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('project', models.CharField(max_length=100)),
            ],
            options={
                'verbose_name_plural': 'project access',
            },
        ),
        migrations.AlterModelOptions(
            name='job',
            options={'permissions': [('submit_job', 'May submit jobs'), ('control_job', 'May cancel and retry jobs'), ('administer', 'May change the configuration and limits, make tokens, and remove jobs')]},
        ),
        migrations.RemoveIndex(
            model_name='auditentry',
            name='audit_newest',
        ),
        migrations.AddField(
            model_name='auditentry',
            name='origin',
            field=models.CharField(blank=True, default='', help_text='The address it came from; empty for this machine.', max_length=100),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(models.OrderBy(models.F('at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='audit_newest'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(models.F('actor'), models.OrderBy(models.F('at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='audit_of_actor'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(models.F('subject'), models.OrderBy(models.F('at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='audit_of_subject'),
        ),
        migrations.AddField(
            model_name='projectaccess',
            name='group',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to='auth.group'),
        ),
        migrations.AddField(
            model_name='projectaccess',
            name='user',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddConstraint(
            model_name='projectaccess',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('group__isnull', False), ('user', None)), models.Q(('group', None), ('user__isnull', False)), _connector='OR'), name='projectaccess_of_one'),
        ),
        migrations.AddConstraint(
            model_name='projectaccess',
            constraint=models.UniqueConstraint(fields=('user', 'group', 'project'), name='projectaccess_once', nulls_distinct=False),
        ),
        migrations.RunSQL(APPEND_ONLY, BACK),
        migrations.RunPython(make_roles, migrations.RunPython.noop),
    ]
