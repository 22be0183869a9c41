"""Recommending for many conversations: a table in, a table out, by as many processes as there are.

``run`` is one process, ``run_processes`` several of this machine, ``run_ray`` the actors of Ray
Data. All of them write the same bytes, and whatever is killed goes on where it was.
"""

from llmrec.bulk.folder import BulkReport
from llmrec.bulk.options import BulkOptions
from llmrec.bulk.running import Share, load, run
from llmrec.bulk.spreading import run_processes, run_ray
from llmrec.bulk.table import schema

__all__ = [
    "BulkOptions",
    "BulkReport",
    "Share",
    "load",
    "run",
    "run_processes",
    "run_ray",
    "schema",
]
