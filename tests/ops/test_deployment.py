"""Units, images and manifests are linted by the tools of their field, and name only what exists."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from compose_spec import PyCompose
from ruamel.yaml import YAML

from longwatch.pipeline.config import Metrics, load_config
from longwatch.pipeline.metrics.health import START_S
from support.promql import ROOT, promtool, yaml_of

OPS = ROOT / "ops"
KUBERNETES = OPS / "kubernetes"
BIN = Path(sys.executable).parent
UNITS = sorted((OPS / "systemd").glob("*.service"))
MANIFESTS = [
    path for path in sorted(KUBERNETES.rglob("*.yaml")) if path.name not in ("kustomization.yaml", "pipeline.yaml")
]
WHOLE = [path for path in MANIFESTS if path.parent.name != "gpu"]
OURS = [path for path in WHOLE if yaml_of(path)["kind"] != "ScaledObject"]
KUBERNETES_VERSIONS = ("1.31", "1.33", "1.36")


def run(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def systemd_analyze():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze (Debian: systemd)")
    return "systemd-analyze"


@pytest.fixture
def installed(tmp_path):
    """The units with the program where it is in this environment."""
    for unit in UNITS:
        text = unit.read_text().replace("/opt/longwatch/bin/longwatch", str(BIN / "longwatch"))
        (tmp_path / unit.name).write_text(text)
    return sorted(tmp_path.iterdir())


def test_the_units_are_sound(systemd_analyze, installed):
    done = run(systemd_analyze, "verify", *installed)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_unit_with_a_wrong_key_is_seen(systemd_analyze, installed):
    installed[0].write_text(installed[0].read_text().replace("RestartSec=", "RestartSecs="))
    assert "RestartSecs" in run(systemd_analyze, "verify", installed[0]).stderr


def test_the_units_are_confined(systemd_analyze, installed):
    done = run(systemd_analyze, "security", "--offline=true", "--threshold=20", *installed)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_ended_later_than_the_process_ends_itself(unit):
    text = unit.read_text()
    assert int(re.search(r"TimeoutStopSec=(\d+)", text)[1]) > 5
    watchdog = re.search(r"WatchdogSec=(\d+)", text)
    # A call to the broker may block for 25 s, and two of them may follow each other.
    assert watchdog is None or int(watchdog[1]) > 60


def test_the_images_recipe_is_sound():
    done = run(BIN / "hadolint", OPS / "docker" / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_the_recipe_copies_only_what_is_there_and_is_let_through():
    text = (OPS / "docker" / "Dockerfile").read_text()
    ignore = (OPS / "docker" / "Dockerfile.dockerignore").read_text().split()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert copied
    for path in copied:
        assert (ROOT / path).exists(), path
        assert any(path == allowed[1:] or path.startswith(f"{allowed[1:]}/") for allowed in ignore if allowed[0] == "!")


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_an_image_runs_as_nobody_in_exec_form(target):
    stage = re.search(rf" AS {target}\n(.*?)(?:\nFROM |\Z)", (OPS / "docker" / "Dockerfile").read_text(), re.DOTALL)[1]
    assert "USER 10001:10001" in stage
    assert "STOPSIGNAL SIGTERM" in stage
    assert re.search(r'^ENTRYPOINT \["', stage, re.MULTILINE)


def test_the_compose_file_is_sound_and_mounts_what_is_there():
    path = OPS / "compose" / "compose.yaml"
    compose = PyCompose.from_yaml(path.read_text())
    compose.validate()
    services = yaml_of(path)["services"]
    assert set(compose.service_names()) == services.keys()
    for name, service in services.items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert not source.startswith(".") or (path.parent / source).exists(), f"{name}: {source}"
        assert service.keys() & {"image", "build"}
    assert (path.parent / services["lines"]["build"]["context"] / services["lines"]["build"]["dockerfile"]).exists()


def test_nothing_of_the_demo_is_reached_from_other_machines():
    for service in yaml_of(OPS / "compose" / "compose.yaml")["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_prometheus_reads_the_demos_configuration(tmp_path):
    for name in ("prometheus.yaml", "alerts.yaml"):
        text = (OPS / "prometheus" / name).read_text().replace("/run/secrets/metrics-token", str(tmp_path / "token"))
        (tmp_path / name).write_text(text)
    (tmp_path / "token").write_text("x")
    done = promtool("check", "config", tmp_path / "prometheus.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", OURS, ids=lambda path: f"{path.parent.name}/{path.name}")
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_a_manifest_is_what_kubernetes_takes(path, version):
    kubernetes_validate.validate(yaml_of(path), version, strict=True)


def test_a_manifest_with_a_wrong_key_is_seen():
    manifest = yaml_of(KUBERNETES / "base" / "statefulset.yaml")
    manifest["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, KUBERNETES_VERSIONS[0], strict=True)


def test_the_scaled_object_is_what_keda_takes():
    """The model leaves out what it does not know: nothing of ours may be missing from it."""
    written = yaml_of(KUBERNETES / "base" / "scaledobject.yaml")
    read = ScaledObject.model_validate(written).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert {key: read[key] for key in written} == written


@pytest.mark.parametrize("path", sorted(KUBERNETES.glob("*/kustomization.yaml")), ids=lambda path: path.parent.name)
def test_a_kustomization_names_every_file_of_its_folder_and_no_other(path):
    made = yaml_of(path)
    named = {*made["resources"], *(patch["path"] for patch in made.get("patches", []))}
    named |= {name for source in made.get("configMapGenerator", []) for name in source["files"]}
    assert all((path.parent / name).exists() for name in named)
    assert {each.name for each in path.parent.iterdir()} == {name for name in named if "/" not in name} | {path.name}


@pytest.mark.parametrize("folder", ["base", "relay"])
def test_pods_are_probed_where_the_process_answers(folder, monkeypatch):
    config = load_config(KUBERNETES / folder / "pipeline.yaml", {})
    section = config.metrics if folder == "base" else config.relay.metrics
    (container,) = yaml_of(KUBERNETES / folder / "statefulset.yaml")["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "metrics", "containerPort": section.port}]
    assert section.token_env in {variable["name"] for variable in container["env"]}
    probes = ("startupProbe", "livenessProbe", "readinessProbe")
    paths = {probe: container[probe]["httpGet"]["path"] for probe in probes}
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    network = yaml_of(KUBERNETES / folder / "networkpolicy.yaml")["spec"]
    assert [rule["ports"] for rule in network["ingress"]] == [[{"protocol": "TCP", "port": section.port}]]


@pytest.mark.parametrize("folder", ["base", "relay"])
def test_a_pod_has_the_rights_of_nobody(folder):
    spec = yaml_of(KUBERNETES / folder / "statefulset.yaml")["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        context = container["securityContext"]
        assert (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]) == (True, False)
        assert context["capabilities"] == {"drop": ["ALL"]}
    assert spec["terminationGracePeriodSeconds"] > 5


def test_selectors_meet_the_pods_of_the_set():
    base = KUBERNETES / "base"
    labels = yaml_of(base / "statefulset.yaml")["spec"]["template"]["metadata"]["labels"]
    assert yaml_of(base / "service.yaml")["spec"]["selector"] == labels
    assert yaml_of(base / "poddisruptionbudget.yaml")["spec"]["selector"]["matchLabels"] == labels
    assert yaml_of(base / "networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"] == labels


def test_keda_looks_at_the_group_and_the_topic_of_the_pipeline():
    config = load_config(KUBERNETES / "base" / "pipeline.yaml", {})
    scaled = yaml_of(KUBERNETES / "base" / "scaledobject.yaml")["spec"]
    (trigger,) = scaled["triggers"]
    assert trigger["metadata"]["consumerGroup"] == config.group_id
    assert trigger["metadata"]["topic"] == config.source.kafka.topic
    assert trigger["metadata"]["bootstrapServers"] in config.source.kafka.bootstrap_servers
    assert scaled["scaleTargetRef"]["name"] == yaml_of(KUBERNETES / "base" / "statefulset.yaml")["metadata"]["name"]


def test_the_start_is_given_as_long_as_health_gives_it():
    (container,) = yaml_of(KUBERNETES / "base" / "statefulset.yaml")["spec"]["template"]["spec"]["containers"]
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= START_S
    assert Metrics().stalled_after.seconds < START_S


@pytest.mark.parametrize("folder", ["compose", "kubernetes/base", "kubernetes/relay"])
def test_a_pipeline_that_is_deployed_resolves(folder):
    assert load_config(OPS / folder / "pipeline.yaml", {}).sink.kafka is not None


def test_the_bill_of_materials_has_every_pin_with_its_hash(tmp_path):
    done = run(OPS / "sbom.sh", tmp_path)
    assert done.returncode == 0, done.stderr
    for lock in ("cpu", "gpu"):
        pins = re.findall(r"^([A-Za-z0-9._-]+)==", (OPS / "locks" / f"{lock}.txt").read_text(), re.MULTILINE)
        bill = YAML(typ="safe").load(tmp_path / f"{lock}.cdx.json")
        assert sorted(each["name"] for each in bill["components"]) == sorted(pins)
        assert bill["metadata"]["component"]["name"] == "longwatch"
        assert all(
            any(reference.get("hashes") for reference in each["externalReferences"]) for each in bill["components"]
        )
