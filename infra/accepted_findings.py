"""What checkers of templates find and we accept, each with its reason.

cdk-nag is told beside the construct that it finds fault with (`accept`); cfn-lint and checkov by the tables here, which
`tests/cloud/test_static_checks.py` reads. Whatever else they find is an error.
"""

import json
from typing import Any

from aws_cdk import Acknowledgment, Stack, Validations
from constructs import IConstruct

CFN_LINT = {
    "W3010": "Zones are named by whoever deploys: which of them have GPUs, CloudFormation does not know.",
}

CHECKOV = {
    "CKV_AWS_18": "The bucket that access logs go to keeps none of itself; the other one does.",
    "CKV_AWS_21": "Access logs are written once and expire; the models' bucket has versions.",
    "CKV_AWS_26": "Alarms hold no secret, and SNS with AWS's own key takes none from CloudWatch.",
    "CKV_AWS_111": "Sessions of SSM: its channels are no resources, and AWS's guide of a role of one's own has it so.",
    "CKV_AWS_149": "Encrypted with AWS's own key; who may read the secret is said by its node role alone.",
    "CKV_AWS_158": "Encrypted with AWS's own key; logs hold neither audio nor words nor keys.",
}


def accept(construct: IConstruct, rule: str, reason: str) -> None:
    """Tell cdk-nag that a finding of `rule` (as it prints it) is accepted of `construct` and what is in it."""
    Validations.of(construct).acknowledge(Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=reason))


def accept_wildcard(construct: IConstruct, resource: str, reason: str) -> None:
    """The same of a statement of `construct` for a `resource` with an asterisk in it."""
    accept(construct, f"IAM5[Resource::{_as_printed(Stack.of(construct).resolve(resource))}]", reason)


def _as_printed(resolved: Any) -> str:
    """As cdk-nag writes what is known only at deployment: `<Bucket.Arn>/models/*`."""
    match resolved:
        case str():
            return resolved
        case {"Fn::Join": ["", parts]}:
            return "".join(map(_as_printed, parts))
        case {"Fn::GetStackOutput": _}:
            return json.dumps(resolved, separators=(",", ":"))
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
    raise TypeError(f"no way is known to print {resolved!r}")
