package names

import "bytes"

// httpHost looks for the name in an HTTP/1 request (RFC 9112) at the start of
// b, from where r stands: its first Host header or, where a CONNECT has none, its
// target.
func httpHost(b []byte, r *reading) (verdict, []byte) {
	if r.at == 0 {
		v, _, next := requestLine(b, int(r.left))
		switch v {
		case dead:
			return dead, nil
		case more:
			r.left = uint16(next)
			return more, nil
		}
		r.at, r.left = uint16(next), 0
	}
	for {
		rest := b[r.at:]
		n := bytes.IndexByte(rest[r.left:], '\n')
		if n < 0 {
			r.left = uint16(len(rest))
			return more, nil
		}
		n += int(r.left)
		line := bytes.TrimRight(rest[:n], "\r")
		r.at, r.left = r.at+uint16(n)+1, 0
		if len(line) == 0 {
			break
		}
		if len(line) >= 5 && line[4] == ':' && bytes.EqualFold(line[:4], []byte("host")) {
			return named, trimPort(line[5:])
		}
	}
	if bytes.HasPrefix(b, []byte("CONNECT ")) {
		_, target, _ := requestLine(b, 0)
		return named, trimPort(target)
	}
	return dead, nil
}

// requestLine matches METHOD SP target SP HTTP/1.x CRLF, where METHOD is 3 to
// 20 of A-Z _ - and LF alone may end the line. next is where the headers begin.
// Where that is still open, the target does not end before next: the next call
// is given it as from, at first 0.
func requestLine(b []byte, from int) (v verdict, target []byte, next int) {
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
	i++
	from = max(from, i)
	n := bytes.IndexAny(b[from:], " \r\n")
	if n < 0 {
		return more, nil, len(b)
	}
	end := from + n
	if end == i || b[end] != ' ' {
		return dead, nil, 0
	}
	target, rest := b[i:end], b[end+1:]
	const version = "HTTP/1."
	if m := min(len(rest), len(version)); string(rest[:m]) != version[:m] {
		return dead, nil, 0
	}
	if len(rest) <= len(version) {
		return more, nil, end
	}
	if c := rest[len(version)]; c < '0' || c > '9' {
		return dead, nil, 0
	}
	rest = rest[len(version)+1:]
	if len(rest) > 0 && rest[0] == '\r' {
		rest = rest[1:]
	}
	if len(rest) == 0 {
		return more, nil, end
	}
	if rest[0] != '\n' {
		return dead, nil, 0
	}
	return named, target, len(b) - len(rest) + 1
}
