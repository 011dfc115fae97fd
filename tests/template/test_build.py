"""`sam build`, with a fake compiler that reports another host and only records its arguments."""

import os
import re
import shutil
import subprocess

import pytest

from tests.template.translation import CHECKOUT, MAIN, SAM

pytestmark = pytest.mark.template


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("host", ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin"])
@pytest.mark.parametrize(
    ("architecture", "target"), [("x86_64", "x86_64-unknown-linux-gnu"), ("arm64", "aarch64-unknown-linux-gnu")]
)
def test_every_host_compiles_for_the_architecture_of_the_template(tmp_path, host, architecture, target):
    cargo, rustc = [shutil.which(name) for name in ["cargo", "rustc"]]
    asked = tmp_path / "asked"
    asked.touch()
    program(tmp_path / "rustc", f"'{rustc}' \"$@\" | sed 's/^host: .*/host: {host}/'")
    program(
        tmp_path / "cargo",
        f"""case $1 in
          metadata) exec '{cargo}' "$@";;
          lambda) exec '{SAM.parent}/cargo-lambda' "$@";;
          build) echo "$@" >'{asked}'; exit 1;;
        esac""",
    )
    template = tmp_path / "template.yaml"
    text = MAIN.read_text().replace("CodeUri: .", f"CodeUri: {CHECKOUT}")
    # Not a parameter, because `sam build` and `sam deploy` could get different values.
    text, edits = re.subn(r"(?<=Architectures: )\[(x86_64|arm64)\]", f"[{architecture}]", text)
    assert edits == 1
    template.write_text(text)
    command = [SAM, "build", "-t", template, "--build-dir", tmp_path / "built", "--cache-dir", tmp_path]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(tmp_path), str(SAM.parent), os.environ["PATH"]]),
        # Prevents the installation of missing targets.
        "RUSTUP": "no-rustup",
    }
    built = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=CHECKOUT, check=False)
    assert re.findall(r"--target (\S+)", asked.read_text()) == [target], built.stderr
