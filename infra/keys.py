"""What nobody is to read: one secret with the API keys, the secret that signs client tokens, and the nodes' others."""

import json

from aws_cdk import RemovalPolicy
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.accepted_findings import accept
from infra.config import Environment


class Keys(Construct):
    """`secret`, called `name`, is JSON: `api_keys` (comma-separated, from the operator) and `token_secret`.

    Beside them the operator may put any other secret setting of a node, such as `llm_api_key`. The token secret is made
    by Secrets Manager at the first deploy, so that no node is ever without any.
    """

    def __init__(self, scope: Construct, construct_id: str, config: Environment) -> None:
        super().__init__(scope, construct_id)
        self.name = f"voicefleet/{config.name}/keys"
        self.secret = secretsmanager.Secret(
            self,
            "Secret",
            secret_name=self.name,
            description="Voicefleet: API keys, the secret of client tokens, other secret settings; see docs/deploy.md.",
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template=json.dumps({"api_keys": ""}),
                generate_string_key="token_secret",
                password_length=64,
                exclude_punctuation=True,
            ),
            removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if config.production else RemovalPolicy.DESTROY,
        )
        accept(
            self.secret,
            "SMG4",
            "Keys are rotated with the customers who hold them; docs/runbook.md says how that is done.",
        )
