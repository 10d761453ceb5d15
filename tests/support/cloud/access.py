"""The resource types of IAM, of which moto's own forget the managed policies. No right is asked for here."""

import json
from typing import Any

from tests.support.cloud.api import Parameters
from tests.support.cloud.resource import Resource

_APART = ("AssumeRolePolicyDocument", "ManagedPolicyArns", "Policies")


class Role(Resource):
    """A role, with the policies that stand in it and those that it names."""

    type = "AWS::IAM::Role"
    name_property = "RoleName"

    def create(self) -> None:
        """Make it, then give it its policies."""
        parameters = {key: value for key, value in self.properties.items() if key not in _APART}
        trust = json.dumps(self.properties["AssumeRolePolicyDocument"])
        self._call("CreateRole", **parameters | {"RoleName": self.name, "AssumeRolePolicyDocument": trust})
        self._put_policies()

    def update(self, before: Parameters) -> None:
        """Whom it trusts and its policies may change."""
        trust = json.dumps(self.properties["AssumeRolePolicyDocument"])
        self._call("UpdateAssumeRolePolicy", RoleName=self.name, PolicyDocument=trust)
        for arn in set(before.get("ManagedPolicyArns", [])) - set(self.properties.get("ManagedPolicyArns", [])):
            self._call("DetachRolePolicy", RoleName=self.name, PolicyArn=arn)
        for name in _names(before) - _names(self.properties):
            self._call("DeleteRolePolicy", RoleName=self.name, PolicyName=name)
        self._put_policies()

    def remove(self) -> None:
        """Its policies first, or AWS refuses."""
        for arn in self.properties.get("ManagedPolicyArns", []):
            self._call("DetachRolePolicy", RoleName=self.name, PolicyArn=arn)
        for name in _names(self.properties):
            self._call("DeleteRolePolicy", RoleName=self.name, PolicyName=name)
        self._call("DeleteRole", RoleName=self.name)

    def attribute(self, name: str) -> Any:
        """Its ARN and its id."""
        return {key: self._call("GetRole", RoleName=self.name)["Role"][key] for key in ("Arn", "RoleId")}[name]

    def _put_policies(self) -> None:
        for arn in self.properties.get("ManagedPolicyArns", []):
            self._call("AttachRolePolicy", RoleName=self.name, PolicyArn=arn)
        for policy in self.properties.get("Policies", []):
            document = json.dumps(policy["PolicyDocument"])
            self._call("PutRolePolicy", RoleName=self.name, PolicyName=policy["PolicyName"], PolicyDocument=document)

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return self.api.call("iam", operation, **parameters)


class Policy(Resource):
    """A policy that is put into roles. Those of users and groups raise `KeyError`."""

    type = "AWS::IAM::Policy"
    name_property = "PolicyName"

    def create(self) -> None:
        """Put it into each of its roles."""
        document = json.dumps(self.properties["PolicyDocument"])
        for role in self.properties["Roles"]:
            self.api.call("iam", "PutRolePolicy", RoleName=role, PolicyName=self.name, PolicyDocument=document)

    def update(self, before: Parameters) -> None:
        """Put it again; roles that the template no longer names lose it."""
        self._delete_from(set(before["Roles"]) - set(self.properties["Roles"]))
        self.create()

    def remove(self) -> None:
        """Take it out of its roles."""
        self._delete_from(set(self.properties["Roles"]))

    def _delete_from(self, roles: set[str]) -> None:
        for role in roles:
            self.api.call("iam", "DeleteRolePolicy", RoleName=role, PolicyName=self.name)


def _names(properties: Parameters) -> set[str]:
    return {policy["PolicyName"] for policy in properties.get("Policies", [])}


RESOURCES = (Role, Policy)
