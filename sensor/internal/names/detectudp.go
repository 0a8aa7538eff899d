package names

import "encoding/binary"

// udp looks at a datagram, which is a whole message in most protocols.
func (d *detector) udp() (a Application) {
	switch c := d.b[0]; {
	case c == 'M' || c == 'N':
		a = d.when(AppSSDP, d.has("M-SEARCH * HTTP/1.1\r\n") || d.has("NOTIFY * HTTP/1.1\r\n"))
	case c == 'd':
		a = d.when(AppBitTorrent, d.has("d1:ad2:id20:") || d.has("d1:rd2:id20:") || d.has("d2:ip6:") && len(d.b) > 25 && hasPrefix(d.b[13:], "1:rd2:id20:"))
	case c == '<':
		a = d.when(AppSyslog, isSyslog(d.b))
	case c == 0x16:
		a = d.dtls()
	case c == 0x30:
		if a = d.ldap(); a == AppUnknown {
			a = d.snmp()
		}
	case c == 0x6a || c == 0x6c || c == 0x6b || c == 0x6d || c == 0x7e:
		a = d.when(AppKerberos, isKerberos(d.b))
	case c == 1 || c == 2:
		if a = d.wireguard(); a == AppUnknown {
			a = d.dhcp()
		}
	case c == 0x38 || c == 0x40 || c == 0x50:
		a = d.when(AppOpenVPN, isOpenVPN(d.b, d.n))
	case c >= 0x80 && c < 0xa0:
		a = d.when(AppRTP, isRTCP(d.b, d.n))
	case c >= 0xc0:
		a = d.quic()
	}
	if a != AppUnknown {
		return a
	}
	switch {
	case d.isSTUN():
		return AppSTUN
	case isIKE(d.b, d.n):
		return AppIKE
	case len(d.b) > 4 && be32(d.b) == 0 && isIKE(d.b[4:], d.n-4): // not ESP (RFC 3948, section 2.2)
		return AppIKE
	case d.has("\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00") && d.n == 16:
		return AppBitTorrent
	case isNFS(d.b):
		return AppNFS
	case isDNS(d.b, d.n, d.fromInitiator):
		return d.dns()
	}
	return d.sip()
}

// sip is over UDP what it is over TCP.
func (d *detector) sip() Application {
	if c := d.b[0]; c >= 'A' && c <= 'Z' {
		if a := httpLike(d.b); a == AppSIP {
			return a
		}
	}
	return AppUnknown
}

// quic is a long header of a known version, which has its fixed bit (RFC 9000,
// section 17.2) and connection ids of at most 20 bytes.
func (d *detector) quic() Application {
	b := d.b
	if len(b) < 7 {
		return AppUnknown
	}
	if _, ok := versionOf(be32(b[1:])); !ok || b[5] > 20 {
		return AppUnknown
	}
	if at := 6 + int(b[5]); at >= len(b) || b[at] > 20 {
		return AppUnknown
	}
	if d.port == 853 {
		return AppDoQ
	}
	return AppQUIC
}

// dtls is a handshake record of epoch 0 with a ClientHello, a ServerHello or a
// HelloVerifyRequest.
func (d *detector) dtls() Application {
	b := d.b
	return d.when(AppDTLS, len(b) >= 25 && b[1] == 0xfe && b[2] >= 0xfc && be16(b[3:]) == 0 &&
		be16(b[11:]) >= 12 && be16(b[11:]) <= d.n-13 && b[13] >= 1 && b[13] <= 3 && b[14] == 0)
}

// snmp is a sequence of a version and a community, and then of one of its
// operations; or of version 3 and the sequence that is its header.
func (d *detector) snmp() Application {
	tag, b, _ := berElement(d.b)
	if tag != 0x30 || len(b) < 6 || b[0] != 2 || b[1] != 1 {
		return AppUnknown
	}
	version := b[2]
	tag, contents, n := berElement(b[3:])
	if version == 3 && tag == 0x30 {
		return d.when(AppSNMP, len(contents) > 2 && contents[0] == 2 && contents[1] >= 1 && contents[1] <= 5)
	}
	if version > 1 || tag != 4 || n >= 0x80 || len(b) < 5+n+1 {
		return AppUnknown
	}
	operation := b[5+n]
	return d.when(AppSNMP, operation >= 0xa0 && operation <= 0xa8)
}

// wireguard is a handshake: type and three zeros, and the only length it can have.
func (d *detector) wireguard() Application {
	return d.when(AppWireGuard, d.has("\x01\x00\x00\x00") && d.n == 148 || d.has("\x02\x00\x00\x00") && d.n == 92)
}

// dhcp is BOOTP on Ethernet with DHCP's magic cookie.
func (d *detector) dhcp() Application {
	return d.when(AppDHCP, len(d.b) >= 240 && d.b[1] == 1 && d.b[2] == 6 && be32(d.b[236:]) == 0x63825363)
}

// isSTUN says whether a message has the cookie and knows its length, which is a
// multiple of 4.
func (d *detector) isSTUN() bool {
	b := d.b
	return len(b) >= 20 && b[0] < 0x40 && be32(b[4:]) == 0x2112a442 && be16(b[2:])%4 == 0 && be16(b[2:])+20 == d.n
}

// isRTCP says whether a datagram begins with a sender or receiver report and a
// description of sources behind it.
func isRTCP(b []byte, n int) bool {
	if len(b) < 16 || b[1] != 200 && b[1] != 201 {
		return false
	}
	at := 4 + 4*be16(b[2:])
	if at < 8 || at+8 > len(b) || b[at]>>6 != 2 || b[at+1] != 202 {
		return false
	}
	return at+4+4*be16(b[at+2:]) <= n
}

// isIKE says whether a message begins with the header of IKE: the initiator's
// SPI, the responder's, next payload, version, exchange, flags, number, length.
func isIKE(b []byte, n int) bool {
	if len(b) < 28 || binary.BigEndian.Uint64(b) == 0 || int(be32(b[24:])) != n {
		return false
	}
	exchange, flags := b[18], b[19]
	switch b[17] {
	case 0x20:
		return exchange >= 34 && exchange <= 43 && flags&0xc7 == 0
	case 0x10: // RFC 2408, section 3.1
		return (exchange == 2 || exchange >= 4 && exchange <= 6 || exchange >= 32 && exchange <= 34) && flags < 8
	}
	return false
}

// isOpenVPN says whether a message of n bytes opens a session: a hard reset of
// the client, with its session, no acknowledgements and number 0, or the
// server's, which acknowledges that. With a key they have an HMAC of 16, 20, 32 or 64 bytes
// behind the session, then a number from 1 on and a time.
func isOpenVPN(b []byte, n int) bool {
	const client, clientV3, server = 7 << 3, 10 << 3, 8 << 3
	if len(b) < 14 || binary.BigEndian.Uint64(b[1:]) == 0 {
		return false
	}
	rest := 5 // acknowledgements and number
	switch b[0] {
	case client, clientV3:
	case server:
		rest = 1 + 4 + 8 + 4
	default:
		return false
	}
	for _, mac := range [...]int{0, 16, 20, 32, 64} {
		at := 9
		if mac > 0 {
			at += mac + 8
		}
		if n != at+rest || len(b) < n || mac > 0 && be32(b[at-8:]) != 1 {
			continue
		}
		if rest == 5 {
			return b[at] == 0 && be32(b[at+1:]) == 0
		}
		return b[at] == 1 && be32(b[at+1:]) == 0 && be32(b[n-4:]) == 0
	}
	return false
}
