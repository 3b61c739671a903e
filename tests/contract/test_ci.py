"""Continuous integration runs the same here and on GitHub, and leaves nothing out."""

import re
import runpy
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
SUITES = {
    suite.mark for suite in runpy.run_path(str(ROOT / "scripts/_suites.py"))["SUITES"]
}


def test_ci_runs_the_tests_and_every_suite_once() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    runs = [line for line in lines if line.startswith("./scripts/test")]
    suites = sorted(f"./scripts/test --{suite}" for suite in SUITES)
    assert [runs[0], *sorted(runs[1:])] == ["./scripts/test", *suites]


def test_a_workflow_has_a_job_for_every_run_of_ci_and_for_no_other() -> None:
    jobs = [
        suite
        for listed in re.findall(r"^ +suite: \[(.+)\]$", WORKFLOW, re.MULTILINE)
        for suite in listed.split(", ")
    ]
    assert sorted(jobs) == sorted(SUITES)
    runs = re.findall(r"run: (\./scripts/test.*)$", WORKFLOW, re.MULTILINE)
    assert sorted(runs) == ["./scripts/test", *['./scripts/test "--$SUITE"'] * 2]


def test_every_suite_is_a_mark_and_told_to_who_contributes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    marks = {mark.partition(":")[0] for mark in project["tool"]["pytest"]["markers"]}
    assert marks - {"extension"} == SUITES
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^ {4}\./scripts/test --(\w+) +#", text, re.MULTILINE))
    assert told == SUITES


def test_the_single_file_is_for_every_python_that_is_tested() -> None:
    [tested] = re.findall(r"^ +python: \[(.+)\]$", WORKFLOW, re.MULTILINE)
    single = runpy.run_path(str(ROOT / "scripts" / "_single.py"))["PYTHONS"]
    assert tuple(tested.replace('"', "").split(", ")) == single


def test_before_a_commit_runs_what_lint_runs() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"entry: (.+)", text) == ["./scripts/test --only-lint"]
    assert re.findall(r"repo: (.+)", text) == ["local"]
