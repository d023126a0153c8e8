"""An agent whose traces are sampled away and whose actions are not: each writes an audit span by hand.

The attributes are those that docs/semantic-conventions.md calls required. With `OTEL_EXPORTER_OTLP_PROTOCOL=grpc` it speaks
gRPC, otherwise HTTP.
"""

from __future__ import annotations

import os
import sys
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from audit_span_processor import AlwaysRecordSampler, AuditSpanProcessor

if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

sampler = ParentBasedTraceIdRatio(float(os.environ.get("SAMPLE_RATIO", "0.1")))
provider = TracerProvider(sampler=AlwaysRecordSampler(sampler), resource=Resource({"service.name": "notes"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
provider.add_span_processor(AuditSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("notes")


@contextmanager
def audited(event: str, action: str, path: Path) -> Iterator[trace.Span]:
    """One action, one record. The span is a child of the current one and never current itself: its flags are its own."""
    span = tracer.start_span(
        event,
        attributes={
            "audit.event.name": event,
            "audit.action": action,
            "audit.record.id": uuid.uuid4().hex,
            "audit.record.origin": "reported",
            "audit.schema.version": "1.0.0",
            "audit.actor.id": os.environ.get("OTEL_AUDIT_AGENT_ID", "agent:notes"),
            "audit.actor.type": "agent",
            "audit.target.type": "file",
            "audit.target.id": path.as_uri(),
            "audit.policy.decision": "allow",
            "audit.policy.enforcement": "observed",
            "file.path": str(path),
        },
    )
    try:
        yield span
        span.set_attribute("audit.outcome", "success")
    except BaseException as error:
        span.set_attribute("audit.outcome", "failure")
        span.set_attribute("error.type", type(error).__name__)
        raise
    finally:
        span.end()


def main(folder: Path) -> None:
    with tracer.start_as_current_span("write the notes"):
        note = folder / "note.md"
        with audited("file.write", "CREATE", note):
            note.write_text("Refunded order 1001.\n")
        try:
            with audited("file.read", "READ", folder / "missing.md"):
                (folder / "missing.md").read_text()
        except FileNotFoundError:
            print("there is no missing.md")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve())
    provider.shutdown()
