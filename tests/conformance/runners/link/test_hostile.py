"""Programs that break the protocol, stop, flood or leave processes behind: each ends in one line, in time."""

import os
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from kterm.adapters.registry import AdapterError
from kterm.conformance.runners import process
from kterm.conformance.runners.link.channel import Channel
from kterm.conformance.runners.process import ProcessRunner
from kterm.conformance.runners.runner import NoAnswer
from kterm.reference import Network, Parameters, Structure

STRUCTURE = Structure(Network((2, 3), ("tanh",), "none"), 2, "f64")
NUMBERS = Parameters((np.ones((2, 3)),)), np.ones((2, 2)), np.ones((2, 3))
TIMEOUT = 1.0

# A program that answers as it should until `backprop`, where it does what the test says.
_HEAD = """
import base64, json, os, signal, subprocess, sys, time
DECLARED = {"protocol": 1, "name": "mine", "version": "1", "layout": "in_out", "dtypes": ["f64"],
            "activations": ["tanh"], "biases": ["none"]}
def tensor(*shape):
    size = 8
    for n in shape: size *= n
    return {"dtype": "f64", "shape": shape, "data": base64.b64encode(bytes(size)).decode()}
RIGHT = {"outputs": tensor(2, 3), "error": tensor(), "weight_gradients": [tensor(2, 3)], "bias_gradients": []}
def write(text): sys.stdout.write(text); sys.stdout.flush()
def reply(result): write(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}) + "\\n")
def fail(code, message):
    error = {"code": code, "message": message}
    write(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}) + "\\n")
for line in sys.stdin:
    asked = json.loads(line)
    if asked["method"] == "initialize": reply(DECLARED)
    elif asked["method"] == "build": reply({"program": 1})
    elif asked["method"] == "shutdown": sys.exit(0)
    else:
"""


@pytest.fixture(autouse=True)
def _short_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOADING", 15.0)


def _program(tmp_path: Path, does: str) -> str:
    path = tmp_path / "program.py"
    path.write_text(_HEAD + "".join(f"        {line}\n" for line in does.splitlines()), encoding="utf-8")
    return f"command:{sys.executable} {path}"


def _called(spec: str, timeout: float = TIMEOUT) -> NoAnswer:
    with closing(ProcessRunner(spec, timeout=timeout)) as runner:
        runner.build(STRUCTURE)
        started = time.monotonic()
        with pytest.raises(NoAnswer) as caught:
            runner.call("normal", *NUMBERS)
        assert time.monotonic() - started < timeout + 12
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 700
    return caught.value


@pytest.mark.parametrize(
    ("does", "kind", "words"),
    [
        ("write('{'); time.sleep(60)", "hung", "no answer within"),
        ("while True: write(' '); time.sleep(0.05)", "hung", "no answer within"),
        ("write('hello\\n')", "broke the protocol", "hello"),
        ("asked['id'] += 1; reply(RIGHT)", "broke the protocol", "has the id"),
        ("write('x' * 5_000_000); time.sleep(60)", "broke the protocol", "a line of more than"),
        ("while True: write('\\n' * 9999)", "broke the protocol", ""),
        ("write('{\"jsonrpc\":'); sys.exit(9)", "died", "exited with code 9"),
        ("raise ValueError('no such kernel')", "died", "ValueError: no such kernel"),
        ("reply({})", "broke the protocol", "outputs"),
        ("write(json.dumps({'jsonrpc': '2.0', 'id': asked['id']}) + '\\n')", "broke the protocol", "neither"),
        ("reply({**RIGHT, 'error': 3})", "broke the protocol", "error"),
        ("reply({**RIGHT, 'outputs': {'dtype': 'f64', 'shape': [9], 'data': ''}})", "broke the protocol", "0 bytes"),
        ("reply({**RIGHT, 'outputs': {'dtype': 'f64', 'shape': [-1], 'data': ''}})", "broke the protocol", ">= 0"),
        ("write('[' * 100_000 + '\\n')", "broke the protocol", ""),
        ("fail(-32002, 'half \\ud800 and \\x1b[31m red')", "raised", "half and [31m red"),
        ("fail(-32001, 'not this one')", "unsupported", "not this one"),
        ("os.write(2, b'noise\\n' * 1_000_000); sys.exit('the end')", "died", "the end"),
    ],
)
def test_what_breaks_the_protocol_is_one_line(tmp_path: Path, does: str, kind: str, words: str) -> None:
    found = _called(_program(tmp_path, does), 8.0 if kind == "died" else TIMEOUT)
    assert found.kind == kind
    assert words in found.message


def test_of_a_traceback_in_a_message_its_last_line_is_shown(tmp_path: Path) -> None:
    text = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n    ~^^\nKeyError: 3\n'
    assert _called(_program(tmp_path, f"fail(-32002, {text!r})"), 8.0).message == "KeyError: 3"
    node = (
        'file:///a.mjs:1\nimport "x";\n\nError [ERR_X]: no x\n    at f (a.mjs:1:2) {\n  code: 1\n}\n\nNode.js v20.1.0\n'
    )
    died = _called(_program(tmp_path, f"sys.stderr.write({node!r}); sys.stderr.flush(); os._exit(1)"), 8.0).message
    assert died.endswith("exited with code 1 (Error [ERR_X]: no x)")
    two = _called(_program(tmp_path, "fail(-32002, 'no such kernel\\n  at f (a.js:1)')"), 8.0)
    assert two.message == "no such kernel at f (a.js:1)"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("does", "kind", "words"),
    [
        ("os.killpg(0, signal.SIGKILL)", "died", "SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 3)", "died", "was ended by signal"),
        ("subprocess.Popen(['sleep', '60']); os._exit(9)", "died", "exited with code 9"),
    ],
)
def test_how_a_process_ends_is_said(tmp_path: Path, does: str, kind: str, words: str) -> None:
    found = _called(_program(tmp_path, does), 8.0)
    assert (found.kind, words in found.message) == (kind, True)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_process_that_stops_after_its_answer_blocks_no_request(tmp_path: Path) -> None:
    spec = _program(tmp_path, "reply(RIGHT); os.kill(os.getpid(), signal.SIGSTOP)")
    wide = np.ones((400, 400))
    with closing(ProcessRunner(spec, timeout=TIMEOUT)) as runner:
        runner.build(STRUCTURE)
        runner.call("normal", *NUMBERS)
        with pytest.raises(NoAnswer, match="within 1 s"):
            runner.call("normal", Parameters((wide,)), wide, wide)  # more than a pipe holds


def _ends(stat: Path) -> bool:
    """Whether a process has ended, or does within some seconds: one that is killed may still run for a moment."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if stat.read_text(encoding="utf-8").split()[2] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="processes that leave their group are found on Linux alone")
def test_children_and_daemons_end_with_the_process(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    pid = "str(subprocess.Popen(['sleep', '60'], start_new_session=new).pid) + ' '"
    does = f"for new in (0, 1): open({str(note)!r}, 'a').write({pid})\nreply(RIGHT)"
    with closing(ProcessRunner(_program(tmp_path, does), timeout=5)) as runner:
        runner.build(STRUCTURE)
        runner.call("normal", *NUMBERS)
    pids = note.read_text(encoding="utf-8").split()
    assert len(pids) == 2
    for pid in pids:
        assert _ends(Path(f"/proc/{pid}/stat"))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("command:", "name the program"),
        ("command:'open", "No closing quotation"),
        ("command:no/such/program", "cannot be started (No such file or directory)"),
        (f"command:{sys.executable} -c 'raise SystemExit(4)'", "exited with code 4"),
        (f"command:{sys.executable} -c print(1)", "broke the protocol"),
    ],
)
def test_a_program_that_does_not_start_is_one_line(spec: str, words: str) -> None:
    with pytest.raises(AdapterError) as caught:
        ProcessRunner(spec)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DECLARED['dtypes'] = 'f64'", "dtypes"),
        ("DECLARED['dtypes'] = ['f8']", "unknown 'f8'"),
        ("DECLARED['layout'] = 'sideways'", "known are in_out, out_in"),
        ("DECLARED['limits'] = {'max_structures': 'many'}", "max_structures"),
        ("DECLARED['limits'] = {'max_structures': 0}", "max_structures"),
        ("DECLARED['name'] = 7", "name"),
        ("DECLARED['kinks'] = [['relu', 0, 9]]", "not between its one-sided derivatives"),
    ],
)
def test_a_declaration_that_cannot_be_used_is_one_line(tmp_path: Path, change: str, words: str) -> None:
    spec = _program(tmp_path, "pass")
    path = tmp_path / "program.py"
    text = path.read_text(encoding="utf-8").replace("for line in", f"{change}\nfor line in", 1)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AdapterError) as caught:
        ProcessRunner(spec)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_load_that_failed_is_not_tried_again(tmp_path: Path) -> None:
    flag = tmp_path / "second"
    does = f"open({str(flag)!r}, 'a').write('x'); os._exit(3)"
    spec = _program(tmp_path, does)
    path = tmp_path / "program.py"
    text = path.read_text(encoding="utf-8")
    again = f"if os.path.exists({str(flag)!r}): open({str(flag)!r}, 'a').write('y'); os._exit(5)"
    path.write_text(f"import os\n{again}\n{text}", encoding="utf-8")
    with closing(ProcessRunner(spec, timeout=5)) as runner:
        runner.build(STRUCTURE)
        with pytest.raises(NoAnswer, match="exited with code 3"):
            runner.call("normal", *NUMBERS)
        for _ in range(3):
            with pytest.raises(NoAnswer, match="did not start again"):
                runner.build(STRUCTURE)
    assert flag.read_text(encoding="utf-8") == "xy"


_LIES = """
import numpy as np
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.runners import runner
from dataclasses import replace
class Says(np.ndarray):
    shape = property(lambda self: (2, 3))
    def tobytes(self, *a): return bytes(48)
class Lies(Numpy):
    name = "lies"
    def build(self, structure):
        runner.same_bits = lambda a, b: True
        runner.examined = lambda *a: runner.Answer(None)
        program = super().build(structure)
        return lambda p, x, y: replace(program(p, x, y), outputs=np.full((2, 4), 7.0).view(Says))
"""


def test_replaced_functions_and_lying_arrays_in_the_host_change_no_verdict(tmp_path: Path) -> None:
    path = tmp_path / "lies.py"
    path.write_text(_LIES, encoding="utf-8")
    with closing(ProcessRunner(f"{path}:Lies")) as runner:
        runner.build(STRUCTURE)
        answer = runner.call("normal", *NUMBERS)
    assert answer.observation is None
    assert answer.problems == ("outputs has shape (2, 4); it should be (2, 3)",)


def test_no_mark_is_left_in_this_process() -> None:
    assert "KTERM_HOST" not in os.environ


def test_no_pipe_stays_open_behind_a_program_that_reads_nothing() -> None:
    """A thread still writes to it when it is ended; a garbage collector would find the pipe at any time."""
    opened = Channel([sys.executable, "-c", "import time; time.sleep(60)"], os.environ)
    with pytest.raises(NoAnswer, match=r"no answer within 0\.5 s"):
        opened.ask(b"x" * 2**22 + b"\n", 0.5, 2**20)
    assert opened._writer is not None
    opened._writer.join(5)
    assert opened._process.stdin is not None
    assert opened._process.stdin.closed
