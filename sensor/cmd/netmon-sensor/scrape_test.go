package main

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// A scrape is what /metrics said: values by series, a series written as
// name{label="value",...} with its labels in order.
type scrape struct {
	text    string
	samples map[string]sample
}

type sample struct {
	name   string
	labels map[string]string
	value  float64
}

// scrape reads the metrics at url from inside the namespace.
func (h *host) scrape(url string) (scrape, error) {
	text, err := h.get(url)
	if err != nil {
		return scrape{}, err
	}
	return parse(text)
}

// scrapeAs is scrape with a client and a login of the caller's.
func scrapeAs(client *http.Client, url, user, password string) (scrape, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return scrape{}, err
	}
	if user != "" {
		request.SetBasicAuth(user, password)
	}
	text, err := body(client.Do(request))
	if err != nil {
		return scrape{}, err
	}
	return parse(text)
}

func parse(text string) (scrape, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return scrape{}, fmt.Errorf("%w in:\n%s", err, text)
	}
	s := scrape{text, map[string]sample{}}
	for name, family := range families {
		for _, m := range family.Metric {
			name := name
			labels := map[string]string{}
			for _, l := range m.Label {
				labels[l.GetName()] = l.GetValue()
			}
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
			if histogram := m.Histogram; histogram != nil {
				s.put(name+"_sum", labels, histogram.GetSampleSum())
				for _, b := range histogram.Bucket {
					with := maps.Clone(labels)
					with["le"] = fmt.Sprint(b.GetUpperBound())
					s.put(name+"_bucket", with, float64(b.GetCumulativeCount()))
				}
				name, value = name+"_count", float64(histogram.GetSampleCount())
			}
			s.put(name, labels, value)
		}
	}
	return s, nil
}

func (s scrape) put(name string, labels map[string]string, value float64) {
	var parts []string
	for _, l := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, fmt.Sprintf("%s=%q", l, labels[l]))
	}
	s.samples[name+"{"+strings.Join(parts, ",")+"}"] = sample{name, labels, value}
}

// by sums a metric by the values of one label.
func (s scrape) by(name, label string) map[string]float64 {
	sums := map[string]float64{}
	for _, x := range s.samples {
		if x.name == name {
			sums[x.labels[label]] += x.value
		}
	}
	return sums
}

// sum adds up all series of a metric.
func (s scrape) sum(name string) float64 {
	total := 0.0
	for _, v := range s.by(name, "") {
		total += v
	}
	return total
}

// counters returns the series of network_* that only grow.
func (s scrape) counters() map[string]float64 {
	found := map[string]float64{}
	for series, x := range s.samples {
		grows := strings.HasSuffix(x.name, "_total") || strings.HasSuffix(x.name, "_bucket") ||
			strings.HasSuffix(x.name, "_count") || strings.HasSuffix(x.name, "_sum") || x.name == "network_protocol_stats"
		if strings.HasPrefix(x.name, "network_") && grows {
			found[series] = x.value
		}
	}
	return found
}

// fell returns an error that names the counters of before that are smaller, or
// gone, in after.
func fell(before, after scrape) error {
	now := after.counters()
	var found []string
	for series, was := range before.counters() {
		is, there := now[series]
		if !there {
			found = append(found, fmt.Sprintf("%s was %v and is gone", series, was))
		} else if is < was {
			found = append(found, fmt.Sprintf("%s fell from %v to %v", series, was, is))
		}
	}
	return listed(found)
}

// differ returns an error that names the counters in which two scrapes differ. Sums
// of seconds may differ by what rounding does to them; how long connections lasted is
// left out, for a flow that rests ends by the clock.
func differ(a, b scrape) error {
	left, right := a.counters(), b.counters()
	for _, side := range []map[string]float64{left, right} {
		maps.DeleteFunc(side, func(series string, _ float64) bool {
			return strings.HasPrefix(series, "network_connection_duration_seconds")
		})
	}
	if len(left) == 0 {
		return fmt.Errorf("no counters at all")
	}
	var found []string
	for series := range left {
		if _, there := right[series]; !there {
			found = append(found, "only the first has "+series)
		} else if math.Abs(left[series]-right[series]) > 1e-9 {
			found = append(found, fmt.Sprintf("%s is %v and %v", series, left[series], right[series]))
		}
	}
	for series := range right {
		if _, there := left[series]; !there {
			found = append(found, "only the second has "+series)
		}
	}
	return listed(found)
}

func listed(found []string) error {
	if len(found) == 0 {
		return nil
	}
	slices.Sort(found)
	return fmt.Errorf("%d series: %s", len(found), strings.Join(found[:min(len(found), 10)], "; "))
}
