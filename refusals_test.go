package netmon_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Where something is refused or given up, a counter says so. The test below finds such
// places by what they look like:
//
//   - an error ends: a condition asks for it, and what follows neither hands it on nor
//     uses it for more than a line in a log;
//   - a bound is reached: a condition compares with a name that begins with max or limit;
//   - a channel is full: the default of a select.
//
// Each has to count, which is an increment, or a call of a function of countedBy, or to
// be among uncounted with the reason.

// watched are the packages on the way of packets, windows and answers. What reads a
// configuration or a capture file refuses once, in words, before anything runs.
var watched = []string{
	"sensor", "sensor/internal/capture", "sensor/internal/export", "sensor/internal/flow", "sensor/internal/names", "sensor/internal/packet",
	"sensor/internal/view", "sensor/internal/windowlog", "plugins", "exporters/push", "exporters/server",
}

// before are files of these that read and check what a user wrote, or print: they
// answer in words, and nothing runs yet.
var before = []string{
	"exporters/push/config.go", "exporters/server/config.go", "exporters/server/standalone.go",
	"plugins/diagnostics.go", "plugins/hclparse.go", "plugins/hclvalue.go", "plugins/values.go",
	"sensor/ceiling.go", "sensor/doctorcommand.go", "sensor/explanation.go", "sensor/topcommand.go",
	"sensor/internal/capture/pcap.go", "sensor/internal/capture/pcapng.go", "sensor/internal/export/find.go",
}

// countedBy are functions that count, by package, with the metrics that show it. They
// increment something themselves, or call another one.
var countedBy = map[string]string{
	"exporters/server fail":           "netmon_server_refusals_total, netmon_server_store_failures_total",
	"exporters/server note":           "netmon_server_requests_total, netmon_server_sensor_pushes_total, netmon_server_refusals_total",
	"exporters/push note":             "netmon_exporter_failures_total",
	"plugins note":                    "netmon_exporter_failures_total",
	"sensor/internal/export failed":   "netmon_exporter_failures_total",
	"sensor/internal/names hint":      "network_unattributed_bytes_total", // a reason of the flow
	"sensor/internal/windowlog fared": "netmon_log_errors_total",
}

// toTheSensor is how push has the sensor count, in netmon_exporter_failures_total.
const toTheSensor = "e.failed"

type known struct {
	places int
	why    string
}

// uncounted are the places without a counter of their own, by function: how
// many there are, and why, or where it is counted.
var uncounted = map[string]known{
	"exporters/push addresses":                    {2, "16 addresses of this machine are told, which counts nothing"},
	"exporters/push heartbeatURL":                 {1, "a URL that does not end as netmon's has no heartbeats, as the docs say"},
	"exporters/push withoutSecrets":               {1, "says that a URL is none; posting to it counts in netmon_exporter_failures_total"},
	"exporters/server Exporter.take":              {1, "the sensor is told where to go on; counted in netmon_server_ingested_total"},
	"exporters/server disk.batch":                 {1, "nothing waits any more"},
	"exporters/server disk.beginCheckpoint":       {1, "none is due"},
	"exporters/server gate.enter":                 {1, "goes on to wait; who may not counts in netmon_server_refusals_total"},
	"exporters/server histogram.quantile":         {1, "the last bucket has no bound"},
	"exporters/server outcomeOf":                  {1, "no outcome of the store's"},
	"exporters/server peerOf":                     {1, "a peer without an address is charged by its name"},
	"exporters/server printable":                  {1, "who asks refuses, in netmon_server_refusals_total"},
	"exporters/server service.answer":             {1, "answers 500, in netmon_server_requests_total"},
	"exporters/server service.certificateEnd":     {2, "no netmon_server_certificate_not_after_timestamp_seconds is shown; handshakes fail, and say so"},
	"exporters/server service.events":             {2, "the listener is gone; netmon_server_requests_total has it"},
	"exporters/server service.login":              {1, "the toolkit reads the same file, and its answer counts in netmon_server_refusals_total"},
	"exporters/server summary.add":                {1, "leaves out a ratio that is no number"},
	"exporters/server service.sweep":              {1, "the store counted it, in netmon_server_store_failures_total"},
	"exporters/server service.take":               {1, "said once; counted in netmon_server_ingested_total"},
	"exporters/server shared.add":                 {1, "a checkpoint is due; one that fails counts in netmon_server_store_failures_total"},
	"exporters/server shared.refresh":             {1, "it was kicked already"},
	"exporters/server state.bury":                 {2, "counted at the end, in netmon_server_series_given_up_total"},
	"exporters/server sums.add":                   {3, "the change is refused, in netmon_server_refusals_total"},
	"exporters/server validItem":                  {1, "who asks refuses, in netmon_server_refusals_total"},
	"plugins failures.note":                       {1, "counted as other, in netmon_exporter_failures_total"},
	"plugins service.retire":                      {1, "another exporter runs in its place already"},
	"plugins service.shutdownIn":                  {1, "the process ends; one that had to be killed counts in netmon_exporter_failures_total"},
	"sensor Sensor.Run":                           {3, "exporters that do not answer count as netmon_exporter_restarts_total; at the end there is nobody to ask, and the log says it"},
	"sensor guard":                                {1, "a host without a port; what is refused counts in netmon_status_refusals_total"},
	"sensor newest.add":                           {1, "the page shows so many flows, and nothing else"},
	"sensor newest.learned":                       {1, "the page shows so many answers, and nothing else"},
	"sensor notify":                               {1, "the service manager was not told, and ends the unit if it cares"},
	"sensor shard.harvest":                        {1, "the epoch grows, and nothing is given up"},
	"sensor sink.Run":                             {1, "the exporter was taken out of the configuration"},
	"sensor status.serve":                         {1, "without its listener there is nobody to show a counter to"},
	"sensor status.serveTop":                      {2, "counted by whoever answers, in netmon_status_refusals_total"},
	"sensor/internal/capture allowedCPUs":         {1, "threads are not pinned"},
	"sensor/internal/capture defaultDevices":      {1, "no route leads there: its interface is not captured, netmon_ready_reason"},
	"sensor/internal/capture peek":                {2, "another way of reading the ring is taken, and the sensor says so at its start"},
	"sensor/internal/capture tpacket.read":        {1, "nothing has come"},
	"sensor/internal/capture watcher.run":         {1, "goes on"},
	"sensor/internal/export Launcher.read":        {2, "the launcher is gone, netmon_ready_reason; whoever waited was told"},
	"sensor/internal/export Sink.failed":          {1, "counted as other, in netmon_exporter_failures_total"},
	"sensor/internal/export Sink.judge":           {1, "warnings for settings that are in use"},
	"sensor/internal/export launches.serve":       {1, "the sensor is gone, and the launcher ends"},
	"sensor/internal/export children":             {1, "a thread that is gone has no children"},
	"sensor/internal/export isClosed":             {1, "a question"},
	"sensor/internal/export received":             {2, "an order without its descriptors is answered by an error, and the exporter is started again: netmon_exporter_restarts_total"},
	"sensor/internal/export stderrLog.copy":       {1, "the end; what was left out counts in netmon_exporter_failures_total"},
	"sensor/internal/flow Table.makeRoom":         {1, "there is room"},
	"sensor/internal/flow acknowledge":            {1, "an acknowledgement from elsewhere says nothing"},
	"sensor/internal/flow later":                  {1, "the end of time"},
	"sensor/internal/flow state.sequence":         {2, "a segment from elsewhere in the stream is no retransmission, as docs/metrics.md says"},
	"sensor/internal/flow state.usual":            {1, "the quick way"},
	"sensor/internal/names Observer.Fragment":     {1, "no datagram ends there: no DNS"},
	"sensor/internal/names Observer.keepSegment":  {1, "makes room in a buffer"},
	"sensor/internal/names Observer.notQUIC":      {1, "may still be"},
	"sensor/internal/names Observer.tryKeys":      {1, "other keys are tried; the flow is in network_unattributed_bytes_total"},
	"sensor/internal/names appendNormal":          {1, "who asked counts, in netmon_names_invalid_total"},
	"sensor/internal/names arena.room":            {1, "who asked counts, in netmon_names_overflowed_total"},
	"sensor/internal/names assembly.insert":       {1, "512 holes: it comes again, or the flow is in network_unattributed_bytes_total"},
	"sensor/internal/names dnsParser.keep":        {1, "the other links of a long chain lead to no name, and the flow is in network_unattributed_bytes_total"},
	"sensor/internal/names dnsParser.name":        {1, "counted by who reads the message, in netmon_dns_malformed_total"},
	"sensor/internal/names newGenerations":        {1, "0 is no bound"},
	"sensor/internal/names opener.open":           {1, "no packet of the keys at hand; the flow is in network_unattributed_bytes_total"},
	"sensor/internal/view interfaces.id":          {1, "capture refuses interfaces before: netmon_interfaces_refused"},
	"sensor/internal/view table.cut":              {1, "prune counts, in netmon_rows_overflowed_total"},
	"sensor/internal/view table.meet":             {1, "prune counts, in netmon_rows_overflowed_total"},
	"sensor/internal/windowlog Disk.open":         {1, "the error goes on below"},
	"sensor/internal/windowlog NewMemory":         {1, "a default"},
	"sensor/internal/windowlog Open":              {2, "defaults"},
	"sensor/internal/windowlog boltStore.measure": {1, "netmon_log_bytes stays as it was"},
	"sensor/internal/windowlog checkFile":         {1, "there is no file yet"},
	"sensor/internal/windowlog core.SetCursor":    {1, "the 257th exporter: the one that is furthest behind is sent the snapshot, should it return"},
	"sensor/internal/windowlog gather.add":        {2, "windows add up: netmon_log_gathered_windows; the writer was woken already"},
	"sensor/internal/windowlog isClosed":          {1, "a question"},
	"sensor/internal/windowlog openBolt":          {1, "the error goes on below"},
}

func TestEveryRefusalIsCounted(t *testing.T) {
	found := map[string][]string{}
	counting := map[string]bool{}
	for _, dir := range watched {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") || slices.Contains(before, path) {
				continue
			}
			for where, places := range refusals(t, path, counting) {
				found[where] = append(found[where], places...)
			}
		}
	}
	for _, where := range slices.Sorted(maps.Keys(found)) {
		if u := uncounted[where]; u.places != len(found[where]) {
			t.Errorf("%s refuses or gives up in %d places without a counter, and %d are known:\n\t%s", where, len(found[where]), u.places, strings.Join(found[where], "\n\t"))
		}
	}
	for where := range uncounted {
		if found[where] == nil {
			t.Errorf("%s has no such place any more", where)
		}
	}
	documented, err := os.ReadFile("docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := func(where, text string) {
		for _, metric := range regexp.MustCompile(`(netmon|network)_[a-z_]+`).FindAllString(text, -1) {
			if !strings.Contains(string(documented), "`"+metric) {
				t.Errorf("%s: docs/metrics.md has no %s", where, metric)
			}
		}
	}
	for where, u := range uncounted {
		shown(where, u.why)
	}
	for f, metrics := range countedBy {
		if shown(f, metrics); !counting[f] {
			t.Errorf("no %s counts, or there is one that does not", f)
		}
	}
}

// Packages that have no errors refuse by what they do not do, which looks like
// anything else. There the counters themselves are known: in how many places each grows.
var counters = map[string]int{
	"exporters/push failures":                      1,
	"exporters/server failures":                    6,
	"exporters/server overflowed":                  1,
	"exporters/server refused":                     1,
	"sensor overflowed":                            2,
	"sensor/internal/capture Errors":               4,
	"sensor/internal/capture damaged":              1,
	"sensor/internal/capture errors":               5,
	"sensor/internal/capture refused":              2,
	"sensor/internal/capture skipped":              3,
	"sensor/internal/export Skipped":               1,
	"sensor/internal/export failures":              2,
	"sensor/internal/flow Evicted":                 1,
	"sensor/internal/flow HolesOverflowed":         1,
	"sensor/internal/flow Overflowed":              2,
	"sensor/internal/flow overflowed":              1,
	"sensor/internal/names DNSMalformed":           2,
	"sensor/internal/names Evicted":                3,
	"sensor/internal/names FactsOverflowed":        2,
	"sensor/internal/names HeadsOverflowed":        6,
	"sensor/internal/names HintsOverflowed":        1,
	"sensor/internal/names NamesInvalid":           3,
	"sensor/internal/names Overflowed":             1,
	"sensor/internal/names RowsOverflowed":         1,
	"sensor/internal/names StreamsOverflowed":      4,
	"sensor/internal/names TransactionsOverflowed": 1,
	"sensor/internal/view overflowed":              4,
	"sensor/internal/view refused":                 1,
	"sensor/internal/view retired":                 2,
}

var counterNames = regexp.MustCompile(`(?i)(overflowed|evicted|retired|malformed|invalid|refused|skipped|damaged|failures|errors|unmapped)$`)

func TestNoCounterIsForgotten(t *testing.T) {
	grow := map[string]int{}
	for _, dir := range watched {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				field := ""
				switch n := n.(type) {
				case *ast.IncDecStmt:
					field = name(n.X)
				case *ast.AssignStmt:
					if n.Tok == token.ADD_ASSIGN {
						field = name(n.Lhs[0])
					}
				case *ast.CallExpr:
					if f, atomic := strings.CutSuffix(name(n.Fun), ".Add"); atomic {
						field = f
					}
				}
				if field = field[strings.LastIndex(field, ".")+1:]; counterNames.MatchString(field) {
					grow[dir+" "+field]++
				}
				return true
			})
		}
	}
	for _, c := range slices.Sorted(maps.Keys(grow)) {
		if grow[c] != counters[c] {
			t.Errorf("%s grows in %d places, and %d are known", c, grow[c], counters[c])
		}
	}
	for c := range counters {
		if grow[c] == 0 {
			t.Errorf("%s grows nowhere", c)
		}
	}
}

// refusals are the places of a file that do not count, by function. What functions of
// countedBy do is noted.
func refusals(t *testing.T, path string, counting map[string]bool) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, text, 0)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	found := map[string][]string{}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		where := filepath.Dir(path) + " " + f.Name.Name
		if f.Recv != nil {
			where = filepath.Dir(path) + " " + receiver(f.Recv.List[0].Type) + "." + f.Name.Name
		}
		if name := filepath.Dir(path) + " " + f.Name.Name; countedBy[name] != "" {
			before, known := counting[name]
			counting[name] = (before || !known) && counts(f.Body, filepath.Dir(path))
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			if n != nil && refuses(n) && !counts(n, filepath.Dir(path)) {
				at := set.Position(n.Pos()).Line
				found[where] = append(found[where], fmt.Sprintf("%s:%d: %s", path, at, strings.TrimSpace(lines[at-1])))
			}
			return true
		})
	}
	return found
}

// refuses tells whether a statement looks like a place where something is refused.
func refuses(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IfStmt:
		return asksForError(n.Cond) && !handsOn(n.Body) || comparesBound(n.Cond) && !handsOn(n.Body)
	case *ast.CaseClause:
		return slices.ContainsFunc(n.List, func(e ast.Expr) bool { return asksForError(e) || comparesBound(e) }) && !handsOn(n)
	case *ast.CommClause:
		return n.Comm == nil
	}
	return false
}

func isError(n ast.Node) bool {
	id, ok := n.(*ast.Ident)
	return ok && (strings.HasPrefix(id.Name, "err") && id.Name != "errors" || strings.HasPrefix(id.Name, "Err"))
}

// asksForError: err != nil, or errors.Is and As of it.
func asksForError(cond ast.Expr) bool {
	return contains(cond, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			right, ok := n.Y.(*ast.Ident)
			return ok && n.Op == token.NEQ && right.Name == "nil" && isError(n.X)
		case *ast.CallExpr:
			return strings.HasPrefix(name(n.Fun), "errors.")
		}
		return false
	})
}

var bound = regexp.MustCompile(`^(max|Max|limit|Limit)`)

func comparesBound(cond ast.Expr) bool {
	return contains(cond, func(n ast.Node) bool {
		b, ok := n.(*ast.BinaryExpr)
		return ok && (b.Op == token.GTR || b.Op == token.GEQ || b.Op == token.LSS || b.Op == token.LEQ) &&
			contains(b, func(n ast.Node) bool {
				id, ok := n.(*ast.Ident)
				return ok && bound.MatchString(id.Name)
			})
	})
}

// handsOn tells whether an error goes on: it is made, or used outside of a log.
func handsOn(body ast.Node) bool {
	found := false
	ast.Inspect(body, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			found = found || n != body && isError(n)
			return true
		}
		switch f := name(call.Fun); {
		case regexp.MustCompile(`(?i)log.*\.(Debug|Info|Warn|Error)$|\.(say|Event)$`).MatchString(f):
			return false
		case regexp.MustCompile(`^(refuse|busy|tooLarge|unreadable|unusable|damage|fmt\.Errorf|errors\.New|brokenAnswer|.*\.conflict|panic)$`).MatchString(f):
			found = true
		}
		return true
	})
	return found
}

// counts tells whether a statement that refuses also increments something, or calls a
// function that does.
func counts(n ast.Node, pkg string) bool {
	if i, ok := n.(*ast.IfStmt); ok {
		n = i.Body // what the condition counts is what it asks for
	}
	return contains(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IncDecStmt:
			return n.Tok == token.INC && isField(n.X)
		case *ast.AssignStmt:
			return n.Tok == token.ADD_ASSIGN && isField(n.Lhs[0])
		case *ast.CallExpr:
			f := name(n.Fun)
			atomic := strings.HasSuffix(f, ".Add") && strings.Count(f, ".") > 1 // of a field
			return atomic || f == toTheSensor || countedBy[pkg+" "+f[strings.LastIndex(f, ".")+1:]] != ""
		}
		return false
	})
}

// isField: a field or an element; a variable of the function is none.
func isField(e ast.Expr) bool {
	switch e.(type) {
	case *ast.SelectorExpr, *ast.IndexExpr:
		return true
	}
	return false
}

func contains(n ast.Node, is func(ast.Node) bool) bool {
	found := false
	ast.Inspect(n, func(n ast.Node) bool {
		found = found || n != nil && is(n)
		return !found
	})
	return found
}

// receiver is the name of the type of a method.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	}
	return name(e)
}

// name is an expression of names and dots as it is written, others in it left out.
func name(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return name(e.X) + "." + e.Sel.Name
	}
	return ""
}
