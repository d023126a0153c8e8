"""What only a failing exporter shows. `python -m unittest` in this folder."""

import os
import threading
import unittest

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from audit_span_processor import AlwaysRecordSampler, AuditSpanProcessor


class Exporter(SpanExporter):
    """Refuses, or raises, until it may take."""

    def __init__(self) -> None:
        self.refusals = [False, True]
        self.takes = threading.Event()
        self.tried = threading.Event()
        self.names: list[str] = []

    def export(self, spans):
        self.tried.set()
        if not self.takes.is_set():
            self.refusals.reverse()
            if self.refusals[0]:
                raise ConnectionError("not there")
            return SpanExportResult.FAILURE
        self.names += [span.name for span in spans]
        return SpanExportResult.SUCCESS


class AuditSpanProcessorTest(unittest.TestCase):
    def setUp(self) -> None:
        self.exporter = Exporter()
        self.processor = AuditSpanProcessor(
            self.exporter, max_queue_size=3, max_export_batch_size=2, retry_seconds=0.01, shutdown_seconds=0.1
        )
        self.provider = TracerProvider(sampler=AlwaysRecordSampler(ALWAYS_OFF))
        self.provider.add_span_processor(self.processor)
        self.addCleanup(self.provider.shutdown)

    def act(self, name: str) -> None:
        span = self.provider.get_tracer("test").start_span(name)
        self.assertFalse(span.get_span_context().trace_flags.sampled)
        span.set_attribute("audit.action", "READ")
        span.end()

    def test_a_full_queue_makes_the_agent_wait_and_nothing_is_lost_or_doubled(self) -> None:
        for name in "abc":
            self.act(name)
        waiting = threading.Thread(target=self.act, args=("d",))
        waiting.start()
        self.exporter.tried.wait()
        self.assertTrue(waiting.is_alive())
        self.assertFalse(self.processor.force_flush(50))
        self.exporter.takes.set()
        waiting.join()
        self.assertTrue(self.processor.force_flush())
        self.assertEqual(self.exporter.names, ["a", "b", "c", "d"])

    def test_other_spans_are_left_to_others(self) -> None:
        self.exporter.takes.set()
        self.provider.get_tracer("test").start_span("debug").end()
        self.act("audit")
        self.assertTrue(self.processor.force_flush())
        self.assertEqual(self.exporter.names, ["audit"])

    def test_shutdown_says_what_it_loses(self) -> None:
        self.act("a")
        with self.assertLogs("audit_span_processor", "ERROR") as logs:
            self.provider.shutdown()
            self.act("late")
        text = "\n".join(logs.output)
        self.assertIn("1 audit spans were not acknowledged in time", text)
        self.assertIn("late ended after shutdown", text)

    @unittest.skipUnless(hasattr(os, "fork"), "this system has no fork")
    def test_a_forked_child_sends_its_own_spans(self) -> None:
        self.act("parent's")
        child = os.fork()
        if child == 0:
            self.exporter.takes.set()
            self.act("child's")
            flushed = self.processor.force_flush()
            os._exit(0 if flushed and self.exporter.names == ["child's"] else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)


if __name__ == "__main__":
    unittest.main()
