package names

import "strings"

// EncryptedDNS says whether a name in its normal form is that of a well-known
// resolver that speaks DNS over HTTPS, TLS or QUIC. What is asked there is not
// seen, so it explains that a client's other flows have no name. The list is
// short: it holds what systems and browsers offer and the larger public ones.
func EncryptedDNS(name string) bool {
	switch name {
	case "one.one.one.one", "dns.google", "dns.google.com", "dns64.dns.google", "8888.google",
		"dns.quad9.net", "dns9.quad9.net", "dns10.quad9.net", "dns11.quad9.net", "dns12.quad9.net",
		"doh.opendns.com", "dns.opendns.com", "doh.familyshield.opendns.com", "doh.sandbox.opendns.com",
		"doh.umbrella.com", "dns.umbrella.com",
		"doh.cleanbrowsing.org", "family-filter-dns.cleanbrowsing.org", "adult-filter-dns.cleanbrowsing.org", "security-filter-dns.cleanbrowsing.org",
		"dns.adguard.com", "dns-family.adguard.com", "dns-unfiltered.adguard.com",
		"doh.xfinity.com", "dot.xfinity.com", "doh.cox.net", "dot.cox.net", "dns.shaw.ca", "private.canadianshield.cira.ca", "protected.canadianshield.cira.ca",
		"dns.alidns.com", "doh.pub", "dot.pub", "doh.360.cn", "dot.360.cn",
		"doh.dns.sb", "dot.sb", "dns.sb", "dns.twnic.tw", "dns.switch.ch", "ordns.he.net", "odvr.nic.cz", "public.dns.iij.jp",
		"doh.applied-privacy.net", "dot1.applied-privacy.net", "dns.digitale-gesellschaft.ch", "doh.libredns.gr", "dot.libredns.gr", "dns.njal.la",
		"freedns.controld.com", "unfiltered.joindns4.eu", "protective.joindns4.eu":
		return true
	}
	for at := name; ; {
		switch at { // these and all names below
		case "cloudflare-dns.com", "cloudflare-gateway.com", "dns.nextdns.io", "adguard-dns.com",
			"dns.mullvad.net", "dns0.eu", "dns.controld.com", "doh.dns.apple.com":
			return true
		}
		_, parent, ok := strings.Cut(at, ".")
		if !ok {
			return false
		}
		at = parent
	}
}
