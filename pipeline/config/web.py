"""The live page of a running worker, and who may see it."""

from collections.abc import Iterator
from ipaddress import ip_address

from pydantic import Field

from longwatch.pipeline.config.base import Model, Problem
from longwatch.pipeline.config.kafka_client import is_this_machine
from longwatch.pipeline.config.secrets import both_problem, read_secret
from longwatch.pipeline.config.values import Many, Text, VariableName, YamlPath

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Web(Model):
    """A page that the worker serves; on this machine alone unless told otherwise, and then only with a token."""

    host: Text = Field(default="127.0.0.1", description="Address to listen on; beyond this machine a token is needed.")
    port: int = Field(default=8420, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    hosts: Many[Text] = Field(default=(), description="Further names that browsers reach it by, without a port.")
    token_env: VariableName | None = Field(default=None, description="Variable that holds the page's token.")
    token_file: YamlPath | None = Field(default=None, description="File that holds the page's token.")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_this_machine(self.host)

    @property
    def wants_token(self) -> bool:
        """Whether a token was configured."""
        return self.token_env is not None or self.token_file is not None

    def token(self) -> str | None:
        """The token, read now; raises UnreadableSecretError."""
        return read_secret(self.token_file, self.token_env, "token")

    def _problems(self) -> Iterator[Problem]:
        both = both_problem(self.token_file, self.token_env, "token")
        if both is not None:
            yield both
        if self.host != "localhost" and not _is_address(self.host):
            yield Problem(f"`{self.host}` is not an IP address", "for example 127.0.0.1, or 0.0.0.0 for all", ("host",))
        elif not self.is_local and not self.wants_token:
            hint = "write `token_env` or `token_file`, or keep 127.0.0.1 and reach it through an SSH tunnel"
            yield Problem(f"`{self.host}` is reached from other machines, and no token is asked for", hint, ("host",))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
