"""The archive of a release, built by the command with a placeholder for the compiler."""

import difflib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile

import pytest

from local import emulators
from local.emulators import CHECKOUT, TOOLS

# `cargo lambda build` takes minutes. This puts the compiled function where it would.
CARGO = f"""#!/bin/sh
[ "$1" = lambda ] || exec {shutil.which("cargo")} "$@"
for folder in x86_64 arm64; do mkdir -p target/package/$folder && cp "$FUNCTION_BINARY" target/package/$folder/bootstrap; done
"""


def packaged(checkout, *architecture):
    """Copies the checkout, with other times and modes and what tools leave behind. Returns the archive of the copy."""
    left = shutil.ignore_patterns(".git", ".tools", "target", "__pycache__", "node_modules", ".ruff_cache")
    shutil.copytree(CHECKOUT, checkout, ignore=left, copy_function=shutil.copyfile)
    for folder in ["examples/cdk/node_modules/x", "examples/subscribers/videos/__pycache__", "examples/.aws-sam/build"]:
        (checkout / folder).mkdir(parents=True)
        (checkout / folder / "left.py").touch()
    programs = checkout / "programs"
    programs.mkdir()
    (programs / "cargo").write_text(CARGO)
    (programs / "cargo").chmod(0o755)
    binary = checkout / "function"
    # The symbols of a debug build are large.
    subprocess.run(["strip", "-o", binary, emulators.binary()], check=True)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "FUNCTION_BINARY": str(binary)}
    command = [sys.executable, "-m", "tools.package", *architecture]
    return checkout / subprocess.check_output(command, cwd=checkout, env=environment, text=True).strip()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return packaged(tmp_path_factory.mktemp("one") / "checkout")


@pytest.fixture(scope="module")
def release(archive, tmp_path_factory):
    """The folder of the unpacked archive."""
    [folder] = {name.split("/")[0] for name in zipfile.ZipFile(archive).namelist()}
    shutil.unpack_archive(archive, folder_of_all := tmp_path_factory.mktemp("release"))
    return folder_of_all / folder


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_two_checkouts_in_different_folders_give_the_same_archive(archive, tmp_path):
    assert packaged(tmp_path / "deeper" / "checkout").read_bytes() == archive.read_bytes()
    entries = zipfile.ZipFile(archive).infolist()
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {stat.filemode(entry.external_attr >> 16) for entry in entries} == {"-rw-r--r--"}


def test_the_archive_has_docs_examples_and_commands_and_nothing_that_tools_have_left(release):
    whole = ["docs", "events", "examples", "local", "operate"]
    expected = {f"{folder}/{name}" for folder in whole for name in files(CHECKOUT / folder)}
    expected = {name for name in expected if not re.search(r"/\.|__pycache__|node_modules", name)}
    found = files(release)
    assert {name for name in found if name.split("/")[0] in whole} == expected
    assert not {name for name in found if name.startswith(("src/", "tests/", "target/"))}


def test_the_released_template_differs_only_in_code_uri(release):
    before, after = [(folder / "template.yaml").read_text().splitlines() for folder in [CHECKOUT, release]]
    changes = [line for line in difflib.unified_diff(before, after, n=0) if not line.startswith(("---", "+++", "@@"))]
    assert changes == [
        *["-    Metadata:", "-      BuildMethod: rust-cargolambda"],
        *["-      BuildProperties:", "-        Binary: pollo-webhook"],
        *["-      CodeUri: .", "+      CodeUri: bootstrap.zip"],
    ]


def test_the_archive_for_arm64_deploys_to_arm64(tmp_path):
    archive = packaged(tmp_path / "checkout", "arm64")
    assert b"\n      Architectures: [arm64]\n" in zipfile.ZipFile(archive).read(f"{archive.stem[:-6]}/template.yaml")


def test_the_checksums_match_every_file(release):
    listed = subprocess.check_output(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=release, text=True)
    assert {line.removesuffix(": OK") for line in listed.splitlines()} == files(release) - {"SHA256SUMS"}


def test_the_bill_of_materials_lists_each_crate_of_the_function_with_hash_and_licence(release):
    listed = {part["name"]: part for part in json.loads((release / "sbom.cdx.json").read_text())["components"]}
    # None that only the tests or the compiler use.
    assert {"aws-sdk-sns", "ring"} < set(listed)
    assert not {"signer", "thiserror-impl"} & set(listed)
    assert all(part["licenses"][0]["expression"] and part["hashes"][0]["content"] for part in listed.values())


def test_make_lists_the_targets_and_runs_the_demo_without_rust(release):
    (release / ".tools").mkdir()
    (release / ".tools" / "emulators").symlink_to(TOOLS.parent)
    environment = {"PATH": f"{TOOLS}:/usr/bin:/bin"}

    listed, demo = [
        subprocess.check_output(command, cwd=release, env=environment, stderr=subprocess.STDOUT, text=True)
        for command in [["make"], ["make", "demo"]]
    ]
    assert all(f"make {name} " in listed for name in ["demo", "local", "smoke", "replay", "reconcile", "listen"])
    assert "All as expected" in demo
