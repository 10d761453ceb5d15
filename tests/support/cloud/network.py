"""The resource types of a network of which moto's own leave things out: a VPC's DNS, the rules of security groups,
a subnet's routes."""

from typing import Any, ClassVar

from tests.support.cloud.api import Api, Parameters
from tests.support.cloud.resource import Resource

_ANYWHERE = {"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}
_DNS = ("EnableDnsSupport", "EnableDnsHostnames")


class Vpc(Resource):
    """A VPC, which can resolve names and give them if the template says so."""

    type = "AWS::EC2::VPC"

    def create(self) -> None:
        """Make it, then set its attributes."""
        given = {key: value for key, value in self.properties.items() if key not in (*_DNS, "Tags")}
        self.physical_resource_id = self.api.call("ec2", "CreateVpc", **given)["Vpc"]["VpcId"]
        self._set_attributes()

    def update(self, before: Parameters) -> None:
        """Its attributes may change."""
        self._set_attributes()

    def remove(self) -> None:
        """Delete it."""
        self.api.call("ec2", "DeleteVpc", VpcId=self.physical_resource_id)

    def attribute(self, name: str) -> Any:
        """Its id and its addresses."""
        return {"VpcId": self.physical_resource_id, "CidrBlock": self.properties["CidrBlock"]}[name]

    def _set_attributes(self) -> None:
        for name in _DNS:
            if name in self.properties:
                value = {name: {"Value": self.properties[name]}}
                self.api.call("ec2", "ModifyVpcAttribute", VpcId=self.physical_resource_id, **value)
        _tag(self)


class SecurityGroup(Resource):
    """A group with the rules that stand in it. Without any for the way out, AWS lets everything out."""

    type = "AWS::EC2::SecurityGroup"
    name_property = "GroupName"

    def create(self) -> None:
        """Make it, then its rules in place of AWS's own."""
        made = self.api.call(
            "ec2",
            "CreateSecurityGroup",
            GroupName=self.name,
            Description=self.properties["GroupDescription"],
            VpcId=self.properties["VpcId"],
        )
        self.physical_resource_id = made["GroupId"]
        if self._rules(self.properties, "Egress"):
            self._change("Revoke", "Egress", [_ANYWHERE])
        self._replace_rules({})
        _tag(self)

    def update(self, before: Parameters) -> None:
        """Its rules may change. Raises `ValueError` where AWS's own rule would come back."""
        if self._rules(before, "Egress") and not self._rules(self.properties, "Egress"):
            raise ValueError("a security group whose last way out is taken away is not handled here")
        self._replace_rules(before)
        _tag(self)

    def remove(self) -> None:
        """Delete it."""
        self.api.call("ec2", "DeleteSecurityGroup", GroupId=self.physical_resource_id)

    def attribute(self, name: str) -> Any:
        """Its id and its VPC's."""
        return {"GroupId": self.physical_resource_id, "VpcId": self.properties["VpcId"]}[name]

    def _replace_rules(self, before: Parameters) -> None:
        for way in ("Ingress", "Egress"):
            old, new = self._rules(before, way), self._rules(self.properties, way)
            self._change("Revoke", way, [rule for rule in old if rule not in new])
            self._change("Authorize", way, [rule for rule in new if rule not in old])

    def _change(self, verb: str, way: str, rules: list[Parameters]) -> None:
        for rule in rules:
            _change_rule(self.api, verb, way, self.physical_resource_id, rule)

    @staticmethod
    def _rules(properties: Parameters, way: str) -> list[Parameters]:
        return list(properties.get(f"SecurityGroup{way}", []))


class _SecurityGroupRule(Resource):
    """One rule of a security group, apart from the group."""

    way: ClassVar[str]

    def create(self) -> None:
        """Authorize it."""
        self._change("Authorize")

    def remove(self) -> None:
        """Revoke it."""
        self._change("Revoke")

    def _change(self, verb: str) -> None:
        rule = dict(self.properties)
        _change_rule(self.api, verb, self.way, rule.pop("GroupId"), rule)


class SecurityGroupIngress(_SecurityGroupRule):
    """Who may come in."""

    type = "AWS::EC2::SecurityGroupIngress"
    way = "Ingress"


class SecurityGroupEgress(_SecurityGroupRule):
    """Where one may go. The first one of a group takes the place of AWS's own rule, which lets everything out."""

    type = "AWS::EC2::SecurityGroupEgress"
    way = "Egress"

    def create(self) -> None:
        """Authorize it alone."""
        super().create()
        group = self.properties["GroupId"]
        rules = self.api.call("ec2", "DescribeSecurityGroups", GroupIds=[group])["SecurityGroups"][0]
        if any(rule["IpRanges"] == [{"CidrIp": _ANYWHERE["CidrIp"]}] for rule in rules["IpPermissionsEgress"]):
            _change_rule(self.api, "Revoke", self.way, group, _ANYWHERE)


class RouteTable(Resource):
    """The routes of subnets; moto's own is never deleted, and then its VPC can't be."""

    type = "AWS::EC2::RouteTable"

    def create(self) -> None:
        """Make it."""
        made = self.api.call("ec2", "CreateRouteTable", VpcId=self.properties["VpcId"])
        self.physical_resource_id = made["RouteTable"]["RouteTableId"]
        _tag(self)

    def update(self, before: Parameters) -> None:
        """Its tags may change."""
        _tag(self)

    def remove(self) -> None:
        """Delete it."""
        self.api.call("ec2", "DeleteRouteTable", RouteTableId=self.physical_resource_id)

    def attribute(self, name: str) -> Any:
        """Its id."""
        return {"RouteTableId": self.physical_resource_id}[name]


class SubnetRouteTableAssociation(Resource):
    """Which routes a subnet has."""

    type = "AWS::EC2::SubnetRouteTableAssociation"

    def create(self) -> None:
        """Associate them."""
        self.physical_resource_id = self.api.call("ec2", "AssociateRouteTable", **self.properties)["AssociationId"]

    def remove(self) -> None:
        """Undo it."""
        self.api.call("ec2", "DisassociateRouteTable", AssociationId=self.physical_resource_id)


def _change_rule(api: Api, verb: str, way: str, group: str, properties: Parameters) -> None:
    """Authorize or revoke a rule that is written as templates do."""
    rule = dict(properties)
    described = {"Description": rule.pop("Description")} if "Description" in rule else {}
    if "CidrIp" in rule:
        rule["IpRanges"] = [{"CidrIp": rule.pop("CidrIp")} | described]
    peer = "SourceSecurityGroupId" if way == "Ingress" else "DestinationSecurityGroupId"
    if peer in rule:
        rule["UserIdGroupPairs"] = [{"GroupId": rule.pop(peer)} | described]
    if "DestinationPrefixListId" in rule:
        rule["PrefixListIds"] = [{"PrefixListId": rule.pop("DestinationPrefixListId")} | described]
    api.call("ec2", f"{verb}SecurityGroup{way}", GroupId=group, IpPermissions=[rule])


def _tag(resource: Resource) -> None:
    if tags := resource.properties.get("Tags"):
        resource.api.call("ec2", "CreateTags", Resources=[resource.physical_resource_id], Tags=tags)


RESOURCES = (Vpc, SecurityGroup, SecurityGroupIngress, SecurityGroupEgress, RouteTable, SubnetRouteTableAssociation)
