# SPDX-License-Identifier: Apache-2.0
"""How programs end: interrupted at any moment, killed, started once more."""

import errno
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from zipvoice.cli import main
from zipvoice.data import workers
from zipvoice.files import whole_file


@pytest.mark.parametrize("seconds", [0.15, 0.4, 0.9])
def test_an_interrupt_is_130_and_one_line_at_any_moment(seconds, tmp_path):
    """While Python starts nothing of ours runs yet; from our first line on there is no traceback."""
    code = "import runpy, sys; sys.stdout.write('up'); sys.stdout.flush(); sys.argv = ['zipvoice', 'say', 'x' * 900];"
    code += " runpy.run_module('zipvoice', run_name='__main__')"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    process.stdout.read(2)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors and process.returncode == 130, errors
    assert errors.strip().splitlines()[-1] == "interrupted"


def test_an_interrupt_while_the_program_ends_is_one_line(tmp_path):
    code = (
        "import zipvoice.cli, os, signal, sys\n"
        "zipvoice.cli.main = lambda: 0\n"
        "from zipvoice.__main__ import main\n"
        "import atexit; atexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


HIDDEN = {
    "in an import, which ends first": ("import struck", "imported\n"),
    "hidden by a library": (
        """
        try: strike(); time.sleep(1)
        except BaseException: print("hidden")
        time.sleep(60)""",
        "hidden\n",
    ),
    "made another error of": (
        """
        try: strike(); time.sleep(1)
        except BaseException: raise ValueError("something else")""",
        "",
    ),
    "while things are cleaned up, and errors handled": (
        """
        try: strike(); time.sleep(1)
        finally:
            try: raise OSError
            except OSError: time.sleep(0.5)
            time.sleep(0.5)
            print("cleaned up")""",
        "cleaned up\n",
    ),
    "twice": (
        """
        try: strike(); time.sleep(1)
        finally: strike(); print("cleaned up")""",
        "",
    ),
}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="has no timers")
@pytest.mark.parametrize("case", HIDDEN)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_no_library_hides_a_signal_that_ends(number, case, tmp_path):
    """While libraries were imported an interrupt was lost, told as a package that is not installed, or crashed."""
    body, printed = HIDDEN[case]
    (tmp_path / "struck.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\nprint('imported')\n")
    usual = "default_int_handler" if number == signal.SIGINT else "SIG_DFL"
    code = (
        "import os, signal, sys, time, zipvoice.cli\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        f"signal.signal({int(number)}, signal.{usual})\n"
        f"def strike():\n    os.kill(os.getpid(), {int(number)})\n"
        f"def run():\n{textwrap.indent(textwrap.dedent(body), '    ')}\n    time.sleep(60)\n"
        "def told():\n"  # as the command line does
        "    try:\n        return run()\n"
        "    except ValueError:\n        return 1\n"
        "zipvoice.cli.main = told\n"
        "from zipvoice.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50)
    errors = "interrupted\n" if number == signal.SIGINT else ""
    assert (done.returncode, done.stderr) == (128 + number, errors)
    assert done.stdout == printed


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="has no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_what_is_half_written_is_taken_away_by_a_signal_that_ends(number, tmp_path):
    code = (
        "import signal, sys, time, zipvoice.cli\n"
        f"signal.signal({int(number)}, signal.SIG_DFL)\n"  # under nohup it is ignored, and stays so
        "from zipvoice.files import whole_file\n"
        "def run():\n"
        "    with whole_file('out.wav'):\n"
        "        print(flush=True)\n"
        "        time.sleep(60)\n"
        "zipvoice.cli.main = run\n"
        "from zipvoice.__main__ import main\n"
        "main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=tmp_path)
    process.stdout.readline()
    assert len(list(tmp_path.iterdir())) == 1
    process.send_signal(number)
    process.communicate(timeout=60)
    assert (process.returncode, list(tmp_path.iterdir())) == (128 + number, [])


CLOSED = {
    "--version >&-": (1, "zipvoice: standard output: Bad file descriptor\n"),
    "tokenize hi >&-": (1, "zipvoice: standard output: Bad file descriptor\n"),
    "--help >/dev/full": (1, "zipvoice: standard output: No space left on device\n"),
    "tokenize --help >/dev/full": (1, "zipvoice: cannot write the output: No space left on device\n"),
    "tokenize hi >/dev/full": (1, "zipvoice: standard output: No space left on device\n"),
    "say - <&-": (1, "zipvoice: the text has nothing that can be spoken; give at least one word\n"),
    "tokenize hi <&- 2>&-": (0, ""),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
@pytest.mark.parametrize("line", CLOSED)
def test_streams_that_are_closed_or_full_are_no_traceback(line, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = f"exec {shlex.quote(sys.executable)} -m zipvoice {line}"
    done = subprocess.run(
        ["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path, env=environment
    )
    assert (done.returncode, done.stderr) == CLOSED[line]


def sleeping(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def with_workers(folder):
    with workers.worker_map(2) as mapped:
        list(mapped(sleeping, [f"{folder}/a", f"{folder}/b"]))


def is_running(process_id):
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path, monkeypatch, number):
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    code += f"import test_endings\nif __name__ == '__main__':\n    test_endings.with_workers({str(tmp_path)!r})\n"
    (tmp_path / "main.py").write_text(code)
    process = subprocess.Popen([sys.executable, str(tmp_path / "main.py")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "a").exists() or not (tmp_path / "a").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker = int((tmp_path / "a").read_text())
    assert is_running(worker)
    process.send_signal(number)
    process.wait(timeout=20)
    while is_running(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("command", ["train", "finetune", "train-vocoder", "diagnose"])
def test_threads_that_wait_leave_busy_cores_to_others(monkeypatch, command):
    """With two threads on two cores that others use as well, training was many times slower than with one."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "")
    monkeypatch.delenv("OMP_WAIT_POLICY")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_a_full_disk_is_named_with_the_file(tmp_path):
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/a\.wav'"), whole_file(tmp_path / "a.wav"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_with_other_options_says_so_and_a_changed_field_is_named(tmp_path):
    from corpus_runs import make_corpus, run_config

    from zipvoice.training.run import train

    make_corpus(tmp_path / "corpus")
    config = run_config(tmp_path / "corpus", tmp_path / "run", num_steps=2)
    train(config)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.[sj]*")}
    train(config)  # nothing is left to do, and nothing changes
    other = replace(config, seed=config.seed + 1, optim=replace(config.optim, base_lr=0.5))
    with pytest.raises(ValueError, match=r"finished after 2 steps, .*seed was .*optim was .*'base_lr': .* nothing is"):
        train(other)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.[sj]*")} == before
    wider = replace(config, model=replace(config.model, text_encoder_dim=20))
    with pytest.raises(ValueError, match=r"model was \{'text_encoder_dim': \d+\}, is \{'text_encoder_dim': 20\}"):
        train(wider)
