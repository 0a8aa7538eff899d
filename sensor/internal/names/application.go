package names

// Application is the protocol that a flow speaks: an index into Applications.
type Application uint8

// The applications, in the order of Applications. Where nothing is said of first
// bytes, only ports tell: the protocol's first bytes could be another's.
const (
	// AppUnknown is 0.
	AppUnknown Application = iota

	// AppHTTP begins with a request line, a status line (RFC 9112, sections 3
	// and 4) or the preface of HTTP/2 (RFC 9113, section 3.4).
	AppHTTP
	// AppHTTPS is TLS to port 443 or 8443.
	AppHTTPS
	// AppTLS begins with a handshake record that holds a ClientHello or a
	// ServerHello (RFC 8446, sections 4 and 5.1), to a port that is not known
	// for one protocol over TLS: to such a port it is that protocol.
	AppTLS
	// AppDTLS begins with such a record of DTLS (RFC 6347, section 4.3.1).
	AppDTLS
	// AppQUIC begins with a long header of a known version (RFC 9000, section
	// 17.2).
	AppQUIC

	// AppDNS is one question, well formed, in a query from the initiator or a
	// response to it (RFC 1035, section 4.1); over TCP behind its length.
	AppDNS
	// AppMDNS is the same to port 5353 (RFC 6762).
	AppMDNS
	// AppLLMNR is the same to port 5355 (RFC 4795).
	AppLLMNR
	// AppNetBIOS is the same to port 137 (RFC 1002, section 4.2), and datagrams.
	AppNetBIOS
	// AppDoT is TLS to port 853 (RFC 7858).
	AppDoT
	// AppDoQ is QUIC to port 853 (RFC 9250).
	AppDoQ

	// AppDHCP has its magic cookie behind 236 bytes (RFC 2131, section 3).
	AppDHCP
	// AppNTP is known by port.
	AppNTP
	// AppSNMP is a sequence of version and community (RFC 3416), or of version
	// 3 and header (RFC 3412, section 6).
	AppSNMP
	// AppSyslog begins with a priority, then version and date (RFC 5424, section
	// 6) or a month (RFC 3164, section 4.1).
	AppSyslog
	// AppSSDP is M-SEARCH or NOTIFY for * over UDP (UPnP Device Architecture).
	AppSSDP
	// AppBGP begins with a marker of sixteen ones (RFC 4271, section 4.1).
	AppBGP

	// AppSSH begins with its version (RFC 4253, section 4.2).
	AppSSH
	// AppTelnet begins with two commands or more that negotiate (RFC 854).
	AppTelnet
	// AppRDP is a connection request or confirm of X.224 with a cookie or a
	// negotiation ([MS-RDPBCGR] 2.2.1.1 and 2.2.1.2).
	AppRDP
	// AppVNC begins with the version of RFB (RFC 6143, section 7.1.1).
	AppVNC
	// AppKerberos is an application tag, then protocol version 5 (RFC 4120,
	// section 5.4), over TCP behind its length.
	AppKerberos
	// AppLDAP is a message with one of LDAP's operations (RFC 4511, section 4).
	AppLDAP
	// AppSOCKS is known by port.
	AppSOCKS

	// AppSMTP is a greeting 220 that says SMTP (RFC 5321, section 4.2), or EHLO
	// or HELO.
	AppSMTP
	// AppIMAP is an untagged OK or PREAUTH as greeting (RFC 9051, section 7.1).
	AppIMAP
	// AppPOP3 is a greeting +OK that says POP or has a timestamp (RFC 1939,
	// sections 4 and 7).
	AppPOP3
	// AppXMPP begins with the header of a stream (RFC 6120, section 4.2).
	AppXMPP
	// AppIRC is NICK then USER, CAP LS, or a notice with a prefix (RFC 2812).
	AppIRC

	// AppFTP is a greeting 220 that says FTP (RFC 959), or AUTH TLS (RFC 4217).
	AppFTP
	// AppSMB is a message of any version behind a session header ([MS-SMB2]
	// 2.1), or a session request for a NetBIOS name (RFC 1002, section 4.3.2).
	AppSMB
	// AppNFS is a call of program 100003 or 100005 (RFC 5531, section 9).
	AppNFS
	// AppGit is a request behind its length in four digits (gitprotocol-pack).
	AppGit
	// AppBitTorrent is the handshake (BEP 3), a query or response of the DHT
	// (BEP 5), or a connect to a tracker over UDP (BEP 15).
	AppBitTorrent

	// AppMySQL is the greeting of protocol version 10 from the responder.
	AppMySQL
	// AppPostgres is a startup message of version 3, or a request for
	// encryption or to cancel, from the initiator.
	AppPostgres
	// AppRedis is a command as an array of bulk strings (RESP).
	AppRedis
	// AppMongoDB is a message with a header of its wire protocol and OP_MSG,
	// or OP_QUERY of a command.
	AppMongoDB
	// AppMemcached is a header of its binary protocol, a command that stores
	// or a VALUE.
	AppMemcached
	// AppKafka is a request for API versions or metadata with a client id.
	AppKafka
	// AppMQTT is CONNECT with the protocol's name (MQTT 5.0, section 3.1).
	AppMQTT
	// AppAMQP is its protocol header (AMQP 1.0, section 2.2, and 0-9-1).
	AppAMQP

	// AppSIP is a request for a SIP URI or a status line (RFC 3261, section 7).
	AppSIP
	// AppRTSP is a request or status line of its own (RFC 7826, section 20).
	AppRTSP
	// AppRTP is a compound packet of RTCP: a report, then a description of
	// sources (RFC 3550, section 6.1). RTP alone shows nothing of itself.
	AppRTP
	// AppSTUN has the magic cookie (RFC 8489, section 5).
	AppSTUN

	// AppWireGuard is an initiation or a response, by type and length.
	AppWireGuard
	// AppOpenVPN is a hard reset that opens a session, with or without HMAC.
	AppOpenVPN
	// AppIKE is a header of version 1 or 2 that knows its length (RFC 7296,
	// section 3.1); to port 4500 with ESP beside it (RFC 3948).
	AppIKE
)

// Applications are the names of the applications, by number; that of 0 is "".
var Applications = [...]string{
	AppHTTP: "http", AppHTTPS: "https", AppTLS: "tls", AppDTLS: "dtls", AppQUIC: "quic",
	AppDNS: "dns", AppMDNS: "mdns", AppLLMNR: "llmnr", AppNetBIOS: "netbios", AppDoT: "dot", AppDoQ: "doq",
	AppDHCP: "dhcp", AppNTP: "ntp", AppSNMP: "snmp", AppSyslog: "syslog", AppSSDP: "ssdp", AppBGP: "bgp",
	AppSSH: "ssh", AppTelnet: "telnet", AppRDP: "rdp", AppVNC: "vnc", AppKerberos: "kerberos", AppLDAP: "ldap", AppSOCKS: "socks",
	AppSMTP: "smtp", AppIMAP: "imap", AppPOP3: "pop3", AppXMPP: "xmpp", AppIRC: "irc",
	AppFTP: "ftp", AppSMB: "smb", AppNFS: "nfs", AppGit: "git", AppBitTorrent: "bittorrent",
	AppMySQL: "mysql", AppPostgres: "postgres", AppRedis: "redis", AppMongoDB: "mongodb", AppMemcached: "memcached",
	AppKafka: "kafka", AppMQTT: "mqtt", AppAMQP: "amqp",
	AppSIP: "sip", AppRTSP: "rtsp", AppRTP: "rtp", AppSTUN: "stun",
	AppWireGuard: "wireguard", AppOpenVPN: "openvpn", AppIKE: "ike",
}

// String is the name of a, or "" where it is none.
func (a Application) String() string {
	if int(a) < len(Applications) {
		return Applications[a]
	}
	return ""
}
