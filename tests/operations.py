"""Reads the instructions in docs/operations.md, so that tests can follow them."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PAGE = (CHECKOUT / "docs" / "operations.md").read_text()


def section(heading):
    """The text under a heading, up to the next one."""
    return re.split(r"^#+ ", PAGE.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def template_with_http_api(folder=CHECKOUT):
    """The text of the template in a folder, with an HTTP API instead of the function URL."""
    text = (folder / "template.yaml").read_text()
    events, output = re.findall(r"```yaml\n(.*?)```", section("Without a function URL"), re.DOTALL)
    for old, new in [
        ("      FunctionUrlConfig:\n        AuthType: NONE\n", events),
        ("    Value: !GetAtt FunctionUrl.FunctionUrl\n", output),
    ]:
        if text.count(old) != 1:
            raise AssertionError(f"the template has this {text.count(old)} times instead of once: {old}")
        text = text.replace(old, new)
    return text


def settings_with_secrets_manager():
    """The line in samconfig.toml that makes a first deployment read the key from Secrets Manager."""
    [line] = re.findall(r"^    (parameter_overrides = .*)$", section("Who can read the key"), re.MULTILINE)
    return line
