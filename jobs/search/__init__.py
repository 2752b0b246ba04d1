"""The search language of the job list: read (language), answered (finding), and completed while it is typed (completion).

`status:failed tool:codemap age:<1h params.path:src -batch:nightly "free text"`
"""

from jobs.search.completion import Suggestion, names_of, suggest
from jobs.search.finding import Found, count, find, matching, walk
from jobs.search.language import BadSearch, Search, Term, read

__all__ = [
    "BadSearch",
    "Found",
    "Search",
    "Suggestion",
    "Term",
    "count",
    "find",
    "matching",
    "names_of",
    "read",
    "suggest",
    "walk",
]
