"""Metrics from logs, alerts and a dashboard: what they read is what pods log, and what they name is there."""

from __future__ import annotations

import json
import re

import yaml

from job_runtime.logs.progress import progress
from tests.k8s.rendered import ENVIRONMENTS, K8S, fill

METRIC = re.compile(r"logging_googleapis_com:user_(\w+?)(?:_sum|_count)?\{")


def test_every_field_is_one_that_pods_log_and_every_metric_is_defined(tmp_path):
    name, values = ENVIRONMENTS["gke"]
    folder = fill(name, tmp_path, **{**values, "NAMESPACE": "tunes"}) / "monitoring"
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(texts) == {path.name for path in (K8S / "monitoring").iterdir()}
    numbers = set(progress(total=1)._numbers())
    defined = {each.removesuffix(".yaml") for each in texts if each.startswith("midi_lstm_")}
    for each in defined:
        metric = yaml.safe_load(texts[f"{each}.yaml"])
        assert set(re.findall(r"jsonPayload\.progress\.(\w+)", texts[f"{each}.yaml"])) <= numbers
        kind = "DISTRIBUTION" if "valueExtractor" in metric else "INT64"
        assert metric["metricDescriptor"]["valueType"] == kind
        assert set(metric["labelExtractors"]) == {label["key"] for label in metric["metricDescriptor"]["labels"]}
    (stuck,) = yaml.safe_load(texts["alert-stuck.yaml"])["conditions"]
    dashboard = json.loads(texts["dashboard.json"])["mosaicLayout"]["tiles"]
    queries = [stuck["conditionPrometheusQueryLanguage"]["query"]]
    for tile in dashboard:
        queries += [each["timeSeriesQuery"]["prometheusQuery"] for each in tile["widget"]["xyChart"]["dataSets"]]
    assert {found for query in queries for found in METRIC.findall(query)} == defined
    for query in queries:
        assert (
            query.count("{")
            == query.count('namespace_name="tunes"')
            == query.count('monitored_resource="k8s_container"')
        )
