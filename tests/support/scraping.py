"""What a scrape of an endpoint says, and the health beside it."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from longwatch.pipeline.config import Config, Metrics
from longwatch.pipeline.metrics.scrape import Scrape
from support.demo import demo_config


def scrape_of(registry: CollectorRegistry) -> Scrape:
    return Scrape(generate_latest(registry).decode())


def labels_of(scrape: Scrape, name: str) -> set[tuple[tuple[str, str], ...]]:
    return {tuple(sorted(has.items())) for _, has, _ in scrape.samples(name)}


def names_in(scrape: Scrape) -> set[str]:
    return {name for name, _, _ in scrape.samples()}


def ask(url: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> tuple[int, str]:
    """Status and body, whatever the status."""
    request = urllib.request.Request(url, headers=dict(headers or {}), method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def verdict(url: str) -> tuple[int, Any]:
    status, body = ask(url)
    return status, json.loads(body)["reasons"]


def scrape(address: str, **headers: str) -> Scrape:
    status, body = ask(f"{address}/metrics", headers)
    assert status == 200, body
    return Scrape(body)


def metrics_config(**metrics: object) -> Config:
    """The demo's, with an endpoint at a free port."""
    return demo_config().model_copy(update={"metrics": Metrics(port=0, **metrics)})
