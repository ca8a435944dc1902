"""What an endpoint of ours says, read as Prometheus reads it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from longwatch.pipeline.errors import InputError

MOST_BYTES = 16 << 20
ANSWER_S = 5.0
EXAMPLE = "for example http://127.0.0.1:9464"


@dataclass(frozen=True)
class Scrape:
    """One answer of /metrics."""

    text: str

    def samples(self, name: str = "") -> Iterator[tuple[str, Mapping[str, str], float]]:
        """(name, labels, value) of all, or of the series of that name."""
        for family in text_string_to_metric_families(self.text):
            for sample in family.samples:
                if name in ("", sample.name):
                    yield sample.name, sample.labels, sample.value

    def value(self, name: str, **labels: str) -> float:
        """The sum over all series that carry these labels; KeyError where there is none."""
        found = [value for _, has, value in self.samples(name) if labels.items() <= has.items()]
        if not found:
            raise KeyError(f"{name}{labels}")
        return sum(found)

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Sums by the values of these labels."""
        sums: dict[tuple[str, ...], float] = {}
        for _, has, value in self.samples(name):
            key = tuple(has.get(label, "") for label in labels)
            sums[key] = sums.get(key, 0.0) + value
        return sums


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An endpoint of ours never sends anybody elsewhere, and a token is for nobody else."""

    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def fetch(address: str, token: str | None = None) -> Scrape:
    """The metrics of the endpoint at that address (`http://host:port`); InputError says why there are none."""
    status, body = _ask(f"{address.rstrip('/')}/metrics", token)
    if status != 200:
        hint = "name the variable that holds the token: --token-env" if status == 401 else ""
        raise InputError(f"answered {status}: {body.strip()[:200]}", hint, source=address)
    try:
        scrape = Scrape(body)
        next(scrape.samples("longwatch_up_info"))
    except (ValueError, StopIteration):
        raise InputError("this is no endpoint of longwatch", EXAMPLE, source=address) from None
    return scrape


def reasons(address: str) -> list[str]:
    """Why it is not ready, in its own words."""
    _, body = _ask(f"{address.rstrip('/')}/readyz", None)
    try:
        return [str(each) for each in json.loads(body)["reasons"]]
    except (ValueError, KeyError, TypeError):
        return []


def _ask(url: str, token: str | None) -> tuple[int, str]:
    if not url.startswith(("http://", "https://")):  # nor file: or ftp:
        raise InputError("an address begins with http:// or https://", EXAMPLE, source=url)
    hint = "does it run, and has its YAML a `metrics:` section?"
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        with _opener.open(request, timeout=ANSWER_S) as answer:
            return answer.status, answer.read(MOST_BYTES).decode("utf-8", "replace")
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read(MOST_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        raise InputError(f"no answer: {error}", hint, source=url) from None
