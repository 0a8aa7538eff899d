package rows

// Reasons say why traffic has no name: Key.detail of the rows "(unattributed)" of
// VIEW_DOMAINS. Where several hold, the first counts: what the flow itself shows
// stands before what was seen around it. docs/metrics.md explains them.
func Reasons() []string {
	return []string{"not_tcp_udp", "dns", "address_literal", "parser_limit", "began_before", "encrypted_dns", "no_lookup"}
}
