package server

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/netmon-sensor/netmon/proto/netmonpb"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestExpositionGolden(t *testing.T) {
	for name, openMetrics := range map[string]bool{"metrics.txt": false, "metrics.openmetrics": true} {
		t.Run(name, func(t *testing.T) {
			s := testService(t, nil)
			mustTake(t, s, windowRequest(oneOfEach()))
			got := exposition(s, openMetrics)
			path := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("exposition differs from %s (-update rewrites it):\n%s", path, got)
			}
		})
	}
}

// TestExpositionParses reads whole bodies with Prometheus' own parsers.
func TestExpositionParses(t *testing.T) {
	s := testService(t, nil)
	mustTake(t, s, windowRequest(oneOfEach()))
	for _, format := range []expfmt.Format{expfmt.FmtText, expfmt.FmtOpenMetrics_1_0_0, expfmt.FmtOpenMetrics_0_0_1} {
		body := whole(t, s, format)
		families := parse(t, body, format)
		if len(families) < 50 {
			t.Errorf("%s: %d families", format, len(families))
		}
		if open := format.FormatType() == expfmt.TypeOpenMetrics; open != strings.HasSuffix(body, "\n# EOF\n") || strings.Count(body, "# EOF") > 1 {
			t.Errorf("%s: # EOF is not as it should be", format)
		}
		for _, f := range families {
			sameLabels(t, f)
		}
	}
	problems, err := promlint.New(strings.NewReader(whole(t, s, expfmt.FmtText))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !strings.HasPrefix(p.Metric, "go_") { // the runtime's names are not ours
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// parse fails the test unless body is valid in the format.
func parse(t testing.TB, body string, format expfmt.Format) map[string]*dto.MetricFamily {
	t.Helper()
	families := map[string]*dto.MetricFamily{}
	d := expfmt.NewDecoder(strings.NewReader(body), format)
	for {
		f := &dto.MetricFamily{}
		if err := d.Decode(f); errors.Is(err, io.EOF) {
			return families
		} else if err != nil {
			t.Fatalf("%s: %v\n%s", format, err, body)
		}
		if families[f.GetName()] != nil {
			t.Errorf("family %s is there twice", f.GetName())
		}
		families[f.GetName()] = f
	}
}

// sameLabels checks that all series of a family have the same label names.
func sameLabels(t *testing.T, f *dto.MetricFamily) {
	t.Helper()
	if strings.HasPrefix(f.GetName(), "go_") {
		return
	}
	var first string
	seen := map[string]bool{}
	for i, m := range f.Metric {
		var names, all []string
		for _, l := range m.Label {
			names = append(names, l.GetName())
			all = append(all, l.GetName()+"="+l.GetValue())
		}
		if i == 0 {
			first = strings.Join(names, ",")
		}
		if got := strings.Join(names, ","); got != first {
			t.Errorf("%s: labels %s and %s", f.GetName(), first, got)
		}
		if key := strings.Join(all, ","); seen[key] {
			t.Errorf("%s: series %s is there twice", f.GetName(), key)
		} else {
			seen[key] = true
		}
	}
}

// TestOpenMetricsClash: a gauge and a counter may differ in _total alone, and
// OpenMetrics would give both families one name.
func TestOpenMetricsClash(t *testing.T) {
	s := testService(t, nil)
	v := 2.0
	mustTake(t, s, windowRequest(next("h", aLog, 1, nil,
		&netmonpb.Row{Key: &netmonpb.Key{View: netmonpb.View_VIEW_SENSOR, Item: "flows"}, Gauge: &v},
		rowOf(&netmonpb.Key{View: netmonpb.View_VIEW_SENSOR, Item: "flows_total"}, func(c *netmonpb.Counters) { c.Value = 3 }))))
	for _, format := range []expfmt.Format{expfmt.FmtText, expfmt.FmtOpenMetrics_1_0_0} {
		families := parse(t, whole(t, s, format), format)
		if families["netmon_flows"] == nil || families["netmon_flows_total"] == nil {
			t.Errorf("%s: a family is missing", format)
		}
	}

	// The gauge ends with its log; what the counter is called must not change with it.
	mustTake(t, s, windowRequest(next("h", bytes.Repeat([]byte{0xb2}, 16), 1, nil)))
	if body := whole(t, s, expfmt.FmtOpenMetrics_1_0_0); strings.Contains(body, "netmon_flows{") || !strings.Contains(body, "# TYPE netmon_flows_total unknown\n") {
		t.Errorf("without the gauge:\n%s", body)
	}
}

func TestNoAllocationPerSeries(t *testing.T) {
	s := testService(t, nil)
	fill(t, s, 1000)
	scrape := sensors(s, io.Discard, false)
	if n := testing.AllocsPerRun(10, scrape); n > 10 {
		t.Errorf("%v allocations for 4000 series", n)
	}
}
