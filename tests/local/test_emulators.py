"""The processes of a local run and the messages about their end."""

import os
import select
import signal
import subprocess
import sys

import pytest

from local.emulators import CHECKOUT, Emulator, Function, started
from operate.terminal import Failure


def test_the_processes_of_a_killed_run_end_too():
    # The child and the grandchild keep the pipe open. It closes when both have ended.
    end, held = os.pipe()
    code = f"""
from local.emulators import started
with started(["sh", "-c", "sleep 60 & echo started; wait"], print, pass_fds=[{held}]) as (process, _):
    process.wait()
"""
    run = subprocess.Popen([sys.executable, "-uc", code], cwd=CHECKOUT, stdout=subprocess.PIPE, pass_fds=[held])
    os.close(held)
    with run:
        assert run.stdout.readline() == b"started\n"
        assert select.select([end], [], [], 0.1)[0] == []
        run.kill()
    assert select.select([end], [], [], 20)[0] == [end]
    os.close(end)


@pytest.mark.parametrize(
    ("command", "signals", "sentence"),
    [
        ("exec sleep 60", [signal.SIGKILL], "The function was killed by SIGKILL."),
        ("exec sleep 60", [signal.SIGSEGV], "The function was killed by SIGSEGV."),
        ("exit 3", [], "The function has ended with status 3."),
        ("echo why; exit 1", [], "The function has ended with status 1:\nwhy"),
    ],
)
def test_the_error_says_how_the_function_ended(command, signals, sentence):
    with started(["sleep", "60"], print) as (emulating, _):
        function = Function(Emulator("The emulator of Lambda", emulating, 0), {})
        with started(["sh", "-c", command], function.printed) as (function.process, function.reader):
            for number in signals:
                function.process.send_signal(number)
            function.process.wait()
            with pytest.raises(Failure) as raised:
                function.check()
    assert str(raised.value) == sentence
