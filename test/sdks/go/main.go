// A client of the official Go SDK: ends three audit spans and three others over the protocol that it is told.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: go-client <prefix of record ids>, or version")
	}
	if os.Args[1] == "version" {
		fmt.Println(otel.Version())
		return
	}
	ctx := context.Background()
	// Both read OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_COMPRESSION.
	client := otlptracehttp.NewClient()
	if os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc" {
		client = otlptracegrpc.NewClient()
	}
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		log.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "go-client"))),
	)
	tracer := provider.Tracer("go-client")
	for i := range 3 {
		ctx, debug := tracer.Start(ctx, fmt.Sprintf("debug %d", i))
		_, audit := tracer.Start(ctx, "file.read", trace.WithAttributes(
			attribute.String("audit.event.name", "file.read"),
			attribute.String("audit.action", "READ"),
			attribute.String("audit.outcome", "success"),
			attribute.String("audit.actor.id", "agent:go"),
			attribute.String("audit.actor.type", "agent"),
			attribute.StringSlice("audit.actor.chain", []string{"agent:planner", "agent:support"}),
			attribute.String("audit.record.id", fmt.Sprintf("%s-%d", os.Args[1], i)),
			attribute.String("audit.target.type", "file"),
			attribute.String("audit.target.id", "file:///srv/kb/faq.md"),
			attribute.Int("file.size", 1024),
			attribute.Bool("app.flag", true),
		))
		audit.End()
		debug.End()
	}
	if err := provider.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}
