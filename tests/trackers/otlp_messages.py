"""What a run sends to an OpenTelemetry collector, read by OpenTelemetry's own messages: unknown fields are errors."""

import http.server
import importlib.metadata as metadata
import tempfile
import threading
from pathlib import Path

import common

common.need("google.protobuf", "opentelemetry.proto.collector")

from google.protobuf import json_format  # noqa: E402
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest  # noqa: E402
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: E402

RECEIVED = []


class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        RECEIVED.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def main():
    print(f"opentelemetry-proto {metadata.version('opentelemetry-proto')}")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        track = ["--track", f"otlp=http://127.0.0.1:{server.server_address[1]}", "--steps", "5"]
        common.host(folder, "train", "--quiet", "--output", "run", *common.SHORT, *track)
        expected = common.measured(Path(folder) / "run/metrics.jsonl")
    points, spans = {}, []
    for path, body in RECEIVED:
        if path == "/v1/metrics":
            message = json_format.Parse(body, ExportMetricsServiceRequest())
            for metric in message.resource_metrics[0].scope_metrics[0].metrics:
                points.setdefault(metric.name, []).extend(one.as_double for one in metric.gauge.data_points)
        else:
            assert path == "/v1/traces", path
            message = json_format.Parse(body, ExportTraceServiceRequest())
            spans += message.resource_spans[0].scope_spans[0].spans
    for name, values in expected.items():
        assert points[f"host.{name.replace('/', '.')}"] == list(values.values()), name
    assert points["host.train.step"] == [0, 1, 2, 3, 4], points["host.train.step"]
    roots = [span for span in spans if not span.parent_span_id]
    assert [span.name for span in roots] == ["host train"] and len(spans) > 1, spans
    print(f"{len(points)} gauges, {len(spans)} spans in one trace")


main()
