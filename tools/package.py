"""Builds the archive of a release: `make package`, or `python3 -m tools.package arm64` with cargo-lambda on the PATH.

The archive has everything that a deployment needs: the compiled function, the template that deploys it, the operator's
commands and the documentation. The same sources and compiler give the same bytes, because the archive has no times, no
file order and no modes of this machine.
"""

import hashlib
import io
import json
import re
import signal
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = CHECKOUT / "target" / "package"
TARGETS = {"x86_64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}

# Copied from the checkout. The archive also has a Makefile, and generated files.
FILES = [
    *["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "SECURITY.md", "outcome.schema.json"],
    *["samconfig.toml", "docs/*", "events/*", "examples/**/*", "local/*.py", "operate/*.py"],
    *["tools/emulators.txt", "tools/operate.txt", "tools/install.py"],
]


def main():
    architecture = sys.argv[1] if len(sys.argv) > 1 else "x86_64"
    if architecture not in TARGETS:
        sys.exit(f"{architecture} is not an architecture of Lambda; expected {' or '.join(TARGETS)}")
    folder = "pollo-webhook-" + tomllib.loads((CHECKOUT / "Cargo.toml").read_text())["package"]["version"]
    path, files = PACKAGES / f"{folder}-{architecture}.zip", contents(compiled(architecture), architecture)
    path.write_bytes(zipped({f"{folder}/{name}": data for name, data in files.items()}))
    (PACKAGES / "SHA256SUMS").write_text(sums({path.name: path.read_bytes()}))
    print(path.relative_to(CHECKOUT))


def compiled(architecture):
    """The function, compiled with the same command as in `sam build`."""
    folder = PACKAGES / architecture
    # Without the check, cargo-lambda does not install a missing target of Rust without asking.
    options = ["--release", "--locked", "--skip-target-check", *(["--arm64"] if architecture == "arm64" else [])]
    run("cargo", "lambda", "build", *options, "--lambda-dir", folder, "--flatten", "pollo-webhook", stdout=None)
    return (folder / "bootstrap").read_bytes()


def run(*command, stdout=subprocess.PIPE):
    try:
        return subprocess.run(command, cwd=CHECKOUT, stdout=stdout, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))


def contents(bootstrap, architecture):
    """The files of the archive: names and contents."""
    paths = [path for pattern in FILES for path in CHECKOUT.glob(pattern) if path.is_file()]
    paths = [path.relative_to(CHECKOUT) for path in paths]
    # Without what tools write into the examples, such as node_modules, __pycache__, .aws-sam and .terraform.
    paths = [path for path in paths if not re.search(r"(^|/)(\.|__pycache__/|node_modules/)", path.as_posix())]
    files = {path.as_posix(): (CHECKOUT / path).read_bytes() for path in paths}
    files["Makefile"] = (CHECKOUT / "tools" / "release.mk").read_bytes()
    files["bootstrap.zip"] = zipped({"bootstrap": bootstrap}, mode=0o755)
    files["template.yaml"] = template((CHECKOUT / "template.yaml").read_text(), architecture).encode()
    files["sbom.cdx.json"] = materials(bootstrap, architecture).encode()
    return {**files, "SHA256SUMS": sums(files).encode()}


def template(text, architecture):
    """The template, which deploys the compiled function instead of building it."""
    for old, new in [
        (r"    Metadata:\n      BuildMethod: .*\n      BuildProperties:\n        Binary: .*\n", ""),
        (r"CodeUri: \.\n", "CodeUri: bootstrap.zip\n"),
        (r"Architectures: \[\w+\]\n", f"Architectures: [{architecture}]\n"),
    ]:
        text, found = re.subn(old, new, text)
        if found != 1:
            sys.exit(f"template.yaml has this {found} times; expected once: {old}")
    return text


def materials(bootstrap, architecture):
    """The bill of materials, in CycloneDX format: the crates that are compiled into the function."""
    options = ["--edges", "normal,no-proc-macro", "--prefix", "none", "--no-dedupe", "--format", "{p}|{l}"]
    crates = run("cargo", "tree", "--locked", "--target", TARGETS[architecture], *options)
    locked = tomllib.loads((CHECKOUT / "Cargo.lock").read_text())["package"]
    checksums = {(crate["name"], crate["version"]): crate.get("checksum") for crate in locked}
    components = []
    for line in sorted(set(crates.splitlines())):
        name, number, licence = re.fullmatch(r"(\S+) v(\S+)[^|]*\|(.*)", line).groups()
        component = {"type": "library", "name": name, "version": number, "purl": f"pkg:cargo/{name}@{number}"}
        component["licenses"] = [{"expression": licence.replace("/", " OR ")}]
        component["hashes"] = [{"alg": "SHA-256", "content": checksums[name, number]}]
        if name == "pollo-webhook":
            function = component
        else:
            components.append(component)
    function["type"] = "application"
    function["hashes"] = [{"alg": "SHA-256", "content": hashlib.sha256(bootstrap).hexdigest()}]
    # Without the optional serial number and time, which would make each build different.
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": function}}
    return json.dumps({**bill, "components": components}, indent=1) + "\n"


def sums(files):
    """The checksums, in the format of sha256sum."""
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))


def zipped(files, mode=0o644):
    """A zip archive of files: names and contents."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in sorted(files.items()):
            # The default time is 1980, the earliest time of the format.
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.compress_type = 3, zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


if __name__ == "__main__":
    # Lets Ctrl-C end the command without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    main()
