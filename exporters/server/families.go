package server

// kind is the type of a family, as both exposition formats call it; in
// OpenMetrics untyped is unknown.
type kind string

const (
	isCounter   kind = "counter"
	isGauge     kind = "gauge"
	isHistogram kind = "histogram"
	isUntyped   kind = "untyped"
)

// family is a metric of the network: which series it shows and what of them.
type family struct {
	name  string
	kind  kind
	group groupID
	// The value is the sum of two counters; the second may be none.
	value, plus counter
	histograms  []observed
	bounds      bounds
	help        string
	column      int // of the group's values in a picture
}

// observed is a histogram with a further label, as `name="value"`; "" for none.
type observed struct {
	histogramID
	label string
}

// bounds are the upper bounds of a histogram's buckets as the label le shows
// them; the sensor counts by the same.
type bounds []string

func latencyBounds() bounds {
	return bounds{"0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5"}
}

// families is the list of what is shown of the network, in the order in which it is
// shown. `docs/metrics.md` explains them.
func families() []family {
	latency := latencyBounds()
	lifetime := bounds{"0.01", "0.1", "1", "10", "60", "300", "1800", "3600", "21600", "86400"}
	return inColumns([]family{
		{name: "network_domains_accessed_total", kind: isCounter, group: byDomain, value: accesses, plus: none,
			help: "Accesses to a domain: connections of a client to it that begin more than 30 s after its previous one."},
		{name: "network_domain_bytes_sent_total", kind: isCounter, group: byDomain, value: bytesSent, plus: none,
			help: "IP bytes sent to a domain, from our side; without one, from the initiator."},
		{name: "network_domain_bytes_received_total", kind: isCounter, group: byDomain, value: bytesReceived, plus: none,
			help: "IP bytes received from a domain, by our side; without one, by the initiator."},
		{name: "network_domain_connections_total", kind: isCounter, group: byDomain, value: connections, plus: none,
			help: "Connections to a domain: flows of a protocol with ports that began."},
		{name: "network_attributed_bytes_total", kind: isCounter, group: bySource, value: bytesSent, plus: bytesReceived,
			help: "IP bytes in both directions by the evidence for the domain; none: no domain is known, or the evidence is not, in rows (other) and (retired)."},
		{name: "network_unattributed_bytes_total", kind: isCounter, group: byReason, value: bytesSent, plus: bytesReceived,
			help: "IP bytes in both directions without a domain, by the reason why there is none."},
		{name: "network_ips_accessed_total", kind: isCounter, group: byAddress, value: accesses, plus: none,
			help: "Accesses by the address of the remote end, counted as those of domains."},
		{name: "network_connections_total", kind: isCounter, group: byProtocolSide, value: connections, plus: none,
			help: "Connections that began, by IP protocol and by the side that began them."},
		{name: "network_bytes_sent_total", kind: isCounter, group: byProtocol, value: bytesSent, plus: none,
			help: "IP bytes sent, by IP protocol."},
		{name: "network_bytes_received_total", kind: isCounter, group: byProtocol, value: bytesReceived, plus: none,
			help: "IP bytes received, by IP protocol."},
		{name: "network_packets_sent_total", kind: isCounter, group: byProtocol, value: packetsSent, plus: none,
			help: "IP packets sent, by IP protocol."},
		{name: "network_packets_received_total", kind: isCounter, group: byProtocol, value: packetsReceived, plus: none,
			help: "IP packets received, by IP protocol."},
		{name: "network_protocol_stats", kind: isUntyped, group: byApplication, value: packetsSent, plus: packetsReceived,
			help: "IP packets in both directions, by application protocol where it is known, else by IP protocol. Only ever grows."},
		{name: "network_active_connections", kind: isGauge, group: byState,
			help: "TCP connections by the state of our end, and UDP flows of the last minute, as of the last window."},
		{name: "network_connection_duration_seconds", kind: isHistogram, group: byProtocol, histograms: []observed{{duration, ""}}, bounds: lifetime,
			help: "How long connections lasted that are over, first to last packet."},
		{name: "network_tcp_handshake_seconds", kind: isHistogram, group: byInterface, bounds: latency,
			histograms: []observed{{handshake, `stage="syn_ack"`}, {handshakeACK, `stage="ack"`}},
			help:       "Time from a TCP connection's first SYN to the SYN with ACK that answers it, and to the ACK of that."},
		{name: "network_tcp_retransmitted_bytes_total", kind: isCounter, group: byDirection, value: retransmitted, plus: none,
			help: "TCP payload that begins below the highest sequence number seen before it, in both directions: sent again, or out of order."},
		{name: "network_tcp_resets_total", kind: isCounter, group: byDirection, value: resets, plus: none,
			help: "TCP connections in which a RST was seen."},
		{name: "network_tcp_refused_total", kind: isCounter, group: byDirection, value: refused, plus: none,
			help: "TCP connections whose SYN was answered by a RST."},
		{name: "network_tcp_unanswered_total", kind: isCounter, group: byDirection, value: unansweredSYNs, plus: none,
			help: "TCP connections whose SYN was not answered within 30 s."},
		{name: "network_dns_queries_total", kind: isCounter, group: byQuestion, value: dnsQueries, plus: none,
			help: "DNS queries on port 53, by type and by the response code of the answer."},
		{name: "network_dns_response_seconds", kind: isHistogram, group: byRcode, histograms: []observed{{dnsLatency, ""}}, bounds: latency,
			help: "Time from the first query of a DNS transaction to its answer."},
		{name: "network_interface_info", kind: isGauge, group: byIdentity,
			help: "1 for every address of an interface that is captured."},
	})
}

// inColumns gives each family that shows counters a column of its group.
func inColumns(all []family) []family {
	var used [numGroups]int
	for i := range all {
		if f := &all[i]; f.kind == isCounter || f.kind == isUntyped {
			f.column = used[f.group]
			used[f.group]++
		}
	}
	return all
}
