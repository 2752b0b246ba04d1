from django.db import migrations

# A job goes on as another tool where its own gave it up; the tally is by tool too.
_TRIGGER = """
DROP TRIGGER job_tally_moved ON jobs_job;
CREATE TRIGGER job_tally_moved AFTER UPDATE OF {columns} ON jobs_job FOR EACH ROW
    WHEN (({old}) IS DISTINCT FROM ({new})) EXECUTE FUNCTION jobs_tally_moved();
"""


def trigger(*columns: str) -> str:
    old, new = (", ".join(f"{row}.{column}" for column in columns) for row in ("OLD", "NEW"))
    return _TRIGGER.format(columns=", ".join(columns), old=old, new=new)


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0016_ranking'),
    ]

    operations = [
        migrations.RunSQL(trigger("status", "gate", "priority", "tool"), trigger("status", "gate", "priority")),
    ]
