package rows

import (
	"maps"
	"slices"
)

// Items are all that a sensor tells of itself in VIEW_SENSOR, in order.
func Items() []string { return slices.Sorted(maps.Keys(itemHelp())) }

// ItemHelp is the help text of netmon_ITEM, a figure that a sensor tells of itself
// in VIEW_SENSOR. Sensor and server show the same.
func ItemHelp(item string) string {
	if help, ok := itemHelp()[item]; ok {
		return help
	}
	return "The sensor's own figure " + item + "."
}

func itemHelp() map[string]string {
	return map[string]string{
		"frames_total":           "Frames read, by what became of them (detail: decoded, or the reason why not).",
		"link_bytes_total":       "Bytes of the frames read, link layer included.",
		"ip_bytes_total":         "IP bytes counted.",
		"packets_filtered_total": "IP packets read and left out by the configuration.",
		"flows":                  "Flows in the table.",
		"flow_table_bytes":       "Memory of the flow table.",
		"flows_evicted_total":    "Flows exported early because the table was full.",
		"flows_overflowed_total": "Packets counted without their flow because the table was full of flows not yet harvested.",
		"packets_held":           "Packets counted whose flow may still show its own name.",
		"dns_malformed_total":    "DNS messages that ended early or made no sense.",
		"names_invalid_total":    "Names seen that are no valid domain name.",
		"names_overflowed_total": "Evidence given up because a bound was reached (detail: heads, streams, transactions, resolvers, facts, hints, book).",
		"log_gaps_total":         "Times that the sensor was not there, by how the one before it ended (detail: stopped, killed).",
		"log_gap_seconds_total":  "How long nothing was counted because of that, whole seconds begun each time.",
		"audit_imbalance":        "Packets decoded less those accounted and held; not 0 is a fault of the sensor.",

		"capture_longest_hold_seconds": "The longest time that a shard held a block of the ring, since the last window.",
		"capture_waiting_packets":      "Packets that the kernel put into the ring and that no window has counted yet.",
		"coverage_ratio":               "Packets read of those that the interface itself counted while it was captured.",
		"interface_packets_total":      "Packets that the interface itself counted while it was captured (detail: received, sent).",
		"interface_bytes_total":        "Bytes that the interface itself counted while it was captured, link layer included (detail: received, sent).",

		"wire_packets_estimated_total": "Packets on the wire that the IP packets read stand for, estimated.",
		"tcp_unseen_bytes_total":       "Bytes that TCP acknowledged and that were not seen.",
		"tcp_unseen_overflowed_total":  "Gaps in TCP streams that were not followed because there were too many.",
		"fragments_overflowed_total":   "First fragments forgotten before their time because there were too many.",

		"memory_ceiling_bytes": "What the sensor's memory may come to where every bound is reached at once.",

		"capture_packets_total": "Packets that passed the filter, dropped ones included, as the kernel counts.",
		"capture_dropped_total": "Packets for which the kernel had no room in the ring.",
		"capture_freezes_total": "How often a ring was full.",
		"capture_skipped_total": "Packets in the ring that were not ours: of an interface not captured, or from before the filter.",
		"capture_damaged_total": "Packets not read because the ring contradicted itself.",
		"capture_ring_bytes":    "Memory of the ring.",

		"interface_info":            "An address of an interface (detail: its MAC address).",
		"interface_up":              "1 while the interface is there and up.",
		"capture_errors_total":      "Questions about rings and interfaces that the kernel did not answer, and changes that it refused.",
		"interfaces_refused":        "Interfaces selected and not captured because there were too many.",
		"names_evicted_total":       "Answers forgotten because there were too many.",
		"names_known":               "Names in the join's book.",
		"rows":                      "Rows of a view (detail) in use.",
		"rows_overflowed_total":     "Additions to the row (other) because a view (detail) was full.",
		"rows_retired_total":        "Rows of a view (detail) that were idle or displaced.",
		"named_bytes_ratio":         "Share of the bytes counted since the sensor's start that have a name; excluded ones are in neither.",
		"named_connections_ratio":   "Share of the connections counted since the sensor's start that have a name; excluded ones are in neither.",
		"ech_flows_total":           "Flows whose ClientHello carries another or pretends to, by the name they got (detail: outer_name, client_lookup; ordinary: the name is no known cover).",
		"clients_overflowed_total":  "Flows to encrypted resolvers whose client was not remembered because there were too many.",
		"active_connections":        "Connections by protocol and state (detail).",
		"accesses_overflowed_total": "Connections counted as accesses because too many recent ones were remembered.",

		"reported_totals_total":                 "What an agent reports as JSON: its own totals (detail).",
		"reported_ports_total":                  "What an agent reports as JSON: packets by port (detail).",
		"reported_process_connections_total":    "What an agent reports as JSON: connections of the processes on top (detail: the name).",
		"reported_process_bytes_sent_total":     "What an agent reports as JSON: bytes sent by the processes on top (detail: the name).",
		"reported_process_bytes_received_total": "What an agent reports as JSON: bytes received by the processes on top (detail: the name).",
	}
}
