"""Audit spans are exported whatever the sampler says, and none is dropped while this process lives.

Two small parts for an existing OpenTelemetry set-up, to be copied or imported:

    provider = TracerProvider(sampler=AlwaysRecordSampler(your_sampler))
    provider.add_span_processor(AuditSpanProcessor(OTLPSpanExporter()))

A span is an audit span if it has the attribute `audit.action`. What the sampler kept or dropped stays as it was for
everybody else: a span that is recorded for the audit alone has no sampled flag, so that batch processors leave it out and
services that are called do not begin to sample.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from typing import Optional, Sequence

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context, attach, set_value
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes

AUDIT_ACTION = "audit.action"

_logger = logging.getLogger(__name__)


class AlwaysRecordSampler(Sampler):
    """Has the spans that another sampler drops recorded, not sampled: processors see them, exporters for traces do not.

    All of them, for `audit.action` may be set after the start. It belongs outermost: around a `ParentBased`, not in it.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(
        self,
        parent_context: Optional[Context],
        trace_id: int,
        name: str,
        kind: Optional[SpanKind] = None,
        attributes: Attributes = None,
        links: Optional[Sequence[Link]] = None,
        trace_state: Optional[TraceState] = None,
    ) -> SamplingResult:
        result = self._sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if result.decision is not Decision.DROP:
            return result
        return SamplingResult(Decision.RECORD_ONLY, attributes, result.trace_state)

    def get_description(self) -> str:
        return f"AlwaysRecordSampler({self._sampler.get_description()})"


class AuditSpanProcessor(SpanProcessor):
    """Brings every audit span to the exporter, and tries until it is acknowledged.

    Spans wait in memory, `max_queue_size` at most; then the thread that ends a span waits. What a killed process had in
    memory is lost: `force_flush()` before an action's result is given away makes sure that its record is kept.

    :param exporter: an OTLP exporter to an otel-audit collector, or to an OpenTelemetry Collector before it
    :param max_queue_size: spans that may wait
    :param max_export_batch_size: spans in a request
    :param retry_seconds: pause between two attempts; the exporter has retried on its own before one counts as failed
    :param shutdown_seconds: how long the end of the process may wait for the collector
    """

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        max_queue_size: int = 2048,
        max_export_batch_size: int = 512,
        retry_seconds: float = 1.0,
        shutdown_seconds: float = 30.0,
    ) -> None:
        self._exporter = exporter
        self._max_queue_size = max_queue_size
        self._max_export_batch_size = max_export_batch_size
        self._retry_seconds = retry_seconds
        self._shutdown_seconds = shutdown_seconds
        self._stopped = False
        self._start()
        # A child of a fork has no threads; what waits in its parent is sent by its parent.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._start)
        # For an application that does not shut its provider down.
        atexit.register(self.shutdown)

    def _start(self) -> None:
        # Spans leave the queue when they are acknowledged, so an empty queue means that all is kept.
        self._queue: deque[ReadableSpan] = deque()
        self._changed = threading.Condition()
        threading.Thread(target=self._work, name="AuditSpanProcessor", daemon=True).start()

    def on_start(self, span: Span, parent_context: Optional[Context] = None) -> None:
        pass

    def on_end(self, span: ReadableSpan) -> None:
        if AUDIT_ACTION not in (span.attributes or {}):
            return
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._queue) < self._max_queue_size)
            if self._stopped:
                _logger.error("audit span %s ended after shutdown: it is lost", span.name)
                return
            self._queue.append(span)
            self._changed.notify_all()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Whether all spans that have ended are acknowledged."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue, timeout_millis / 1_000)

    def shutdown(self) -> None:
        if self._stopped:
            return
        self.force_flush(int(self._shutdown_seconds * 1_000))
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._queue:
            _logger.error("%d audit spans were not acknowledged in time: they are lost", len(self._queue))
        self._exporter.shutdown()
        atexit.unregister(self.shutdown)

    def _work(self) -> None:
        # The exporter's own requests are not to be traced.
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._queue)
                if self._stopped:
                    return
                batch = [self._queue[i] for i in range(min(len(self._queue), self._max_export_batch_size))]
            if self._export(batch):
                with self._changed:
                    for _ in batch:
                        self._queue.popleft()
                    self._changed.notify_all()
            else:
                time.sleep(self._retry_seconds)

    def _export(self, batch: Sequence[ReadableSpan]) -> bool:
        try:
            return self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:  # pylint: disable=broad-exception-caught
            _logger.exception("audit spans could not be exported; they are tried again")
            return False
