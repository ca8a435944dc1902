"""Which personal data is made unreadable in what leaves, and whether a pseudonym stays in its place."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr

from longwatch.pipeline.config.base import Model, Problem, validation_error
from longwatch.pipeline.config.secrets import UnreadableSecretError, read_secret
from longwatch.pipeline.config.values import Many, VariableName, YamlPath
from longwatch.pipeline.masking.forms import KINDS, own_form
from longwatch.pipeline.masking.masker import NOTHING, Masker, masker

KEY_CHARACTERS = 16

_KEY = "pseudonym_key"


def _linear(pattern: str) -> str:
    """The pattern, if RE2 can run it and it does not match the empty text."""
    try:
        form = own_form("X", pattern)
    except ValueError as error:
        raise Problem(
            f"RE2 cannot run the pattern: {error}", "no look-around, no back-reference: so no line can make it slow"
        ).as_error() from None
    if form.expression.search(b"") is not None:
        raise Problem("the pattern matches the empty text", "write `+` instead of `*`").as_error()
    return pattern


class OwnPattern(Model):
    """Something else to mask."""

    name: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,31}$")] = Field(
        description="Stands in its place, as `<NAME>`; capital letters."
    )
    pattern: Annotated[str, AfterValidator(_linear)] = Field(
        description="Expression of RE2; a group named `value` is all that is replaced."
    )


class Masking(Model):
    """Personal data and secrets in alerts, dead letters, late events and the report; scores and ids do not change."""

    enabled: bool = Field(default=True, description="`false` lets everything through as it came.")
    secrets: bool = Field(default=True, description="Passwords, tokens, keys, cookies, credentials in addresses.")
    emails: bool = Field(default=True, description="E-mail addresses.")
    cards: bool = Field(default=True, description="Card numbers (Luhn) and IBANs (their check digits).")
    ip_addresses: bool = Field(default=False, description="IPv4 and IPv6 addresses.")
    users: bool = Field(default=True, description="User names as logs write them: `user=x`, `for user x`, `/home/x`.")
    patterns: Many[OwnPattern] = Field(default=(), max_length=100, description="Your own, before the others.")
    entity: Literal["forms", "whole", "plain"] = Field(
        default="forms",
        description="An alert's entity: the same forms masked in it, a pseudonym for all of it, or as it is.",
    )
    dead_letters: Literal["mask", "keep"] = Field(
        default="mask", description="`keep` writes dead letters and late events with their original bytes."
    )
    pseudonym_key_file: YamlPath | None = Field(
        default=None, description="File with a key: `<EMAIL>` becomes `<EMAIL#5b1f0c9a7d3e>`, the same for the same."
    )
    pseudonym_key_env: VariableName | None = Field(default=None, description="Environment variable with that key.")

    _pseudonym_key: SecretStr | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        """Reads the key; a missing file or variable is an error at its place."""
        del context
        try:
            key = read_secret(self.pseudonym_key_file, self.pseudonym_key_env, _KEY)
        except UnreadableSecretError as error:
            raise validation_error([error.problem]) from None
        if key is not None and len(key) < KEY_CHARACTERS:
            at = f"{_KEY}_{'file' if self.pseudonym_key_file is not None else 'env'}"
            message = f"the key is shorter than {KEY_CHARACTERS} characters"
            raise validation_error([Problem(message, "make one with `openssl rand -hex 32`", (at,))])
        self._pseudonym_key = None if key is None else SecretStr(key)

    def masker(self) -> Masker:
        """What does it; equal configurations give equal texts."""
        if not self.enabled:
            return NOTHING
        key = None if self._pseudonym_key is None else self._pseudonym_key.get_secret_value().encode()
        own = tuple(own_form(each.name, each.pattern) for each in self.patterns)
        kinds = tuple(kind for kind in KINDS if getattr(self, kind))
        return masker(kinds, own, key=key, entity=self.entity, letters=self.dead_letters == "mask")

    def _problems(self) -> Iterator[Problem]:
        if (
            self.enabled
            and self.entity == "whole"
            and self.pseudonym_key_file is None
            and self.pseudonym_key_env is None
        ):
            hint = "without one no alert would say whose it is: write `pseudonym_key_env` or `pseudonym_key_file`"
            yield Problem("`entity: whole` needs a key", hint, ("entity",))
