"""The client's shapes against the server's own description of its API: they cannot drift apart unseen."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import jobsite_client
from benchmarks.stack import ROOT
from jobs.api import api
from jobsite_client import asking, client, following, shapes, submitting
from jobsite_client.cli.endings import Exit

SCHEMAS = api.get_openapi_schema()["components"]["schemas"]
# The client's name of a shape, and the server's.
PAIRS = {
    shapes.JobStatus: "JobStatusMessage",
    shapes.Job: "TaskJob",
    shapes.JobSummary: "JobSummary",
    shapes.Fallback: "Fallback",
    shapes.JobPage: "JobPage",
    shapes.JobDetails: "JobDetails",
    shapes.PollingRecommendation: "PollingRecommendation",
    shapes.Result: "Result",
    shapes.ResourceRequirements: "ResourceRequirements",
    shapes.ResourceUsage: "ResourceUsage",
    shapes.Metrics: "Metrics",
    shapes.JobEvent: "JobEvent",
    shapes.JobAttempt: "JobAttempt",
    shapes.WhyWaiting: "WhyWaiting",
    shapes.Blocker: "Blocker",
    shapes.LimitReached: "LimitReached",
    shapes.QueueStatus: "QueueStatus",
    shapes.ResourceUse: "ResourceUse",
    shapes.OperationStatistics: "OperationStatistics",
    shapes.Statistics: "Statistics",
    shapes.Tool: "ToolShape",
    shapes.Group: "Group",
    shapes.BulkJob: "BulkMade",
    shapes.Worker: "WorkerShape",
    shapes.Workers: "WorkerList",
    shapes.Kin: "Kin",
    shapes.Token: "Token",
    shapes.MadeToken: "MadeToken",
}


@pytest.mark.parametrize(("shape", "name"), PAIRS.items(), ids=lambda value: getattr(value, "__name__", value))
def test_every_field_of_a_shape_is_one_of_the_servers(shape, name):
    ours = {field.alias or field_name for field_name, field in shape.model_fields.items()}
    assert ours <= set(SCHEMAS[name]["properties"])


@pytest.mark.parametrize(("shape", "name"), PAIRS.items(), ids=lambda value: getattr(value, "__name__", value))
def test_what_the_client_must_have_the_server_always_sends(shape, name):
    needed = {field.alias for field in shape.model_fields.values() if field.is_required()}
    assert needed <= set(SCHEMAS[name].get("required", []))


def test_options_of_submit_are_those_of_a_new_job():
    fields = set(submitting.NewJob.model_fields)
    assert set(submitting.Wanted.__annotations__) == fields - {"tool_name", "params", "key", "kind"}
    assert {field.alias for field in submitting.NewJob.model_fields.values()} <= set(SCHEMAS["NewBulkJob"]["properties"])


@pytest.mark.parametrize("module", [asking, submitting, following], ids=lambda module: module.__name__)
def test_every_plan_is_an_operation_of_both_clients(module):
    plans = {
        name
        for name, plan in inspect.getmembers(module, inspect.isfunction)
        if plan.__module__ == module.__name__ and "link" in inspect.signature(plan).parameters and not name.startswith("_")
    }
    internal = {"failure"}
    assert plans - internal <= set(vars(client.Operations))


def test_the_client_is_free_of_django():
    for path in Path(jobsite_client.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & {"django", "jobs", "jobsite", "dashboard"}, path


def test_the_documented_exit_codes_are_those_there_are():
    rows = re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "client.md").read_text(), re.MULTILINE)
    assert [int(code) for code in rows] == sorted(Exit)


def test_the_documented_operations_are_those_there_are():
    in_python, _, _ = (ROOT / "docs" / "client.md").read_text().partition("## In a shell")
    table = re.findall(r"^\| (`[a-z_ ]+`) \|", in_python, re.MULTILINE)
    named = {name for cell in table for name in cell.strip("`").split()}
    assert named == {name for name in vars(client.Operations) if not name.startswith("_")}
