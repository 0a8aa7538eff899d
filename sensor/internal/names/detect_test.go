package names

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

const (
	tcp = 6
	udp = 17
)

// first is a first payload and what it shows. Those with a comment "real" are
// from captures of the programs themselves.
type first struct {
	want     Application
	protocol uint8
	from     bool // the initiator
	port     uint16
	data     string
}

func openVPN(opcode byte, mac int, rest string) string {
	b := string([]byte{opcode << 3}) + "SESSION1"
	if mac > 0 {
		b += strings.Repeat("m", mac) + "\x00\x00\x00\x01" + "time"
	}
	return b + rest
}

var zeros = strings.Repeat("\x00", 300)

var firsts = []first{
	{AppHTTP, tcp, true, 80, "GET /index.html HTTP/1.1\r\nHost: a.example\r\n\r\n"},
	{AppHTTP, tcp, true, 6969, "GET /announce?info_hash=" + strings.Repeat("%e4", 400)},
	{AppHTTP, tcp, true, 8000, "PROPFIND /dav HTTP/1.1\r\n"},
	{AppHTTP, tcp, true, 3128, "CONNECT a.example:443 HTTP/1.1\r\n"},
	{AppHTTP, tcp, false, 80, "HTTP/1.0 200 OK\r\nContent-Length: 397\r\n"},
	{AppHTTP, tcp, true, 80, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00"},
	{AppHTTP, tcp, true, 443, "POST /plain HTTP/1.1\r\n"},

	{AppHTTPS, tcp, true, 443, "\x16\x03\x01\x00\xc4\x01\x00\x00\xc0\x03\x03U\xb3\x92w\xd4"},                  // real
	{AppHTTPS, tcp, false, 8443, "\x16\x03\x03\n$\x02\x00\x00M\x03\x03U\xb3\x92w\xe2"},                        // real
	{AppTLS, tcp, true, 55968, "\x16\x03\x01\x00o\x01\x00\x00k\x03\x01P[m\x10(\xd1\xad\x9f(\x95\x8e\xba\xbe"}, // real
	{AppTLS, tcp, true, 80, "\x16\x03\x01\x00o\x01\x00\x00k\x03\x01P[m\x10("},
	{AppTLS, tcp, true, 1234, "\x16\x03\x01\x00\xc4\x01"},
	{AppDoT, tcp, true, 853, "\x16\x03\x01\x00o\x01\x00\x00k\x03\x03"},
	{AppIMAP, tcp, true, 993, "\x16\x03\x01\x00o\x01\x00\x00k\x03\x03"},
	{AppDTLS, udp, true, 4433, "\x16\xfe\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00'\x01\x00\x00Q\x00\x00\x00\x00\x00\x00\x00\x1b\xfe\xfd\xf2\xd1 \x88\x0fu\x81\x10b8\x1f\x06\xab\xf3q\xf7X\x99\xae\xa4\xaf\x86Lc\x83"}, // real
	{AppQUIC, udp, true, 443, string(mustHex(rfc9001Initial))},
	{AppQUIC, udp, true, 4433, string(mustHex(rfc9369Initial))},
	{AppQUIC, udp, false, 443, "\xc9\x00\x00\x00\x01\x00\b\xd5A,G\x01\x8c\xdf\xe8\x00C\xa2"},                 // real
	{AppDoQ, udp, true, 853, "\xcf\x00\x00\x00\x01\b\xfd\xa0R\x88\xab\x9f\xf5F\b\x0f\xb94w_${\x8e\x00D\xca"}, // real

	{AppDNS, udp, true, 53, "\x00\x03\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06google\x03com\x00\x00\x01\x00\x01"},                                                                                                 // real
	{AppDNS, udp, false, 1053, "\x00\x03\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x06google\x03com\x00\x00\x01\x00\x01\xc0\f\x00\x01\x00\x01\x00\x00\x00\x04\x00\x04J}\xec#"},                                         // real
	{AppDNS, tcp, true, 53, "\x00<\x80v\x01 \x00\x01\x00\x00\x00\x00\x00\x01\twikipedia\x03org\x00\x00\x01\x00\x01\x00\x00)\x10\x00\x00\x00\x00\x00\x00\x12\x00\n\x00\b\xc8\x14\x98Z\x92\x8acB\x00\v\x00\x02\x00\n"}, // real
	{AppMDNS, udp, true, 5353, "\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0finitial-query-a\x05local\x00\x00\x01\x00\x01"},                                                                                   // real
	{AppLLMNR, udp, true, 5355, "8\x05\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0217\x03112\x0231\x03172\ain-addr\x04arpa\x00\x00\f\x00\x01"},                                                                        // real
	{AppNetBIOS, udp, true, 137, "\x18\x12\x01\x10\x00\x01\x00\x00\x00\x00\x00\x00 FHEPFCELEHFCEPFFFACACACACACACABN\x00\x00 \x00\x01"},                                                                               // real

	{AppDHCP, udp, true, 67, "\x01\x01\x06\x00\x00\x00\a\xc0" + zeros[:228] + "\x63\x82\x53\x63\x35\x01\x01"},
	{AppSNMP, udp, true, 161, "0\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x04\x01\x02\x03\x04"},
	{AppSNMP, udp, true, 161, "0\x81\xb4\x02\x01\x030\x11\x02\x04\x01S\xe2\x93\x02\x03\x00\xff\xe3\x04\x01\a\x02\x01\x03\x04J0H"}, // real
	{AppSyslog, udp, true, 514, "<133>Apr  5 12:56:51 robin: Hello, syslog!\x00"},                                                 // real
	{AppSyslog, tcp, true, 1514, "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - x"},
	{AppSSDP, udp, true, 1900, "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"},
	{AppSSDP, udp, true, 1900, "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"},
	{AppBGP, tcp, true, 179, strings.Repeat("\xff", 16) + "\x00\x1d\x01\x04\xfe\x09\x00\xb4"},

	{AppSSH, tcp, true, 22, "SSH-2.0-dropbear_2018.76\r\n"}, // real
	{AppSSH, tcp, false, 443, "SSH-2.0-OpenSSH_9.6\r\n"},
	{AppSSH, tcp, false, 22, "SSH-1.99-OpenSSH_3.9p1\n"},
	{AppTelnet, tcp, false, 23, "\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23\xff\xfd\x27"},
	{AppTelnet, tcp, true, 2323, "\xff\xfb\x1f\xff\xfc\x20"},
	{AppRDP, tcp, true, 502, "\x03\x00\x00+&\xe0\x00\x00\x00\x00\x00Cookie: mstshash=admin\r\n\x01\x00\b\x00\x01\x00\x00\x00"}, // real
	{AppRDP, tcp, false, 3389, "\x03\x00\x00\x13\x0e\xd0\x00\x00\x124\x00\x02\x1f\b\x00\b\x00\x00\x00"},                        // real
	{AppRDP, tcp, true, 3389, "\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\b\x00\x03\x00\x00\x00"},
	{AppVNC, tcp, false, 5901, "RFB 003.008\n"}, // real
	{AppVNC, tcp, true, 5901, "RFB 003.003\n"},  // real
	{AppKerberos, tcp, true, 88, "\x00\x00\x00\xbdj\x81\xba0\x81\xb7\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\n\xa3\x0e0\f0\n" + zeros[:167]},
	{AppKerberos, udp, false, 88, "m\x82\x02v0\x82\x02r\xa0\x03\x02\x01\x05\xa1\x03\x02\x01\r\xa3\v\x1b\tVLADG.NET"}, // real
	{AppLDAP, tcp, true, 389, "04\x02\x04\n^1\xe8`,\x02\x01\x03\x04\x05User1\x8a NTLMSSP\x00\x01\x00\x00\x00"},       // real
	{AppLDAP, tcp, false, 389, "0\x84\x00\x00\x01-\x02\x04\n^1\xe8a\x84\x00\x00\x01!\n\x01\x00\x04\x82\x01\x18"},     // real
	{AppLDAP, tcp, true, 3268, "0\x25\x02\x01\x01c\x20\x04\x00\x0a\x01\x00\x0a\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00\x87\x0bobjectclass"},
	{AppLDAP, tcp, true, 389, "0\x1d\x02\x01\x01w\x18\x80\x161.3.6.1.4.1.1466.20037"},
	{AppLDAP, udp, true, 389, "0\x0c\x02\x01\x01c\x07\x04\x00\x0a\x01\x00\x0a\x01\x00"},

	{AppSMTP, tcp, false, 25, "220 mx.google.com ESMTP m17si1051593vck.2 - gsmtp\r\n"}, // real
	{AppSMTP, tcp, true, 8240, "HELO 208.191.73.21\r\n"},                               // real
	{AppSMTP, tcp, true, 25, "EHLO client.example\r\n"},
	{AppIMAP, tcp, false, 143, "* OK [CAPABILITY IMAP4rev1 CHILDREN ENABLE ID IDLE] IMAP server ready\r\n"},
	{AppIMAP, tcp, false, 143, "* PREAUTH IMAP4rev2 server logged in\r\n"},
	{AppPOP3, tcp, false, 110, "+OK example.com POP3-Server\n"}, // real
	{AppPOP3, tcp, false, 110, "+OK ready <1896.697170952@dbc.mtview.ca.us>\r\n"},
	{AppPOP3, tcp, true, 110, "CAPA\r\n"}, // real
	{AppXMPP, tcp, true, 5269, "<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:server' to='a.example' version='1.0'>"}, // real
	{AppIRC, tcp, false, 6667, ":leguin.freenode.net NOTICE * :*** Looking up your hostname...\r\n"},                                                                      // real
	{AppIRC, tcp, true, 6667, "CAP LS\r\nPASS test\r\nNICK tim\r\nUSER tim tim 127.0.0.1 :Tim\r\n"},                                                                       // real
	{AppIRC, tcp, true, 7000, "NICK tim\r\nUSER tim tim 127.0.0.1 :Tim\r\n"},

	{AppFTP, tcp, false, 21, "220---------- Welcome to Pure-FTPd [privsep] [TLS] ----------\r\n"}, // real
	{AppFTP, tcp, false, 2811, "220 (vsFTPd 3.0.5)\r\n"},
	{AppFTP, tcp, true, 21, "AUTH TLS\r\n"},                                                          // real
	{AppSMB, tcp, true, 445, "\x00\x00\x00\xe2\xfeSMB@\x00\x00\x00\x00\x00\x00\x00\x00\x00\x1f\x00"}, // real
	{AppSMB, tcp, true, 445, "\x00\x00\x00\x54\xffSMBr\x00\x00\x00\x00\x18"},
	{AppSMB, tcp, true, 139, "\x81\x00\x00\x44\x20CKFDENECFDEFFCFGEFFCCACACACACACA\x00"},
	{AppNFS, udp, true, 20048, "j\x1b\xb0\xb5\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\x86\xa5\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},         // real
	{AppNFS, tcp, true, 502, "\x80\x00\x00(~\x86\xabJ\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\x86\xa3\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}, // real
	{AppGit, tcp, true, 9418, "0033git-upload-pack /project.git\x00host=myserver.com\x00"},
	{AppBitTorrent, tcp, true, 51413, "\x13BitTorrent protocol\x00\x00\x00\x00\x00\x10\x00\x05"},
	{AppBitTorrent, udp, true, 6881, "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"},
	{AppBitTorrent, udp, false, 6881, "d2:ip6:\x01\x02\x03\x04\x05\x061:rd2:id20:abcdefghij0123456789e"},
	{AppBitTorrent, udp, true, 1337, "\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00\x12\x34\x56\x78"},

	{AppMySQL, tcp, false, 3306, "8\x00\x00\x00\n5.1.67-log\x00\x1a\x00\x00\x004\\SlCL2T\x00\xff\xf7!\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x004C4{1|Bp1?(L\x00"}, // real
	{AppPostgres, tcp, true, 5432, "\x00\x00\x00\x13\x00\x03\x00\x00user\x00zeek\x00\x00"},                                                                                          // real
	{AppPostgres, tcp, true, 15432, "\x00\x00\x00\x08\x04\xd2\x16\x2f"},
	{AppPostgres, tcp, true, 5432, "\x00\x00\x00\x08\x04\xd2\x16\x30"},
	{AppPostgres, tcp, true, 5432, "\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x01\x12\x34\x56\x78"},
	{AppRedis, tcp, true, 6379, "*2\r\n$4\r\nAUTH\r\n$4\r\nzeek\r\n"}, // real
	{AppMongoDB, tcp, true, 27017, "\x3a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xd4\x07\x00\x00\x00\x00\x00\x00admin.$cmd\x00\x00\x00\x00\x00\xff\xff\xff\xff\x13\x00\x00\x00\x10isMaster\x00\x01\x00\x00\x00\x00"},
	{AppMongoDB, tcp, true, 27017, "\x29\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00\x00\x00\x00\x00\x00\x14\x00\x00\x00\x10hello\x00\x01\x00\x00\x00\x02$\x00\x00"},
	{AppMemcached, tcp, true, 11211, "\x80\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00Hello"},
	{AppMemcached, tcp, false, 11211, "\x81\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x001.6.9"},
	{AppMemcached, tcp, true, 11211, "set key 0 900 4 noreply\r\ndata\r\n"},
	{AppMemcached, tcp, false, 11211, "VALUE key 0 4\r\ndata\r\nEND\r\n"},
	{AppKafka, tcp, true, 9093, "\x00\x00\x00\x13\x00\x12\x00\x00\x00\x00\x00\x01\x00\x09my-client"},
	{AppMQTT, tcp, true, 1883, "\x10%\x00\x06MQIsdp\x03\x02\x00\x05\x00\x17paho/34AAE54A75D839566E"}, // real
	{AppMQTT, tcp, true, 1883, "\x10\x80\x01\x00\x04MQTT\x05\x02\x00\x3c"},
	{AppAMQP, tcp, true, 5672, "AMQP\x00\x00\x09\x01"},
	{AppAMQP, tcp, true, 5672, "AMQP\x03\x01\x00\x00"},

	{AppSIP, udp, true, 5060, "INVITE sip:bob@10.0.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060\r\n"}, // real
	{AppSIP, udp, false, 5060, "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 10.0.0.1:5060\r\n"},                 // real
	{AppSIP, tcp, true, 5070, "REGISTER sips:ss2.biloxi.example.com SIP/2.0\r\n"},
	{AppRTSP, tcp, true, 554, "DESCRIBE rtsp://server.example.com/fizzle/foo RTSP/1.0\r\n"},
	{AppRTSP, tcp, true, 8554, "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n"},
	{AppRTSP, tcp, false, 554, "RTSP/1.0 200 OK\r\nCSeq: 1\r\n"},
	{AppRTP, udp, true, 5005, "\x80\xc9\x00\x01\x12\x34\x56\x78\x81\xca\x00\x03\x12\x34\x56\x78\x01\x04user\x00\x00"},
	{AppSTUN, udp, true, 43044, "\x00\x01\x00\x08!\x12\xa4B%\x98\xa6[\x97\x10\xb8\x98e\xbc4@\x80(\x00\x04(|\x89&"},
	{AppSTUN, tcp, true, 3478, "\x00\x01\x00\x00!\x12\xa4B%\x98\xa6[\x97\x10\xb8\x98e\xbc4@"},

	{AppWireGuard, udp, true, 51820, "\x01\x00\x00\x00" + zeros[:144]},
	{AppWireGuard, udp, false, 4242, "\x02\x00\x00\x00" + zeros[:88]},
	{AppOpenVPN, udp, true, 1194, openVPN(7, 0, "\x00\x00\x00\x00\x00")},
	{AppOpenVPN, udp, true, 1194, openVPN(7, 20, "\x00\x00\x00\x00\x00")},
	{AppOpenVPN, udp, false, 1194, openVPN(8, 64, "\x01\x00\x00\x00\x00"+"SESSION2"+"\x00\x00\x00\x00")},
	{AppOpenVPN, tcp, true, 1194, "\x00\x0e" + openVPN(7, 0, "\x00\x00\x00\x00\x00")},
	{AppIKE, udp, true, 500, "INITIATE" + zeros[:8] + "\x21\x20\x22\x08\x00\x00\x00\x00\x00\x00\x00\x20" + "next"},
	{AppIKE, udp, true, 4500, "\x00\x00\x00\x00" + "INITIATERESPONSE" + "\x2e\x20\x23\x08\x00\x00\x00\x01\x00\x00\x00\x20" + "next"},
	{AppIKE, udp, true, 500, "INITIATE" + zeros[:8] + "\x01\x10\x02\x00\x00\x00\x00\x00\x00\x00\x00\x20" + "next"},
}

// familiesByPort is what looks the same and differs in its port only.
var familiesByPort = []Application{
	AppHTTPS, AppTLS, AppDoT, AppIMAP, AppQUIC, AppDoQ, AppDNS, AppMDNS, AppLLMNR, AppNetBIOS,
}

func TestDetectPayload(t *testing.T) {
	shown := map[Application]bool{}
	for _, c := range firsts {
		shown[c.want] = true
		if got := DetectPayload(c.protocol, c.from, c.port, []byte(c.data)); got != c.want {
			t.Errorf("%.40q on port %d is %q, want %q", c.data, c.port, got, c.want)
		}
		if got := DetectPayload(132, c.from, c.port, []byte(c.data)); got != AppUnknown {
			t.Errorf("%.40q in SCTP is %q", c.data, got)
		}
		if slices.Contains(familiesByPort, c.want) {
			continue
		}
		if got := DetectPayload(c.protocol, c.from, 55555, []byte(c.data)); got != c.want {
			t.Errorf("%.40q on another port is %q, want %q", c.data, got, c.want)
		}
	}
	for a := range Applications {
		if a := Application(a); a != AppUnknown && !shown[a] && a != AppNTP && a != AppSOCKS { // known by port
			t.Errorf("no first bytes show %q", a)
		}
	}
}

// TestDetectNothing holds that what could be something else is not answered.
func TestDetectNothing(t *testing.T) {
	for _, c := range []first{
		{0, tcp, true, 443, ""}, {0, tcp, true, 443, "\x16"}, {0, udp, true, 53, ""},
		{0, tcp, true, 443, "\x16\x03\x01\x00\xc4\x05\x00"},         // a handshake that does not begin with a hello
		{0, tcp, true, 443, "\x17\x03\x03\x00\x20" + zeros[:32]},    // TLS in its middle
		{0, tcp, true, 443, "\x16\x03\x01\x00\xc4\x01\xff\x00\xc0"}, // too long a hello
		{0, tcp, true, 80, "GET"}, {0, tcp, true, 80, "GET a b c\r\n"}, {0, tcp, true, 70, "GIVE /x\r\n"},
		{0, tcp, false, 80, "HTTP/1.1 twohundred"},
		{0, tcp, false, 2121, "220 ready\r\n"},                 // FTP or SMTP
		{0, tcp, false, 2121, "220 ftp.example.com ESMTP\r\n"}, // says both
		{0, tcp, true, 2121, "220 mail ESMTP\r\n"},             // a server's word from the client
		{0, tcp, false, 6379, "+OK\r\n"},                       // Redis or POP3
		{0, tcp, true, 1100, "USER anonymous\r\n"},             // FTP or POP3
		{0, tcp, true, 102, "\x03\x00\x00\x16\x11\xe0\x00\x00\x00\x01\x00\xc1\x02\x01\x00\xc2\x02\x01\x02\xc0\x01\x09"}, // S7
		{0, tcp, false, 23, "\xff\xfd\x18"}, // one command
		{0, tcp, true, 445, "\x00\x00\x00\x54\x00\x00\x00\x00"},
		{0, tcp, true, 9000, "\x00\x00\x00\x08\x00\x12\x00\x00\x00\x00\x00\x01"}, // too short for Kafka
		{0, tcp, true, 3306, firstOf(AppMySQL)},                                  // a server's greeting from the client
		{0, tcp, true, 5672, "AMQPlaylist"},
		{0, tcp, true, 6379, "*1\r\n:1\r\n"},
		{0, tcp, true, 11211, "get key\r\n"}, {0, tcp, true, 7, "set the table for two\r\n"},
		{0, tcp, true, 514, "<192>1 2003-10-11T22:14:15.003Z x"}, {0, udp, true, 514, "<13>hello there, world"},
		{0, udp, true, 123, "\x23\x00\x06\xec" + zeros[:44]},
		{0, udp, true, 5004, "\x80\x60\x12\x34\x00\x00\x00\x01\x12\x34\x56\x78" + zeros[:160]}, // RTP
		{0, udp, true, 443, "\x40\x01\x02\x03" + zeros[:40]},
		{0, udp, true, 443, "\xc0\x00\x00\x00\x00\x08" + zeros[:40]},
		{0, udp, true, 443, "\xc0\x00\x00\x00\x01\x15" + zeros[:40]},
		{0, udp, true, 51820, "\x01\x00\x00\x00" + zeros[:143]}, {0, udp, true, 51820, "\x04\x00\x00\x00" + zeros[:28]},
		{0, udp, true, 1194, openVPN(7, 20, "\x00\x00\x00\x00\x01")},
		{0, udp, true, 500, "INITIATE" + zeros[:8] + "\x21\x20\x22\x08\x00\x00\x00\x00\x00\x00\x00\x21" + "next"},
		{0, udp, true, 3478, "\x00\x01\x00\x08!\x12\xa4C%\x98\xa6[\x97\x10\xb8\x98e\xbc4@" + zeros[:8]},
		{0, udp, false, 53, firstOf(AppDNS)},                                                                                 // a query from the responder
		{0, udp, true, 53, "\x00\x03\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06google\x03com\x00\x00\x01\x00\x01 and more"}, // ends too late
		{0, udp, true, 53, "\x00\x03\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06goo le\x03com\x00\x00\x01\x00\x01"},          // a space
		{0, udp, true, 53, "\x00\x03\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06google\x03com\x00\x00\x01\x00\x05"},          // no class
		{0, udp, true, 53, "\x00\x03\x29\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06google\x03com\x00\x00\x06\x00\x01"},          // update
		{0, udp, true, 161, "0\x26\x02\x01\x01\x04\x06public\x30\x19"},
		{0, udp, true, 389, "0\x0c\x02\x01\x01c\x07\x04\x7f\x0a\x01\x00\x0a\x01\x00"},
	} {
		if got := DetectPayload(c.protocol, c.from, c.port, []byte(c.data)); got != AppUnknown {
			t.Errorf("%.40q on port %d is taken for %q", c.data, c.port, got)
		}
	}
}

func firstOf(a Application) string {
	for _, c := range firsts {
		if c.want == a {
			return c.data
		}
	}
	return ""
}

// TestDetectRandom holds that noise is hardly ever taken for something, whatever
// it begins with.
func TestDetectRandom(t *testing.T) {
	noise, b := uint64(1), make([]byte, 200)
	taken := 0
	for i := range 200_000 {
		for j := range b {
			noise = noise*6364136223846793005 + 1442695040888963407
			b[j] = byte(noise >> 56)
		}
		b[0] = byte(i)
		if a := DetectPayload(uint8(tcp+i>>8&1*(udp-tcp)), i>>9&1 == 0, 4444, b[:1+i%len(b)]); a != AppUnknown {
			taken++
		}
	}
	if taken > 2 {
		t.Errorf("%d of 200,000 random payloads are taken for something", taken)
	}
}

func TestByPorts(t *testing.T) {
	for _, c := range []struct {
		protocol             uint8
		initiator, responder uint16
		want                 string
	}{
		{tcp, 40000, 443, "https"}, {tcp, 40000, 8443, "https"}, {udp, 40000, 443, "quic"}, {tcp, 40000, 853, "dot"}, {udp, 40000, 853, "doq"},
		{udp, 68, 67, "dhcp"}, {udp, 546, 547, "dhcp"}, {udp, 5353, 5353, "mdns"}, {tcp, 40000, 993, "imap"}, {udp, 40000, 4500, "ike"},
		{tcp, 3306, 50000, "mysql"}, {udp, 1900, 50000, "ssdp"}, // the responder was heard first
		{tcp, 20, 40000, "ftp"},
		{udp, 51820, 50000, ""}, {tcp, 40000, 50000, ""}, // what clients are given says nothing
		{tcp, 22, 1023, ""}, {udp, 53, 123, "ntp"}, // nor does the initiator's beside one well known
		{1, 443, 443, ""}, {132, 40000, 443, ""}, {tcp, 0, 0, ""},
	} {
		if got := ByPorts(c.protocol, c.initiator, c.responder).String(); got != c.want {
			t.Errorf("protocol %d, ports %d and %d: %q, want %q", c.protocol, c.initiator, c.responder, got, c.want)
		}
	}
}

func TestApplicationNames(t *testing.T) {
	seen := map[string]bool{}
	for i, name := range Applications {
		if got := Application(i).String(); got != name || (name == "") != (i == 0) || seen[name] {
			t.Errorf("application %d is %q (%q)", i, got, name)
		}
		seen[name] = true
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			t.Errorf("%q is no label", name)
		}
	}
	if got := Application(255).String(); got != "" {
		t.Errorf("255 is %q", got)
	}
}

func TestDetectAllocatesNothing(t *testing.T) {
	payloads := make([][]byte, len(firsts))
	for i, c := range firsts {
		payloads[i] = []byte(c.data)
	}
	if n := testing.AllocsPerRun(10, func() {
		for i, c := range firsts {
			DetectPayload(c.protocol, c.from, c.port, payloads[i])
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzDetect expects an answer in range that depends on the first bytes only,
// and on the port only where that is what tells.
func FuzzDetect(f *testing.F) {
	for _, c := range firsts {
		f.Add(c.protocol == tcp, c.from, c.port, []byte(c.data))
	}
	f.Fuzz(func(t *testing.T, overTCP, from bool, port uint16, b []byte) {
		protocol := uint8(udp)
		if overTCP {
			protocol = tcp
		}
		got := DetectPayload(protocol, from, port, b)
		if int(got) >= len(Applications) {
			t.Fatalf("application %d", got)
		}
		if len(b) > detectBytes {
			other := slices.Clone(b)
			for i := detectBytes; i < len(other); i++ {
				other[i] ^= 0x5a
			}
			if again := DetectPayload(protocol, from, port, other); again != got {
				t.Fatalf("%q, but %q for other bytes far behind", got, again)
			}
		}
		if other := DetectPayload(protocol, from, 55555, b); (other == AppUnknown) != (got == AppUnknown) {
			t.Fatalf("%q, but %q on another port", got, other)
		}
	})
}

func BenchmarkDetectNothing(b *testing.B) {
	noise := make([]byte, 1400)
	for i := range noise {
		noise[i] = byte(i * 7)
	}
	n := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		binary.BigEndian.PutUint32(noise, n*2654435761)
		DetectPayload(tcp, true, 4444, noise)
		DetectPayload(udp, true, 4444, noise)
	}
}
