package names

import "bytes"

// httpHost looks for the name in an HTTP/1 request (RFC 9112) at the start of
// b: its first Host header or, where a CONNECT has none, its target.
func httpHost(b []byte) (verdict, []byte) {
	v, target, at := requestLine(b)
	if v != named {
		return v, nil
	}
	for {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return more, nil
		}
		line := bytes.TrimRight(b[at:at+n], "\r")
		at += n + 1
		if len(line) == 0 {
			break
		}
		if len(line) >= 5 && line[4] == ':' && bytes.EqualFold(line[:4], []byte("host")) {
			return named, trimPort(line[5:])
		}
	}
	if bytes.HasPrefix(b, []byte("CONNECT ")) {
		return named, trimPort(target)
	}
	return dead, nil
}

// requestLine matches METHOD SP target SP HTTP/1.x CRLF, where METHOD is 3 to
// 20 of A-Z _ - and LF alone may end the line. next is where the headers begin.
func requestLine(b []byte) (v verdict, target []byte, next int) {
	i := 0
	for i < len(b) && i < 20 && (b[i] >= 'A' && b[i] <= 'Z' || i > 0 && (b[i] == '_' || b[i] == '-')) {
		i++
	}
	if i == len(b) {
		return more, nil, 0
	}
	if i < 3 || b[i] != ' ' {
		return dead, nil, 0
	}
	rest := b[i+1:]
	n := bytes.IndexAny(rest, " \r\n")
	if n < 0 {
		return more, nil, 0
	}
	if n == 0 || rest[n] != ' ' {
		return dead, nil, 0
	}
	target, rest = rest[:n], rest[n+1:]
	const version = "HTTP/1."
	if m := min(len(rest), len(version)); string(rest[:m]) != version[:m] {
		return dead, nil, 0
	}
	if len(rest) <= len(version) {
		return more, nil, 0
	}
	if c := rest[len(version)]; c < '0' || c > '9' {
		return dead, nil, 0
	}
	end := rest[len(version)+1:]
	if len(end) > 0 && end[0] == '\r' {
		end = end[1:]
	}
	if len(end) == 0 {
		return more, nil, 0
	}
	if end[0] != '\n' {
		return dead, nil, 0
	}
	return named, target, len(b) - len(end) + 1
}
