"""What every resource type that this project adds to moto's CloudFormation is made of: calls to the cloud's own API."""

from typing import Any, ClassVar, Self

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]  # it brings no types
from moto.cloudformation.exceptions import ValidationError

from tests.support.cloud.api import Api, Parameters


class Resource:
    """A resource of a stack that is made, changed and unmade by API operations.

    A subclass gives the type and the operations. A property that AWS cannot change in place, by the type's published
    schema, makes a new resource when it changes, and then the old one is removed.
    """

    type: ClassVar[str]
    name_property: ClassVar[str] = ""

    def __init__(self, name: str, properties: Parameters, account: str, region: str) -> None:
        self.api = Api(region)
        self.account, self.region = account, region
        self.name: str = properties.get(self.name_property, name)
        self.properties = properties
        self.physical_resource_id = self.name  # what Ref gives

    def create(self) -> None:
        """Make it. Sets `physical_resource_id` where that is not the name."""
        raise NotImplementedError

    def update(self, before: Parameters) -> None:
        """Make it as `properties` now say. Where the operation is a Put, that is the same as making it."""
        self.create()

    def remove(self) -> None:
        """Unmake it."""

    def attribute(self, name: str) -> Any:
        """What GetAtt gives. Raises `KeyError` for one that there is not."""
        raise KeyError(name)

    def get_cfn_attribute(self, name: str) -> Any:
        """moto's name of `attribute`."""
        try:
            return self.attribute(name)
        except KeyError:
            raise ValidationError(message=f"{self.type}: no attribute {name} in the test's cloud") from None

    def delete(self, _account: str, _region: str) -> None:
        """moto's name of `remove`."""
        self.remove()

    def is_created(self) -> bool:
        """It is, as soon as the operations have answered."""
        return True

    @classmethod
    def cloudformation_name_type(cls) -> str:
        """The property that holds the name."""
        return cls.name_property

    @classmethod
    def has_cfn_attr(cls, _attribute: str) -> bool:
        """Whether there is such an attribute shows when it is asked for."""
        return True

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Parameters, account_id: str, region_name: str, **_: Any
    ) -> Self:
        """moto makes a resource by this."""
        made = cls(resource_name, cloudformation_json["Properties"], account_id, region_name)
        made.create()
        return made

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Self,
        new_resource_name: str,
        cloudformation_json: Parameters,
        account_id: str,
        region_name: str,
    ) -> Self:
        """moto changes a resource by this."""
        before, now = original_resource.properties, cloudformation_json["Properties"]
        if any(before.get(name) != now.get(name) for name in fixed_properties(cls.type)):
            made = cls.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)
            original_resource.remove()
            return made
        original_resource.properties = now
        try:
            original_resource.update(before)
        except Exception:
            original_resource.properties = before  # moto tries it again, and has to see the difference then
            raise
        return original_resource


def fixed_properties(resource_type: str) -> frozenset[str]:
    """What AWS cannot change in a resource of the type that is there."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource_type).schema
    return frozenset(path.rpartition("/")[2] for path in schema.get("createOnlyProperties", ()))


class Metadata(Resource):
    """What only describes the stack: there is nothing to make."""

    type = "AWS::CDK::Metadata"

    def create(self) -> None:
        """Nothing."""
