from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0018_outcomes_counted'),
    ]

    operations = [
        migrations.AlterModelOptions(name='apitoken', options={'verbose_name': 'API token'}),
        migrations.AlterModelOptions(name='dependency', options={'verbose_name_plural': 'dependencies'}),
        migrations.AlterModelOptions(name='tally', options={'verbose_name_plural': 'tallies'}),
    ]
