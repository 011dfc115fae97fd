"""The archive of a release, with a placeholder for the compiled function."""

import difflib
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest

from local import package
from local.emulators import CHECKOUT

BOOTSTRAP = b"\x7fELF of the function"


@pytest.fixture(scope="module")
def crates():
    return package.crates("x86_64")


@pytest.fixture
def files(crates):
    return package.contents(CHECKOUT, BOOTSTRAP, "x86_64", crates)


@pytest.fixture
def unpacked(files, tmp_path):
    with zipfile.ZipFile(io.BytesIO(package.archive(files, "1"))) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "pollo-webhook-1"


def test_two_checkouts_in_different_folders_give_the_same_archive(tmp_path, files, crates):
    other = tmp_path / "deeper" / "checkout"
    for name in [*files, "Cargo.toml", "Cargo.lock", "tools/release.mk"]:
        # With other times and modes.
        if (CHECKOUT / name).is_file():
            (other / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CHECKOUT / name, other / name)
            (other / name).chmod(0o700)
            os.utime(other / name, (1, 1))
    lines = "\n".join(reversed(crates.splitlines())).replace(str(CHECKOUT), str(other))
    again = package.contents(other, BOOTSTRAP, "x86_64", lines)
    assert package.archive(again, "1") == package.archive(dict(reversed(files.items())), "1")


def test_the_archive_has_only_tracked_and_generated_files(crates):
    (CHECKOUT / "examples" / "__pycache__").mkdir(exist_ok=True)
    (CHECKOUT / "examples" / "__pycache__" / "left.pyc").touch()
    left = package.contents(CHECKOUT, BOOTSTRAP, "x86_64", crates)
    tracked = subprocess.check_output(["git", "ls-files"], cwd=CHECKOUT, text=True).splitlines()
    assert set(left) - set(tracked) == {"bootstrap.zip", "sbom.cdx.json", "SHA256SUMS"}


def test_all_files_are_in_one_folder_with_fixed_times_and_modes(files):
    with zipfile.ZipFile(io.BytesIO(package.archive(files, "0.2.0"))) as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries] == sorted(f"pollo-webhook-0.2.0/{name}" for name in files)
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.external_attr >> 16 for entry in entries} == {0o100644}
    with zipfile.ZipFile(io.BytesIO(files["bootstrap.zip"])) as function:
        [bootstrap] = function.infolist()
        assert function.read("bootstrap") == BOOTSTRAP
    assert (bootstrap.external_attr >> 16, bootstrap.date_time) == (0o100755, (1980, 1, 1, 0, 0, 0))


def test_the_archive_has_all_docs_examples_and_commands(files):
    for folder in ["docs", "examples", "operate"]:
        paths = [path for path in (CHECKOUT / folder).rglob("*") if path.is_file() and path.suffix != ".pyc"]
        assert {str(path.relative_to(CHECKOUT)) for path in paths} == {
            name for name in files if folder in name.split("/")[0]
        }


def test_the_released_template_differs_only_in_code_uri_and_architecture(files):
    source = (CHECKOUT / "template.yaml").read_text()
    other = ["-      Architectures: [x86_64]", "+      Architectures: [arm64]"]
    for architecture, lines in [("x86_64", []), ("arm64", other)]:
        released = package.template(source, architecture)
        changes = difflib.unified_diff(source.splitlines(), released.splitlines(), lineterm="", n=0)
        assert [change for change in changes if not change.startswith(("---", "+++", "@@"))] == [
            "-      BuildMethod: rust-cargolambda",
            "-      BuildProperties:",
            "-        Binary: pollo-webhook",
            "-      CodeUri: .",
            "+      CodeUri: bootstrap.zip",
            *lines,
        ]
    with pytest.raises(SystemExit, match="template.yaml has this 0 times"):
        package.template(released, "x86_64")


def test_the_checksums_match_and_detect_a_changed_file(files, unpacked):
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=unpacked, check=False).returncode == 0
    assert len((unpacked / "SHA256SUMS").read_text().splitlines()) == len(files) - 1
    (unpacked / "bootstrap.zip").write_bytes(b"something else")
    assert subprocess.run(check, cwd=unpacked, capture_output=True, check=False).returncode == 1


def test_the_bill_of_materials_lists_each_crate_with_hash_and_licence(files):
    bill = json.loads(files["sbom.cdx.json"])
    [function] = bill["metadata"]["component"]["hashes"]
    assert function["content"] == hashlib.sha256(BOOTSTRAP).hexdigest()
    assert not {"serialNumber", "timestamp"} & {*bill, *bill["metadata"]}
    locked = tomllib.loads((CHECKOUT / "Cargo.lock").read_text())["package"]
    known = {(crate["name"], crate["version"], crate.get("checksum")) for crate in locked}
    listed = {(part["name"], part["version"], part["hashes"][0]["content"]) for part in bill["components"]}
    assert listed < known
    assert all(part["licenses"][0]["expression"] for part in bill["components"])
    # The list has no crate that only the tests or the compiler use.
    assert {"aws-sdk-sns", "ring"} < {name for name, *_ in listed}
    assert not {"proptest", "thiserror-impl"} & {name for name, *_ in listed}


def test_every_operators_command_runs_from_the_archive(unpacked):
    [group] = re.findall(r"'Deploy.*?'Maintain'", (CHECKOUT / "Makefile").read_text(), re.DOTALL)
    commands = re.findall(r"'  make (\w+)", group)
    assert len(commands) == 4
    assert f".PHONY: {' '.join(commands)}\n" in (unpacked / "Makefile").read_text()
    for command in commands:
        words, environment = [sys.executable, "-m", f"operate.{command}"], {"PATH": os.environ["PATH"]}
        ran = subprocess.run(words, cwd=unpacked, env=environment, capture_output=True, text=True, check=False)
        assert f"make {command} STACK=pollo-webhook" in ran.stderr


def test_a_missing_rust_target_is_reported_and_not_installed(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(package, "run", lambda *command, **_: asked.append(command[0]) or f"{tmp_path}/missing\n")
    with pytest.raises(SystemExit, match="run `rustup target add aarch64-unknown-linux-gnu` first"):
        package.compiled("arm64")
    assert asked == ["rustc"]
