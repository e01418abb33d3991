"""The workflows on the page about continuous integration are YAML of the form that it should have, and what they run
works.
"""

import glob
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ..conformance.evaluation.certificate.conftest import FILES
from ..support.here import kterm_here
from . import ROOT, page

PAGE = "docs/ci.md"
SMALL = {"torch jax": "port.py:Port --profile quick -n 0"}
"""What is checked here instead."""
INPUTS = {
    "actions/checkout@v4": set(),
    "actions/setup-python@v5": {"python-version", "cache"},
    "actions/cache@v4": {"path", "key"},
    "actions/upload-artifact@v4": {"name", "path"},
    "actions/download-artifact@v4": {"name", "path", "pattern", "merge-multiple"},
}
"""The actions that are used, with those of their inputs that are given; each was looked up in its action.yml."""


@pytest.fixture(autouse=True)
def _same_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # threadpoolctl sets it when it is first imported, and so only for the first of several runs in one process.
    monkeypatch.setenv("KMP_DUPLICATE_LIB_OK", "True")


@pytest.fixture(autouse=True)
def _port(tmp_path: Path) -> None:
    (tmp_path / "port.py").write_text(FILES["port.py"], encoding="utf-8")


def workflow(name: str) -> dict[Any, Any]:
    """A workflow on the page, parsed."""
    yaml = pytest.importorskip("yaml")
    found = re.search(rf"<!-- {name} -->\n```yaml\n(.*?)^```", page(PAGE), re.M | re.S)
    assert found is not None
    return yaml.safe_load(found[1])


def run(line: str, folder: Path) -> int | None:
    """The exit code of a line that calls kterm, with a shell's patterns of files; None for another."""
    for old, new in SMALL.items():
        line = line.replace(old, new)
    program, *words = shlex.split(line)
    if program != "kterm":
        assert line == "pip install -r requirements.txt"
        return None
    arguments = [one for word in words for one in (sorted(glob.glob(word, root_dir=folder)) or [word])]
    done = kterm_here(*arguments, folder=folder)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode


def test_the_workflow_for_github_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    jobs = workflow("github")["jobs"]
    assert [*jobs] == ["check", "merge"]
    assert jobs["merge"]["needs"] == "check"
    codes: list[int | None] = []
    for job in jobs.values():
        matrix: dict[str, list[int]] = job.get("strategy", {}).get("matrix", {"shard": [0]})
        assert job["runs-on"] == "ubuntu-latest"
        for shard in matrix["shard"]:
            for step in job["steps"]:
                if "run" in step:
                    line = step["run"].replace("${{ matrix.shard }}", str(shard))
                    assert "${{" not in line
                    codes.append(run(line, tmp_path))
                else:
                    assert {*step.get("with", {})} <= INPUTS[step["uses"]]
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/upload"):
                name = step["with"]["path"].replace("${{ matrix.shard }}", "4")
                assert glob.glob(name, root_dir=tmp_path), name
    assert codes == [*[None, 0] * 5, 0]
    assert {path.name for path in tmp_path.glob("kterm-*")} == {"kterm-port.json", "kterm-port.svg"}
    assert (tmp_path / "run.jsonl.gz").is_file()
    assert (tmp_path / "step.md").read_text(encoding="utf-8").count("## kterm: conforms") == 5


def test_the_workflow_for_gitlab_runs(tmp_path: Path) -> None:
    jobs = workflow("gitlab")
    assert [*jobs] == ["check", "merge"]
    assert jobs["merge"]["needs"] == ["check"]
    count = jobs["check"]["parallel"]
    codes: list[int | None] = []
    for job, indices in ((jobs["check"], range(1, count + 1)), (jobs["merge"], (0,))):
        for index in indices:
            for line in job["script"]:
                line = line.replace("$CI_NODE_INDEX", str(index)).replace("$CI_NODE_TOTAL", str(count))
                assert "$" not in line
                codes.append(run(line, tmp_path))
            for path in (*job["artifacts"]["paths"], *job["artifacts"].get("reports", {}).values()):
                assert glob.glob(path, root_dir=tmp_path), path
    assert codes == [None, 0] * (count + 1)


def test_the_workflow_for_the_package_runs(tmp_path: Path) -> None:
    project = tomllib.loads(page("pyproject.toml"))["project"]
    jobs = workflow("package")["jobs"]
    assert [*jobs] == ["build", "wheel", "tests"]
    assert jobs["wheel"]["needs"] == "build"
    claimed = [one.rpartition(" ")[2] for one in project["classifiers"] if re.search(r" :: 3\.\d+$", one)]
    for job in ("wheel", "tests"):
        assert jobs[job]["strategy"]["matrix"]["python"] == claimed
    assert len(jobs["wheel"]["strategy"]["matrix"]["system"]) == 3
    codes: dict[str, int] = {}
    for job in jobs.values():
        for step in job["steps"]:
            if "uses" in step:
                assert {*step.get("with", {})} <= INPUTS[step["uses"]]
            elif step["run"].startswith("kterm "):
                # All shells of the three systems read it in the same way.
                assert not re.search(r"[^\w .=-]", step["run"])
                line = step["run"] + (" -n 0" if " check " in step["run"] else "")
                codes[step["run"]] = kterm_here(*shlex.split(line)[1:], folder=tmp_path).returncode
    assert set(codes.values()) == {0}
    assert len(codes) == 4
    lines = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    # test_packaging.py builds and installs; that these name what there is:
    assert f"pip install --find-links dist kterm=={project['version']}" in lines
    assert (ROOT / ".ci/run").is_file()
    assert "bash .ci/run" in lines
