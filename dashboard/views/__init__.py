"""The pages, one file each. Each reads by jobs.queries, acts by a verb of jobs.lifecycle, and works without JavaScript."""
