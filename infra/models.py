"""The model store: the bucket from which nodes fetch their models at boot."""

from aws_cdk import CfnOutput, Duration, Fn, RemovalPolicy, Stack
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.config import Environment
from infra.logs import Logs

_OUTPUT = "ModelBucket"


class ModelStore(Construct):
    """`bucket` holds the models under `url`. It outlives the stack, for it takes long to fill.

    Other stacks know it by `arn`, which names the stack's output: a reference that the CDK makes has a name that only
    it knows, and then cdk-nag could not be told which statement is meant.
    """

    def __init__(self, scope: Construct, construct_id: str, config: Environment, *, logs: Logs) -> None:
        super().__init__(scope, construct_id)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            versioned=True,
            server_access_logs_bucket=logs.access,
            server_access_logs_prefix="models/",
            lifecycle_rules=[
                s3.LifecycleRule(
                    noncurrent_version_expiration=Duration.days(config.models.keep_old_days),
                    abort_incomplete_multipart_upload_after=Duration.days(7),
                )
            ],
            removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )
        stack = Stack.of(self)
        CfnOutput(stack, _OUTPUT, value=self.bucket.bucket_name, description="Where models are put.")
        self.arn = f"arn:{stack.partition}:s3:::{Fn.get_stack_output(stack.stack_name, _OUTPUT)}"
        self.prefix = config.models.prefix
        self.url = f"s3://{self.bucket.bucket_name}/{self.prefix}"
