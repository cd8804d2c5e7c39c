package main

import (
	"math"
	"slices"
	"time"
)

type result struct {
	Operations   int                `json:"operations"`
	Refused      int                `json:"refused"`
	Unanswered   int                `json:"unanswered"`
	Seconds      float64            `json:"seconds"`
	CPUSeconds   float64            `json:"generatorCpuSeconds"`
	Milliseconds map[string]float64 `json:"latencyMilliseconds"`
}

// sum puts the answers of all lines together; quantiles are of single requests, the nearest rank.
func sum(lines []*line, seconds, cpu float64) result {
	total := result{Seconds: seconds, CPUSeconds: cpu, Milliseconds: map[string]float64{}}
	var all []time.Duration
	for _, l := range lines {
		all = append(all, l.latencies...)
		total.Refused += l.refused
		total.Unanswered += len(l.frames) - len(l.latencies)
	}
	total.Operations = len(all)
	if len(all) == 0 {
		return total
	}
	slices.Sort(all)
	for name, q := range map[string]float64{"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1} {
		rank := max(int(math.Ceil(q*float64(len(all))))-1, 0)
		total.Milliseconds[name] = float64(all[rank].Microseconds()) / 1000
	}
	return total
}
