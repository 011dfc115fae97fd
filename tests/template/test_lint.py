"""Checks the templates with SAM, cfn-lint and checkov."""

import copy
import json
import subprocess
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.template.translation import CHECKOUT, MAIN, SAM, SUBSCRIBERS, findings, name_of, of_type, translated

pytestmark = pytest.mark.template

CHECKOV = CHECKOUT / ".tools" / "checkov" / "bin" / "checkov"
TEMPLATES = [MAIN, *SUBSCRIBERS]
each_template = pytest.mark.parametrize("path", TEMPLATES, ids=name_of)


@each_template
def test_sam_accepts_each_template(path):
    validated = subprocess.run([SAM, "validate", "-t", path], capture_output=True, text=True, cwd=CHECKOUT, check=False)
    assert validated.returncode == 0, validated.stdout + validated.stderr


@each_template
def test_a_translated_template_has_no_findings(path):
    assert findings(translated(path)) == []


@pytest.mark.parametrize(
    ("resource", "key", "value"),
    [
        ("Role", "RoleName", {"Ref": "Nothing"}),
        ("Function", "Role", {"Fn::GetAtt": ["Role", "Nothing"]}),
        ("Function", "Runtime", "rust1.x"),
        ("LogGroup", "Retention", 1),
        ("Dashboard", "DashboardBody", {"Fn::Sub": '{"widgets": ["${Nothing.Arn}"]}'}),
    ],
)
def test_a_broken_template_has_findings(template, resource, key, value):
    broken = copy.deepcopy(template)
    broken["Resources"][resource]["Properties"][key] = value
    assert findings(broken) != []


def test_checkov_finds_only_what_the_templates_skip_with_a_reason(tmp_path):
    # SAM creates this resource without Metadata. Pollo cannot sign requests for AWS, so the URL must be public.
    skipped = [("CKV_AWS_258", "template: FunctionUrl")]
    for path in TEMPLATES:
        for name, resource in yaml_parse(path.read_text())["Resources"].items():
            for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", []):
                assert skip["comment"]
                skipped.append((skip["id"], f"{name_of(path)}: {name}"))
        template = copy.deepcopy(translated(path))
        for resource in template["Resources"].values():
            resource.pop("Metadata", None)
        (tmp_path / f"{name_of(path)}.json").write_text(json.dumps(template))
    command = [CHECKOV, "-d", tmp_path, "--framework", "cloudformation", "--skip-download", "--quiet", "-o", "json"]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    assert report["summary"]["parsing_errors"] == 0
    found = [
        (check["check_id"], f"{Path(check['file_path']).stem}: {check['resource'].rpartition('.')[2]}")
        for check in report["results"]["failed_checks"]
    ]
    assert sorted(found) == sorted(skipped)


def test_queues_are_encrypted_and_keep_messages_for_14_days(subscriber):
    for queue in of_type(subscriber, "AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] is True
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
