package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics count in a registry of their own. Every label has a fixed, small set
// of values: none comes from a request.
type metrics struct {
	registry *prometheus.Registry
	inFlight prometheus.Gauge
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	records  *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "cardbureau_http_requests_in_flight", Help: "Requests being answered."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cardbureau_http_requests_total", Help: "Requests answered."}, []string{"method", "route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "cardbureau_http_request_seconds", Help: "Time until a request was answered; a stream's is as long as the stream.",
			Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 60, 600},
		}, []string{"route"}),
		records: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cardbureau_records_total", Help: "Records answered, by status and code of refusal."}, []string{"status", "code"}),
	}
	m.registry.MustRegister(m.inFlight, m.requests, m.duration, m.records,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) request(method, route string, status int, took time.Duration) {
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(route).Observe(took.Seconds())
}

// record counts one record. A code that no table has becomes "other".
func (m *metrics) record(status, code string) {
	if _, known := codes[code]; code != "" && !known {
		code = "other"
	}
	m.records.WithLabelValues(status, code).Inc()
}

func (s *Server) metricsRoutes() {
	h := promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{})
	register(s, huma.Operation{
		OperationID: "getMetrics", Method: http.MethodGet, Path: "/metrics",
		Summary: "Give the counters", Description: "Prometheus text format. No label is about a person, a record or an order.",
		Tags: []string{"bureau"}, Security: needs(ScopeMetrics),
		Responses: s.responses(map[int]*huma.Response{
			http.StatusOK: {Description: "The counters.", Content: map[string]*huma.MediaType{typeText: {Schema: &huma.Schema{Type: huma.TypeString}}}},
		}, 401, 403, 500, 503),
	}, func(_ context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			h.ServeHTTP(w, r)
		}}, nil
	})
}
