package names

// ephemeral is where the ports begin that Linux gives to clients.
const ephemeral = 32768

// ByPorts returns what the ports of a TCP or UDP flow suggest: the responder's,
// or, where that is not a well-known one, the initiator's below those that
// clients are given, since the responder may have been heard first. Else 0.
func ByPorts(protocol uint8, initiatorPort, responderPort uint16) Application {
	var of func(uint16) Application
	switch protocol {
	case 6:
		of = tcpPort
	case 17:
		of = udpPort
	default:
		return AppUnknown
	}
	if a := of(responderPort); a != AppUnknown || responderPort < 1024 || initiatorPort >= ephemeral {
		return a
	}
	return of(initiatorPort)
}

// tcpPort is what a port is mostly used for, by IANA's registry and by custom.
func tcpPort(port uint16) Application {
	switch port {
	case 20, 21, 989, 990:
		return AppFTP
	case 22:
		return AppSSH
	case 23, 992:
		return AppTelnet
	case 25, 465, 587:
		return AppSMTP
	case 53:
		return AppDNS
	case 80, 8080:
		return AppHTTP
	case 88:
		return AppKerberos
	case 110, 995:
		return AppPOP3
	case 139, 445:
		return AppSMB
	case 143, 993:
		return AppIMAP
	case 179:
		return AppBGP
	case 389, 636, 3268, 3269:
		return AppLDAP
	case 443, 8443:
		return AppHTTPS
	case 554, 322:
		return AppRTSP
	case 853:
		return AppDoT
	case 1080:
		return AppSOCKS
	case 1194:
		return AppOpenVPN
	case 1883, 8883:
		return AppMQTT
	case 2049:
		return AppNFS
	case 3306:
		return AppMySQL
	case 3389:
		return AppRDP
	case 3478, 5349:
		return AppSTUN
	case 5060, 5061:
		return AppSIP
	case 5222, 5223, 5269, 5270:
		return AppXMPP
	case 5355:
		return AppLLMNR
	case 5432:
		return AppPostgres
	case 5671, 5672:
		return AppAMQP
	case 5900, 5901, 5902, 5903:
		return AppVNC
	case 6379:
		return AppRedis
	case 6514:
		return AppSyslog
	case 6667, 6697:
		return AppIRC
	case 9092:
		return AppKafka
	case 9418:
		return AppGit
	case 11211:
		return AppMemcached
	case 27017, 27018, 27019:
		return AppMongoDB
	}
	return AppUnknown
}

// udpPort is tcpPort for UDP.
func udpPort(port uint16) Application {
	switch port {
	case 53:
		return AppDNS
	case 67, 68, 546, 547:
		return AppDHCP
	case 88:
		return AppKerberos
	case 123:
		return AppNTP
	case 137, 138:
		return AppNetBIOS
	case 161, 162:
		return AppSNMP
	case 389:
		return AppLDAP
	case 443:
		return AppQUIC
	case 500, 4500:
		return AppIKE
	case 514:
		return AppSyslog
	case 853:
		return AppDoQ
	case 1194:
		return AppOpenVPN
	case 1900:
		return AppSSDP
	case 2049:
		return AppNFS
	case 3389:
		return AppRDP
	case 3478:
		return AppSTUN
	case 5060:
		return AppSIP
	case 5353:
		return AppMDNS
	case 5355:
		return AppLLMNR
	case 6881:
		return AppBitTorrent
	case 11211:
		return AppMemcached
	case 51820:
		return AppWireGuard
	}
	return AppUnknown
}

// inTLS is the protocol that TLS to a port carries: what the port is known for,
// unless that is known to go without.
func inTLS(port uint16) Application {
	switch a := tcpPort(port); a {
	case AppHTTPS, AppDoT, AppFTP, AppTelnet, AppSMTP, AppPOP3, AppIMAP, AppLDAP, AppRTSP, AppMQTT, AppMySQL, AppSTUN,
		AppSIP, AppXMPP, AppPostgres, AppAMQP, AppVNC, AppRDP, AppRedis, AppSyslog, AppIRC, AppKafka, AppMongoDB:
		return a
	}
	return AppTLS
}
