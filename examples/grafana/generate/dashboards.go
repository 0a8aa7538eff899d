package main

// Expressions that several panels share. $__rate_interval is Grafana's: long
// enough for four scrapes.
const (
	all    = `host=~"$host",interface=~"$interface"`
	domain = all + `,domain=~"$domain"`
	hosts  = `host=~"$host"`

	// real leaves out what stands for retired rows: their past moves there, and
	// would look like traffic.
	real = `,domain!="(retired)"`
)

// rate is the growth per second of a counter, summed by labels.
func rate(metric, matchers, by string) string {
	e := "sum"
	if by != "" {
		e += " by (" + by + ")"
	}
	return e + " (rate(" + metric + "{" + matchers + "}[$__rate_interval]))"
}

// bothWays adds what was sent to what was received.
func bothWays(prefix, matchers, by string) string {
	return rate(prefix+"_sent_total", matchers, by) + " + " + rate(prefix+"_received_total", matchers, by)
}

// top keeps the ten highest.
func top(expr string) string { return "topk(10, " + expr + ")" }

// total is what a counter grew by over the dashboard's time.
func total(metric, matchers, by string) string {
	return "sum by (" + by + ") (increase(" + metric + "{" + matchers + "}[$__range]))"
}

// quantile of a histogram.
func quantile(q, metric, matchers, by string) string {
	if by != "" {
		by = ", " + by
	}
	return "histogram_quantile(" + q + ", sum by (le" + by + ") (rate(" + metric + "_bucket{" + matchers + "}[$__rate_interval])))"
}

// namedShare is the part of bytes that has a name.
func namedShare(by string) string {
	return "1 - " + rate("network_unattributed_bytes_total", all, by) + " / " + rate("network_attributed_bytes_total", all, by)
}

var (
	hostVariable      = variable{"host", "Host", "network_bytes_sent_total"}
	interfaceVariable = variable{"interface", "Interface", `network_bytes_sent_total{host=~"$host"}`}
	domainVariable    = variable{"domain", "Domain", `network_domain_connections_total{host=~"$host",interface=~"$interface"}`}
)

func dashboards() []dashboard {
	return []dashboard{overview(), domains(), hostsDashboard(), dns(), health()}
}

func overview() dashboard {
	return dashboard{
		uid: "overview", title: "Overview", about: "Who the machines talk to, how much, and how well that is known.",
		variables: []variable{hostVariable, interfaceVariable},
		rows: []row{
			{height: 4, panels: []panel{
				{kind: stat, title: "Traffic", unit: bytesPerSecond, help: "IP bytes in both directions.", queries: []query{{expr: bothWays("network_bytes", all, "")}}},
				{kind: stat, title: "New connections", unit: perSecond, queries: []query{{expr: rate("network_connections_total", all, "")}}},
				{kind: stat, title: "Bytes with a name", unit: share, help: "Excluded names count as named.",
					queries: []query{{expr: namedShare("")}}, good: []threshold{{"orange", 0}, {"green", 0.8}}},
				{kind: stat, title: "Sensors up", unit: count, queries: []query{{expr: `sum(netmon_server_sensor_up{host=~"$host"})`}}, good: []threshold{{"red", 0}, {"green", 1}}},
				{kind: stat, title: "Packets dropped by kernels", unit: packets, help: "Rings without room: give them more ring_memory.",
					queries: []query{{expr: rate("netmon_capture_dropped_total", hosts, "")}}, good: []threshold{{"green", 0}, {"red", 0.001}}},
				{kind: stat, title: "Imbalance", unit: count, help: "Packets that were decoded and are accounted nowhere. Anything but 0 is a fault of netmon's.",
					queries: []query{{expr: `sum(abs(netmon_audit_imbalance{host=~"$host"}))`}}, good: []threshold{{"green", 0}, {"red", 1}}},
			}},
			{height: 9, panels: []panel{
				{kind: graph, title: "Traffic by host", unit: bytesPerSecond, help: "Sent above, received below.", queries: []query{
					{expr: rate("network_bytes_sent_total", all, "host"), legend: "{{host}} sent"},
					{expr: rate("network_bytes_received_total", all, "host"), legend: "{{host}} received", mirrored: true},
				}},
				{kind: graph, title: "Top domains", unit: bytesPerSecond, queries: []query{{expr: top(bothWays("network_domain_bytes", all+real, "domain")), legend: "{{domain}}"}}},
			}},
			{height: 9, panels: []panel{
				{kind: bars, title: "Most accessed domains", unit: count, help: "Accesses since the sensors' start.", queries: []query{
					{expr: top(`sum by (domain) (network_domains_accessed_total{` + all + `})`), legend: "{{domain}}"}}},
				{kind: bars, title: "Most accessed addresses", unit: count, queries: []query{
					{expr: top(`sum by (ip) (network_ips_accessed_total{` + all + `})`), legend: "{{ip}}"}}},
				{kind: graph, title: "Packets by application", unit: packets, queries: []query{{expr: top(rate("network_protocol_stats", all, "protocol")), legend: "{{protocol}}"}}},
			}},
			{height: 8, panels: []panel{
				{kind: graph, title: "Where names come from", unit: bytesPerSecond, queries: []query{{expr: rate("network_attributed_bytes_total", all, "source"), legend: "{{source}}"}}},
				{kind: graph, title: "Why bytes have no name", unit: bytesPerSecond, queries: []query{{expr: rate("network_unattributed_bytes_total", all, "reason"), legend: "{{reason}}"}}},
				{kind: graph, title: "Connections now", unit: count, queries: []query{{expr: `sum by (protocol, state) (network_active_connections{` + all + `})`, legend: "{{protocol}} {{state}}"}}},
			}},
		},
	}
}

func domains() dashboard {
	return dashboard{
		uid: "domains", title: "Domains", about: "One domain or several: how much, how often, from where.",
		variables: []variable{hostVariable, interfaceVariable, domainVariable},
		rows: []row{
			{height: 9, panels: []panel{
				{kind: graph, title: "Sent to", unit: bytesPerSecond, queries: []query{{expr: top(rate("network_domain_bytes_sent_total", domain+real, "domain")), legend: "{{domain}}"}}},
				{kind: graph, title: "Received from", unit: bytesPerSecond, queries: []query{{expr: top(rate("network_domain_bytes_received_total", domain+real, "domain")), legend: "{{domain}}"}}},
			}},
			{height: 9, panels: []panel{
				{kind: graph, title: "New connections", unit: perSecond, queries: []query{{expr: top(rate("network_domain_connections_total", domain+real, "domain")), legend: "{{domain}}"}}},
				{kind: graph, title: "Accesses", unit: perSecond, help: "Connections of a client that begin more than 30 s after its previous one.", queries: []query{
					{expr: top(rate("network_domains_accessed_total", domain+real, "domain")), legend: "{{domain}}"}}},
			}},
			{height: 10, panels: []panel{
				{kind: table, title: "Over the time shown", unit: count, width: 14, queries: []query{
					{expr: "topk(100, " + total("network_domain_bytes_sent_total", domain+real, "domain") + ")"},
					{expr: "topk(100, " + total("network_domain_bytes_received_total", domain+real, "domain") + ")"},
					{expr: "topk(100, " + total("network_domain_connections_total", domain+real, "domain") + ")"},
				}},
				{kind: bars, title: "By host", unit: byteCount, queries: []query{
					{expr: top(total("network_domain_bytes_received_total", domain+real, "host") + " + " + total("network_domain_bytes_sent_total", domain+real, "host")), legend: "{{host}}"}}},
			}},
			{height: 8, panels: []panel{
				{kind: graph, title: "By direction", unit: bytesPerSecond, queries: []query{{expr: bothWays("network_domain_bytes", domain+real, "direction"), legend: "{{direction}}"}}},
				{kind: graph, title: "Beyond the budget of rows", unit: bytesPerSecond, help: "Names without a row of their own: raise views { max_rows } if there is much.", queries: []query{
					{expr: bothWays("network_domain_bytes", all+`,domain=~"\\(other\\)|\\(unattributed\\)|\\(excluded\\)"`, "domain"), legend: "{{domain}}"}}},
			}},
		},
	}
}

func hostsDashboard() dashboard {
	return dashboard{
		uid: "hosts", title: "Hosts", about: "Each host: its interfaces, connections and the health of TCP.",
		variables: []variable{hostVariable, interfaceVariable},
		rows: []row{
			{height: 9, panels: []panel{
				{kind: graph, title: "Traffic by interface", unit: bytesPerSecond, queries: []query{
					{expr: rate("network_bytes_sent_total", all, "host, interface"), legend: "{{host}} {{interface}} sent"},
					{expr: rate("network_bytes_received_total", all, "host, interface"), legend: "{{host}} {{interface}} received", mirrored: true},
				}},
				{kind: graph, title: "Packets", unit: packets, queries: []query{
					{expr: rate("network_packets_sent_total", all, "host"), legend: "{{host}} sent"},
					{expr: rate("network_packets_received_total", all, "host"), legend: "{{host}} received", mirrored: true},
				}},
			}},
			{title: "TCP", height: 8, panels: []panel{
				{kind: graph, title: "Handshake, SYN to SYN+ACK", unit: seconds, queries: []query{
					{expr: quantile("0.5", "network_tcp_handshake_seconds", all+`,stage="syn_ack"`, "host"), legend: "{{host}} median"},
					{expr: quantile("0.95", "network_tcp_handshake_seconds", all+`,stage="syn_ack"`, "host"), legend: "{{host}} 95 %"},
				}},
				{kind: graph, title: "Sent again", unit: bytesPerSecond, help: "TCP payload below the highest sequence number seen.", queries: []query{
					{expr: rate("network_tcp_retransmitted_bytes_total", all, "host"), legend: "{{host}}"}}},
				{kind: graph, title: "Connections that failed", unit: perSecond, queries: []query{
					{expr: rate("network_tcp_resets_total", all, "host"), legend: "{{host}} reset"},
					{expr: rate("network_tcp_refused_total", all, "host"), legend: "{{host}} refused"},
					{expr: rate("network_tcp_unanswered_total", all, "host"), legend: "{{host}} unanswered"},
				}},
			}},
			{height: 8, panels: []panel{
				{kind: graph, title: "Connections now", unit: count, queries: []query{{expr: `sum by (host, protocol, state) (network_active_connections{` + all + `})`, legend: "{{host}} {{protocol}} {{state}}"}}},
				{kind: graph, title: "New connections", unit: perSecond, queries: []query{{expr: rate("network_connections_total", all, "host, protocol, direction"), legend: "{{host}} {{protocol}} {{direction}}"}}},
				{kind: graph, title: "How long connections last", unit: seconds, queries: []query{
					{expr: quantile("0.5", "network_connection_duration_seconds", all, "protocol"), legend: "{{protocol}} median"},
					{expr: quantile("0.95", "network_connection_duration_seconds", all, "protocol"), legend: "{{protocol}} 95 %"},
				}},
			}},
			{height: 7, panels: []panel{
				{kind: table, title: "Interfaces", unit: count, queries: []query{{expr: `network_interface_info{` + all + `}`}}},
			}},
		},
	}
}

func dns() dashboard {
	return dashboard{
		uid: "dns", title: "DNS", about: "What is asked, what is answered and how fast.",
		variables: []variable{hostVariable, interfaceVariable},
		rows: []row{
			{height: 4, panels: []panel{
				{kind: stat, title: "Queries", unit: perSecond, queries: []query{{expr: rate("network_dns_queries_total", all, "")}}},
				{kind: stat, title: "Median answer", unit: seconds, queries: []query{{expr: quantile("0.5", "network_dns_response_seconds", all, "")}}},
				{kind: stat, title: "95 % of answers within", unit: seconds, queries: []query{{expr: quantile("0.95", "network_dns_response_seconds", all, "")}}},
				{kind: stat, title: "Not answered well", unit: share, help: "Neither NOERROR nor NXDOMAIN.", queries: []query{
					{expr: rate("network_dns_queries_total", all+`,rcode!~"NOERROR|NXDOMAIN"`, "") + " / " + rate("network_dns_queries_total", all, "") + " or vector(0)"}},
					good: []threshold{{"green", 0}, {"orange", 0.01}, {"red", 0.1}}},
			}},
			{height: 9, panels: []panel{
				{kind: graph, title: "Queries by type", unit: perSecond, queries: []query{{expr: rate("network_dns_queries_total", all, "type"), legend: "{{type}}"}}},
				{kind: graph, title: "Answers by code", unit: perSecond, queries: []query{{expr: rate("network_dns_queries_total", all, "rcode"), legend: "{{rcode}}"}}},
			}},
			{height: 9, panels: []panel{
				{kind: graph, title: "Time to answer", unit: seconds, queries: []query{
					{expr: quantile("0.5", "network_dns_response_seconds", all, ""), legend: "median"},
					{expr: quantile("0.95", "network_dns_response_seconds", all, ""), legend: "95 %"},
					{expr: quantile("0.99", "network_dns_response_seconds", all, ""), legend: "99 %"},
				}},
				{kind: graph, title: "Queries by host", unit: perSecond, queries: []query{{expr: rate("network_dns_queries_total", all, "host"), legend: "{{host}}"}}},
			}},
		},
	}
}

func health() dashboard {
	return dashboard{
		uid: "health", title: "Sensor health", about: "What the sensors saw, what they missed, and how they are.",
		variables: []variable{hostVariable, interfaceVariable},
		rows: []row{
			{height: 4, panels: []panel{
				{kind: stat, title: "Sensors", unit: count, queries: []query{{expr: `netmon_server_sensor_up{host=~"$host"}`, legend: "{{host}}"}}, good: []threshold{{"red", 0}, {"green", 1}}},
				{kind: stat, title: "Coverage", unit: share, help: "Packets seen of those that the interfaces counted; the worst interface.",
					queries: []query{{expr: `min(netmon_coverage_ratio{` + all + `})`}}, good: []threshold{{"red", 0}, {"orange", 0.99}, {"green", 0.999}}},
				{kind: stat, title: "Imbalance", unit: count, queries: []query{{expr: `sum(abs(netmon_audit_imbalance{host=~"$host"}))`}}, good: []threshold{{"green", 0}, {"red", 1}}},
				{kind: stat, title: "Longest hold of a block", unit: seconds, queries: []query{{expr: `max(netmon_capture_longest_hold_seconds{host=~"$host"})`}}},
			}},
			{title: "Capture", height: 8, panels: []panel{
				{kind: graph, title: "Frames", unit: packets, queries: []query{{expr: rate("netmon_frames_total", all, "host, detail"), legend: "{{host}} {{detail}}"}}},
				{kind: graph, title: "Dropped by the kernel", unit: packets, queries: []query{{expr: rate("netmon_capture_dropped_total", hosts, "host"), legend: "{{host}}"}}},
				{kind: graph, title: "Coverage", unit: share, queries: []query{{expr: `netmon_coverage_ratio{` + all + `}`, legend: "{{host}} {{interface}}"}}},
			}},
			{title: "Bounds", height: 8, panels: []panel{
				{kind: graph, title: "Flows", unit: count, queries: []query{{expr: `sum by (host) (netmon_flows{host=~"$host"})`, legend: "{{host}}"}}},
				{kind: graph, title: "Rows by view", unit: count, queries: []query{{expr: `sum by (host, detail) (netmon_rows{host=~"$host"})`, legend: "{{host}} {{detail}}"}}},
				{kind: graph, title: "Bounds reached", unit: perSecond, help: "Detail that was lost; the totals are whole.", queries: []query{
					{expr: rate("netmon_rows_overflowed_total", hosts, "host"), legend: "{{host}} rows"},
					{expr: rate("netmon_flows_evicted_total", hosts, "host"), legend: "{{host}} flows"},
					{expr: rate("netmon_names_overflowed_total", hosts, "host"), legend: "{{host}} names"},
				}},
			}},
			{title: "Server", height: 8, panels: []panel{
				{kind: graph, title: "Windows and snapshots taken", unit: perSecond, queries: []query{{expr: `sum by (item, result) (rate(netmon_server_ingested_total[$__rate_interval]))`, legend: "{{item}} {{result}}"}}},
				{kind: graph, title: "Rows kept", unit: count, queries: []query{{expr: `netmon_server_rows`, legend: "{{instance}}"}}},
				{kind: graph, title: "Behind", unit: seconds, help: "Age of the newest window of each sensor.", queries: []query{
					{expr: `time() - netmon_server_sensor_window_end_timestamp_seconds{host=~"$host"}`, legend: "{{host}}"}}},
			}},
		},
	}
}
