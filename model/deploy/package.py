"""A deployable bundle from a trained one: both graphs made anew, judged as they will be read, then written at once."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longwatch.kernels import parse_pattern
from longwatch.model.bundle import GRAPH, STEP_GRAPH, SUCCESSORS, WEIGHTS, Bundle, BundleParts, write_bundle
from longwatch.model.deploy.parity import Limits, Parity, compare
from longwatch.model.deploy.step_graph import export_step
from longwatch.model.export import ExportError, export_weights
from longwatch.model.scorer.onnx import OnnxScorer
from longwatch.model.scorer.onnx_step import StepSession
from longwatch.model.scorer.streaming import CHUNK, score_long
from longwatch.model.scorer.torch import TorchScorer, load_network
from longwatch.model.tokens import WindowTokens


def deployable_parts(bundle: Bundle) -> BundleParts:
    """The bundle's parts with both graphs exported from its weights; without a step graph where a layer has topk."""
    config, model = bundle.model_config, load_network(bundle)
    streams = all(parse_pattern(text).data_chosen is None for text in config.layers)
    return replace(
        parts_of(bundle),
        onnx=export_weights(bundle)[0],
        step_onnx=export_step(model, config) if streams else None,
    )


def parts_of(bundle: Bundle) -> BundleParts:
    """What an opened bundle is made of."""
    return BundleParts(
        bundle.arrays(WEIGHTS),
        bundle.read(GRAPH),
        bundle.template_set_json,
        bundle.vocabulary,
        bundle.evidence,
        bundle.calibration,
        bundle.config,
        bundle.manifest["versions"],
        successors=bundle.successors if bundle.has(SUCCESSORS) else None,
        step_onnx=bundle.read(STEP_GRAPH) if bundle.has(STEP_GRAPH) else None,
        parity=bundle.manifest.get("parity"),
    )


def write_judged(
    out: Path, parts: BundleParts, golden: WindowTokens, created_at: str, limits: Limits, source: str
) -> tuple[Bundle, dict[str, Parity]]:
    """Writes the parts as a bundle with the report of its parity in the manifest; the bundle, and that by graph.

    The reference is torch on the parts' weights. Raises ExportError, and writes nothing, where a graph is not within
    the limits on the golden windows.
    """
    with tempfile.TemporaryDirectory(prefix="longwatch-export-") as scratch:
        trial = write_bundle(Path(scratch) / "bundle", parts, created_at)
        found = judge(trial, TorchScorer(trial).score(golden), golden)
    for name, parity in found.items():
        refusal = parity.refusal(limits)
        if refusal is not None:
            raise ExportError(f"{name}: {refusal}; nothing was written")
    report = {"golden": source, "limits": vars(limits), "graphs": {name: p.report() for name, p in found.items()}}
    return write_bundle(out, replace(parts, parity=report), created_at), found


def judge(bundle: Bundle, reference: NDArray[np.float32], golden: WindowTokens) -> dict[str, Parity]:
    """Parity of each of the bundle's graphs with reference surprise [M] of the golden windows."""
    scores = {GRAPH: OnnxScorer(bundle).score(golden)}
    if bundle.has(STEP_GRAPH):
        session = StepSession(bundle.read(STEP_GRAPH), bundle.model_config, chunk=CHUNK)
        scores[STEP_GRAPH] = score_long(session, golden, bundle.vocabulary)
    return {
        name: compare(reference, found, golden, bundle.evidence, bundle.calibration) for name, found in scores.items()
    }
