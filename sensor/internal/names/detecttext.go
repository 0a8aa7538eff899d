package names

import "bytes"

// words is for payloads that begin with a capital letter.
func (d *detector) words() Application {
	switch d.b[0] {
	case 'A':
		if d.has("AMQP") && len(d.b) >= 8 && d.b[4] <= 3 && d.b[5] <= 2 {
			return AppAMQP
		}
		if d.has("AUTH TLS\r\n") || d.has("AUTH SSL\r\n") {
			return AppFTP
		}
	case 'C':
		if d.has("CAP LS\r\n") || d.has("CAP LS 302\r\n") || d.has("CAP LS\n") {
			return AppIRC
		}
		if d.n == 6 && d.has("CAPA\r\n") {
			return AppPOP3
		}
	case 'E', 'H':
		if (d.has("EHLO ") || d.has("HELO ")) && d.fromInitiator && bytes.IndexByte(d.b, '\n') > 0 {
			return AppSMTP
		}
	case 'N':
		if d.has("NICK ") && bytes.Contains(d.b, []byte("\nUSER ")) {
			return AppIRC
		}
	case 'R':
		if d.has("RFB 003.00") && d.n == 12 && d.b[11] == '\n' {
			return AppVNC
		}
	case 'S':
		if d.has("SSH-2.0-") || d.has("SSH-1.") {
			return AppSSH
		}
	case 'V':
		if d.has("VALUE ") && !d.fromInitiator && isValue(d.b[6:], 2) {
			return AppMemcached
		}
	}
	return httpLike(d.b)
}

// httpLike is for the protocols whose messages begin as those of HTTP: with a
// method, a target and a version, or with a version and a status.
func httpLike(b []byte) Application {
	switch {
	case hasPrefix(b, "HTTP/1.") && isStatus(b):
		return AppHTTP
	case hasPrefix(b, "RTSP/1.0") && isStatus(b), hasPrefix(b, "RTSP/2.0") && isStatus(b):
		return AppRTSP
	case hasPrefix(b, "SIP/2.0") && isStatus(b):
		return AppSIP
	case hasPrefix(b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
		return AppHTTP
	}
	v, _, _ := requestLine(b, 0)
	if v == named {
		return AppHTTP
	}
	i := bytes.IndexByte(b[:min(len(b), 21)], ' ')
	if i < 3 {
		return AppUnknown
	}
	target := b[i+1:]
	switch {
	case v == more && hasPrefix(target, "/") && isMethod(b[:i]):
		return AppHTTP // a line that goes on
	case hasPrefix(target, "sip:"), hasPrefix(target, "sips:"):
		return AppSIP
	case hasPrefix(target, "rtsp://"), hasPrefix(target, "rtsps://"), hasPrefix(target, "* RTSP/"):
		return AppRTSP
	}
	return AppUnknown
}

// isStatus says whether a status line goes on with a number behind its version.
func isStatus(b []byte) bool {
	i := bytes.IndexByte(b[:min(len(b), 10)], ' ')
	return i > 0 && len(b) >= i+4 && b[i+1] >= '1' && b[i+1] <= '6' && isDigit(b[i+2]) && isDigit(b[i+3])
}

func isMethod(b []byte) bool {
	switch string(b) {
	case "GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS":
		return true
	}
	return false
}

// signs is for payloads of TCP that begin with another character.
func (d *detector) signs() Application {
	switch c := d.b[0]; {
	case c == '*':
		if isRESP(d.b) {
			return AppRedis
		}
		if !d.fromInitiator && (d.has("* OK ") || d.has("* PREAUTH ")) {
			return AppIMAP
		}
	case c == '+':
		return d.when(AppPOP3, !d.fromInitiator && isPOP3(d.b))
	case c == ':':
		return d.when(AppIRC, !d.fromInitiator && isIRC(d.b))
	case c == '<':
		if isSyslog(d.b) {
			return AppSyslog
		}
		if bytes.Contains(d.b, []byte("<stream:stream")) && bytes.Contains(d.b, []byte("http://etherx.jabber.org/streams")) {
			return AppXMPP
		}
	case c == '2':
		return d.greeting()
	case c >= 'a' && c <= 'z':
		return d.when(AppMemcached, d.fromInitiator && isStore(d.b))
	}
	return AppUnknown
}

// greeting is for the 220 of FTP and SMTP, which look alike but for what the
// server says of itself. A host may be called ftp or smtp: one that says both
// says nothing.
func (d *detector) greeting() Application {
	if d.fromInitiator || !d.has("220 ") && !d.has("220-") || bytes.IndexByte(d.b, '\n') < 0 {
		return AppUnknown
	}
	smtp, ftp := false, false
	for i := 4; i+3 <= len(d.b); i++ {
		smtp = smtp || i+4 <= len(d.b) && isFold(d.b[i:i+4], "SMTP")
		ftp = ftp || isFold(d.b[i:i+3], "FTP")
	}
	switch {
	case smtp && !ftp:
		return AppSMTP
	case ftp && !smtp:
		return AppFTP
	}
	return AppUnknown
}

// isFold compares with a word of capital letters.
func isFold(b []byte, word string) bool {
	for i := range b {
		if b[i]&^0x20 != word[i] {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// digits returns how many digits b begins with.
func digits(b []byte) (n int) {
	for n < len(b) && isDigit(b[n]) {
		n++
	}
	return n
}

// isRESP says whether b begins with an array of at least one bulk string.
func isRESP(b []byte) bool {
	n := 1 + digits(b[1:])
	if n == 1 || n > 8 || b[1] == '0' || !hasPrefix(b[n:], "\r\n$") {
		return false
	}
	b = b[n+3:]
	n = digits(b)
	return n > 0 && n <= 8 && hasPrefix(b[n:], "\r\n")
}

// isPOP3 tells the greeting of POP3 from others that begin with +OK: it has a
// timestamp like a message id, or says POP.
func isPOP3(b []byte) bool {
	if !hasPrefix(b, "+OK ") {
		return false
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return false
	}
	b = b[:end]
	if i := bytes.IndexByte(b, '<'); i > 0 {
		at := bytes.IndexByte(b[i:], '@')
		return at > 0 && bytes.IndexByte(b[i+at:], '>') > 0
	}
	for i := 4; i+3 <= len(b); i++ {
		if isFold(b[i:i+3], "POP") {
			return true
		}
	}
	return false
}

// isIRC says whether b is a notice or a welcome with a server as its prefix.
func isIRC(b []byte) bool {
	i := bytes.IndexByte(b[:min(len(b), 80)], ' ')
	return i > 1 && (hasPrefix(b[i:], " NOTICE ") || hasPrefix(b[i:], " 001 "))
}

// isStore says whether b is a command of memcached that stores: its name, a key,
// flags, expiry and length.
func isStore(b []byte) bool {
	i := bytes.IndexByte(b[:min(len(b), 8)], ' ')
	if i < 0 {
		return false
	}
	switch string(b[:i]) {
	case "set", "add", "replace", "append", "prepend":
		return isValue(b[i+1:], 3)
	}
	return false
}

// isValue says whether b is a key and then so many numbers before the line ends.
func isValue(b []byte, numbers int) bool {
	key := bytes.IndexByte(b, ' ')
	if key <= 0 || key > 250 {
		return false
	}
	b = b[key:]
	for range numbers {
		if len(b) == 0 || b[0] != ' ' {
			return false
		}
		n := digits(b[1:])
		if n == 0 || n > 10 {
			return false
		}
		b = b[1+n:]
	}
	return hasPrefix(b, "\r\n") || hasPrefix(b, " noreply\r\n")
}

// isSyslog says whether b begins with a priority of up to 191, and then with a
// version and a date or with a month.
func isSyslog(b []byte) bool {
	n := digits(b[1:min(len(b), 5)])
	if n == 0 || n > 3 || len(b) < n+13 || b[1+n] != '>' {
		return false
	}
	priority := 0
	for _, c := range b[1 : 1+n] {
		priority = priority*10 + int(c-'0')
	}
	if b = b[2+n:]; priority > 191 {
		return false
	}
	if hasPrefix(b, "1 ") && digits(b[2:]) == 4 && b[6] == '-' {
		return true
	}
	switch string(b[:3]) {
	case "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec":
		return b[3] == ' ' && b[6] == ' ' && b[9] == ':'
	}
	return false
}

// git is a pkt-line with a request for a service.
func (d *detector) git() Application {
	if len(d.b) < 8 || !hasPrefix(d.b[4:], "git-") {
		return AppUnknown
	}
	for _, service := range [...]string{"upload-pack ", "receive-pack ", "upload-archive "} {
		if hasPrefix(d.b[8:], service) {
			return AppGit
		}
	}
	return AppUnknown
}
