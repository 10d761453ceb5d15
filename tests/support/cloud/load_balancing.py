"""The resource types of Elastic Load Balancing, with the attributes that moto's own leave out.

Targets are always healthy in moto, and no byte passes a load balancer.
"""

from typing import Any, ClassVar

from tests.support.cloud.api import Parameters
from tests.support.cloud.resource import Resource, fixed_properties


class _Balancing(Resource):
    """What these types share: they are known by ARN, and their attributes have an operation of their own."""

    noun: ClassVar[str]
    attributes_property: ClassVar[str]

    def create(self) -> None:
        """Make it, then set its attributes."""
        made = self._call(f"Create{self.noun}", **self._creation())[f"{self.noun}s"][0]
        self.physical_resource_id = made[f"{self.noun}Arn"]
        self._set_attributes()

    def update(self, before: Parameters) -> None:
        """Change it in place, with its attributes."""
        self._call(f"Modify{self.noun}", **self._own(), **self._modification())
        self._set_attributes()

    def remove(self) -> None:
        """Delete it."""
        self._call(f"Delete{self.noun}", **self._own())

    def _creation(self) -> Parameters:
        return {key: value for key, value in self.properties.items() if key != self.attributes_property}

    def _modification(self) -> Parameters:
        return {
            key: value for key, value in self._creation().items() if key not in fixed_properties(self.type) | {"Tags"}
        }

    def _set_attributes(self) -> None:
        if attributes := self.properties.get(self.attributes_property):
            self._call(f"Modify{self.noun}Attributes", **self._own(), Attributes=attributes)

    def _own(self) -> Parameters:
        return {f"{self.noun}Arn": self.physical_resource_id}

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return self.api.call("elbv2", operation, **parameters)


class LoadBalancer(_Balancing):
    """AWS lets only subnets, security groups and attributes change."""

    type = "AWS::ElasticLoadBalancingV2::LoadBalancer"
    name_property = "Name"
    noun = "LoadBalancer"
    attributes_property = "LoadBalancerAttributes"

    def _creation(self) -> Parameters:
        return super()._creation() | {"Name": self.name}

    def update(self, before: Parameters) -> None:
        """Change what may change."""
        if subnets := self.properties.get("Subnets"):
            self._call("SetSubnets", **self._own(), Subnets=subnets)
        if groups := self.properties.get("SecurityGroups"):
            self._call("SetSecurityGroups", **self._own(), SecurityGroups=groups)
        self._set_attributes()

    def attribute(self, name: str) -> Any:
        """Its names: for DNS, for Route 53 and for CloudWatch's dimensions."""
        found = self._call("DescribeLoadBalancers", LoadBalancerArns=[self.physical_resource_id])["LoadBalancers"][0]
        return {
            "DNSName": found["DNSName"],
            "CanonicalHostedZoneID": "Z26RNL4JYFTOTI",
            "LoadBalancerArn": self.physical_resource_id,
            "LoadBalancerFullName": self.physical_resource_id.split("loadbalancer/")[1],
            "LoadBalancerName": self.name,
            "SecurityGroups": found.get("SecurityGroups", []),
        }[name]


class TargetGroup(_Balancing):
    """Where a listener sends to."""

    type = "AWS::ElasticLoadBalancingV2::TargetGroup"
    name_property = "Name"
    noun = "TargetGroup"
    attributes_property = "TargetGroupAttributes"

    def _creation(self) -> Parameters:
        return super()._creation() | {"Name": self.name}

    def attribute(self, name: str) -> Any:
        """Its names, for CloudWatch's dimensions too."""
        found = self._call("DescribeTargetGroups", TargetGroupArns=[self.physical_resource_id])["TargetGroups"][0]
        return {
            "LoadBalancerArns": found["LoadBalancerArns"],
            "TargetGroupArn": self.physical_resource_id,
            "TargetGroupFullName": self.physical_resource_id.split(":")[-1],
            "TargetGroupName": self.name,
        }[name]


class Listener(_Balancing):
    """A port of a load balancer."""

    type = "AWS::ElasticLoadBalancingV2::Listener"
    noun = "Listener"
    attributes_property = "ListenerAttributes"

    def update(self, before: Parameters) -> None:
        """Change it, or make it anew. Raises `ValueError` for another protocol: moto takes no TLS there."""
        if before["Protocol"] != self.properties["Protocol"]:
            raise ValueError("another protocol of a listener is not handled here")
        certificates = self.properties.get("Certificates", [])
        if before.get("Certificates", []) == certificates:
            return super().update(before)
        for certificate in certificates:  # moto keeps those that a TLS listener has, and asks for none
            self.api.call("acm", "DescribeCertificate", **certificate)
        self.remove()
        return self.create()

    def _modification(self) -> Parameters:
        return {key: value for key, value in super()._modification().items() if key != "Protocol"}

    def _set_attributes(self) -> None:
        keys = {attribute["Key"] for attribute in self.properties.get(self.attributes_property, [])}
        if "tcp.idle_timeout.seconds" in keys and self.properties["Protocol"] != "TCP":
            raise ValueError("tcp.idle_timeout.seconds is only for TCP listeners; that of TLS is fixed")
        super()._set_attributes()

    def attribute(self, name: str) -> Any:
        """Its ARN."""
        return {"ListenerArn": self.physical_resource_id}[name]


RESOURCES = (LoadBalancer, TargetGroup, Listener)
